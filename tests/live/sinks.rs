//! Where output goes: sockets, files by event, several at once.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use serde_json::Value;

use crate::folded::{Stack, parse, said};
use crate::ledger::{self, event, number};
use crate::support::perfd;
use crate::targets::{Running, Target, crew, output_of};

#[test]
fn sockets_carry_windows_while_the_target_runs_and_all_outputs_agree() {
    let Some(program) = crew() else { return };
    let at = |name: &str| program.folder().join(name);
    let stacks = UnixListener::bind(at("stacks")).expect("a socket");
    let lines = UnixListener::bind(at("lines")).expect("a socket");
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let tcp_lines = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let port = |listener: &TcpListener| listener.local_addr().expect("bound").port();
    let mut target = Target::start(program.path());
    let attached = Running::start(
        perfd()
            .args(["attach", "-q", "--interval", "100ms"])
            .arg("-o")
            .arg(format!("unix:{}", at("stacks").display()))
            .arg("-o")
            .arg(format!("jsonl:unix:{}", at("lines").display()))
            .arg("-o")
            .arg(format!("tcp:127.0.0.1:{}", port(&tcp)))
            .arg("-o")
            .arg(format!("jsonl:tcp:localhost:{}", port(&tcp_lines)))
            .args(["-o", "-", "-o"])
            .arg(at("x.json"))
            .arg("-o")
            .arg(at("x.svg"))
            .arg(target.pid()),
    );
    let mut readers: Vec<Box<dyn BufRead>> = vec![
        Box::new(BufReader::new(stacks.accept().expect("perfd connects").0)),
        Box::new(BufReader::new(tcp.accept().expect("perfd connects").0)),
        Box::new(BufReader::new(lines.accept().expect("perfd connects").0)),
        Box::new(BufReader::new(
            tcp_lines.accept().expect("perfd connects").0,
        )),
    ];
    let mut texts = Vec::new();
    for reader in &mut readers {
        let mut first = String::new();
        reader.read_line(&mut first).expect("text");
        assert!(!first.is_empty());
        texts.push(first);
    }
    assert!(target.is_running());
    target.tell_to_end();
    // All outputs are written side by side: no reader waits for another.
    let (stdout, output) = attached.finish();
    assert!(output.status.success(), "{}", said(&output));
    for (reader, text) in readers.iter_mut().zip(&mut texts) {
        reader.read_to_string(text).expect("text");
    }
    assert_eq!(texts[0], stdout);
    assert_eq!(texts[1], stdout);
    assert_eq!(texts[2], texts[3]);
    let last: Value = serde_json::from_str(texts[2].lines().last().expect("lines")).expect("json");
    assert_eq!(last["type"], "end");
    let document = ledger::read(&at("x.json"));
    assert_eq!(document["ledger"], last["ledger"]);
    let weight: u64 = parse(&stdout)
        .expect("folded")
        .iter()
        .map(|s| s.samples)
        .sum();
    assert_eq!(weight, number(event(&document, 0), "sampled_weight"));
    let svg = std::fs::read_to_string(at("x.svg")).expect("written");
    assert!(svg.starts_with("<?xml") && svg.trim_end().ends_with("</svg>"));
    for name in ["program", "main", "in_main", "in_thread", "spin"] {
        assert!(svg.contains(&format!(">{name} (")), "{name}");
    }
}

fn functions(stacks: &[Stack]) -> BTreeSet<&str> {
    let frames = stacks.iter().flat_map(|stack| &stack.frames);
    frames.map(String::as_str).collect()
}

#[test]
fn each_event_has_its_own_file_and_standard_output_the_first_or_the_shown_one() {
    let Some(program) = crew() else { return };
    let at = |name: &str| program.folder().join(name);
    let run = |show: &[&str]| {
        let mut record = perfd();
        record
            .args(["record", "-q", "-e", "cpu-clock,page-faults", "-o"])
            .arg(at("out.folded"))
            .arg("-o")
            .arg(at("out.svg"))
            .args(["-o", "-", "-o"])
            .arg(at("out.json"))
            .args(show)
            .arg("--")
            .arg(program.path())
            .arg("30");
        let stdout = output_of(&mut record);
        // What the crew prints has gone to standard error.
        parse(&stdout).expect("nothing but folded lines");
        stdout
    };
    let read = |name: &str| std::fs::read_to_string(at(name)).expect("written");
    let sum = |text: &str| {
        let stacks = parse(text).expect("folded");
        stacks.iter().map(|stack| stack.samples).sum::<u64>()
    };
    let stdout = run(&[]);
    assert!(!at("out.folded").exists() && !at("out.svg").exists());
    assert!(at("out.cpu-clock.svg").exists() && at("out.page-faults.svg").exists());
    assert_eq!(read("out.cpu-clock.folded"), stdout);
    let document = ledger::read(&at("out.json"));
    for (idx, name) in ["out.cpu-clock.folded", "out.page-faults.folded"]
        .iter()
        .enumerate()
    {
        let weight = number(event(&document, idx), "sampled_weight");
        assert_eq!(sum(&read(name)), weight, "{name}");
    }
    let stacks = parse(&stdout).expect("folded");
    assert!(functions(&stacks).is_superset(&["in_main", "in_thread", "in_child", "spin"].into()));

    let stdout = run(&["--show", "page-faults"]);
    assert_eq!(read("out.folded"), stdout);
    let document = ledger::read(&at("out.json"));
    let weight = number(event(&document, 1), "sampled_weight");
    assert_eq!(sum(&stdout), weight);
}

#[test]
fn a_reader_that_goes_away_ends_the_run_quietly_and_not_the_target() {
    let Some(program) = crew() else { return };
    let mut target = Target::start(program.path());
    let mut attached = Running::start(
        perfd()
            .args(["attach", "-q", "--interval", "100ms"])
            .arg(target.pid()),
    );
    attached.line();
    attached.hang_up();
    let (_, output) = attached.finish();
    assert!(output.status.success());
    assert_eq!(said(&output), "");
    assert!(target.is_running());
}
