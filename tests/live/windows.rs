//! `--interval`: windows are deltas, written while the target runs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::folded::{parse, said};
use crate::ledger::{self, check_identity, event, number};
use crate::support::perfd;
use crate::targets::{Running, Target, crew};

#[test]
fn a_reader_of_the_pipe_sees_folded_lines_while_the_target_runs_and_nothing_else() {
    let Some(program) = crew() else { return };
    let mut target = Target::start(program.path());
    let mut attached = Running::start(
        perfd()
            .args(["attach", "--interval", "100ms"])
            .arg(target.pid()),
    );
    let mut text = String::new();
    // Several windows: a stack comes again in a later one. (The first to come need not: many are rare.)
    let mut windows_with: BTreeMap<String, u32> = BTreeMap::new();
    while windows_with.values().all(|n| *n < 3) {
        let line = attached.line();
        let (stack, _) = line.rsplit_once(' ').expect("a stack and a number");
        *windows_with.entry(stack.to_owned()).or_default() += 1;
        text.push_str(&format!("{line}\n"));
        assert!(target.is_running());
    }
    target.tell_to_end();
    let (rest, output) = attached.finish();
    assert!(output.status.success(), "{}", said(&output));
    text.push_str(&rest);
    let stacks = parse(&text).expect("every line is a folded one");
    assert!(stacks.iter().all(|stack| stack.comm == "program"));
    assert!(stacks.iter().any(|s| s.frames.contains(&"in_main".into())));
    assert!(
        said(&output).contains("samples  cpu-clock"),
        "{}",
        said(&output)
    );
}

#[test]
fn windows_are_deltas_that_add_up_to_the_run() {
    let Some(program) = crew() else { return };
    let at = |name: &str| program.folder().join(name);
    let mut target = Target::start(program.path());
    let mut attached = Running::start(
        perfd()
            .args(["attach", "-q", "--interval", "100ms", "-o", "jsonl:-", "-o"])
            .arg(at("x.folded"))
            .arg("-o")
            .arg(at("x.json"))
            .arg(target.pid()),
    );
    let mut lines: Vec<Value> = Vec::new();
    while lines.len() < 4 {
        lines.push(serde_json::from_str(&attached.line()).expect("a line is a document"));
        assert!(target.is_running());
    }
    target.tell_to_end();
    let (rest, output) = attached.finish();
    assert!(output.status.success(), "{}", said(&output));
    lines.extend(
        rest.lines()
            .map(|line| serde_json::from_str(line).expect("a document")),
    );

    let end = lines.pop().expect("lines");
    assert_eq!(end["type"], "end");
    assert_eq!(end["windows"], lines.len());
    check_identity(&end);
    let document = ledger::read(&at("x.json"));
    assert_eq!(document["ledger"], end["ledger"]);
    for (sequence, window) in lines.iter().enumerate() {
        assert_eq!(window["type"], "window");
        assert_eq!(window["sequence"], sequence);
        assert_eq!(window["is_last"], sequence + 1 == lines.len());
        check_identity(window);
    }
    for pair in lines.windows(2) {
        assert_eq!(pair[0]["end_ns"], pair[1]["start_ns"]);
    }
    for name in ["delivered", "sampled_weight", "emitted", "counted_weight"] {
        let sum: u64 = lines.iter().map(|line| number(event(line, 0), name)).sum();
        assert_eq!(sum, number(event(&end, 0), name), "{name}");
    }
    let faults = |line: &Value| {
        let counts = line["total"].as_array().expect("counts").iter();
        counts
            .filter(|count| count["event"] == "page-faults")
            .map(|count| number(count, "value"))
            .sum::<u64>()
    };
    assert_eq!(lines.iter().map(faults).sum::<u64>(), faults(&end));

    let text = std::fs::read_to_string(at("x.folded")).expect("written");
    let stacks = parse(&text).expect("the windows together are a folded file");
    let sum: u64 = stacks.iter().map(|stack| stack.samples).sum();
    assert_eq!(sum, number(event(&end, 0), "sampled_weight"));
}

#[test]
fn the_unit_samples_makes_the_numbers_those_of_delivered_samples() {
    let Some(program) = crew() else { return };
    let json = program.folder().join("x.json");
    let mut record = perfd();
    record
        .args(["record", "-q", "--unit", "samples", "-o", "-", "-o"])
        .arg(&json)
        .arg("--")
        .arg(program.path())
        .arg("30");
    let stacks = parse(&crate::targets::output_of(&mut record)).expect("folded");
    let sum: u64 = stacks.iter().map(|stack| stack.samples).sum();
    let document = ledger::read(&json);
    assert_eq!(sum, number(event(&document, 0), "delivered"));
    assert!(sum > 0);
    check_identity(&document);
}

#[test]
fn nothing_is_sampled_before_the_delay_is_over() {
    let Some(program) = crew() else { return };
    let target = Target::start(program.path());
    let mut attached = Running::start(
        perfd()
            .args(["attach", "-q", "--interval", "100ms", "-o", "jsonl:-"])
            .args(["--delay", "350"])
            .arg(target.pid()),
    );
    let delay_ns = 350_000_000;
    let mut start = None;
    let mut n_quiet = 0;
    loop {
        let window: Value = serde_json::from_str(&attached.line()).expect("a document");
        let start = *start.get_or_insert(number(&window, "start_ns"));
        let delivered = number(event(&window, 0), "delivered");
        if number(&window, "end_ns") <= start + delay_ns {
            assert_eq!(delivered, 0, "{window}");
            n_quiet += 1;
        }
        if delivered > 0 {
            break;
        }
    }
    assert!(n_quiet > 0);
    drop(target);
    attached.finish();

    // A command that ends before the delay does leaves an empty profile and no error.
    let folded = program.folder().join("empty.folded");
    let mut record = perfd();
    record
        .args(["record", "-q", "--delay", "3600000", "-o"])
        .arg(&folded)
        .args(["--", "true"]);
    crate::targets::output_of(&mut record);
    assert_eq!(std::fs::read(&folded).expect("written"), b"");
}

#[test]
fn a_duration_ends_the_run_and_leaves_the_target() {
    let Some(program) = crew() else { return };
    let json = program.folder().join("x.json");
    let mut target = Target::start(program.path());
    let mut attach = perfd();
    attach
        .args(["attach", "-q", "-d", "0.3", "-o"])
        .arg(&json)
        .arg(target.pid());
    crate::targets::output_of(&mut attach);
    assert!(target.is_running());
    let document = ledger::read(&json);
    assert!(number(&document, "elapsed_ns") >= 300_000_000, "{document}");
    assert_eq!(document["windows"], 1);
    check_identity(&document);
}
