//! `-a`: everything that runs on the host.

use std::collections::BTreeSet;
use std::process::Command;

use crate::folded::{Stack, parse, said};
use crate::ledger::{self, check_identity};
use crate::support::{perfd, skip};
use crate::targets::{Target, crew};

/// Runs `perfd` on the whole host; `None`, and said, if that is forbidden.
fn host(command: &mut Command) -> Option<Vec<Stack>> {
    let output = command.output().expect("perfd runs");
    if output.status.code() == Some(77) {
        skip(&said(&output));
        return None;
    }
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some(parse(&text).expect("folded"))
}

fn check(stacks: &[Stack], document: &serde_json::Value) {
    let comms: BTreeSet<&str> = stacks.iter().map(|stack| stack.comm.as_str()).collect();
    assert!(comms.contains("program") && comms.len() > 1, "{comms:?}");
    for member in ["in_main", "in_thread", "in_child"] {
        let has_it = |stack: &Stack| stack.frames.iter().any(|frame| frame == member);
        assert!(stacks.iter().any(has_it), "{member}");
    }
    // An idle CPU runs no user code.
    let mut idle = stacks.iter().filter(|stack| stack.comm == "swapper");
    assert!(idle.all(|stack| stack.frames.is_empty() && stack.truncated.is_none()));
    check_identity(document);
    assert_eq!(document["processes"][0]["pid"], serde_json::Value::Null);
}

#[test]
fn an_attach_to_the_host_shows_all_that_runs() {
    let Some(program) = crew() else { return };
    let json = program.folder().join("x.json");
    let mut target = Target::start(program.path());
    target.line();
    let mut attach = perfd();
    attach
        .args(["attach", "-q", "-a", "-d", "1", "-o", "-", "-o"])
        .arg(&json);
    if let Some(stacks) = host(&mut attach) {
        let document = ledger::read(&json);
        check(&stacks, &document);
        assert_eq!(document["target"], "the whole host");
    }
}

#[test]
fn a_record_of_the_host_lasts_as_long_as_its_command() {
    let Some(program) = crew() else { return };
    let json = program.folder().join("x.json");
    let mut record = perfd();
    record
        .args(["record", "-q", "-a", "-o", "-", "-o"])
        .arg(&json)
        .arg("--")
        .arg(program.path())
        .arg("60");
    if let Some(stacks) = host(&mut record) {
        check(&stacks, &ledger::read(&json));
    }
}
