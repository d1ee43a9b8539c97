//! Marks: what is sampled and counted in one phase is in no other.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::own_daemon::client::Client;
use super::own_daemon::{Circumstances, Daemon};
use super::support::compile_c;
use super::{WORKER, Worker, logged, until};

/// A window's samples by function, and its phase.
fn functions(window: &Value) -> (Option<String>, bool, bool) {
    let folded = window["folded"].as_str().expect("folded");
    let phase = window["phase"].as_str().map(str::to_owned);
    let has = |name: &str| {
        folded
            .lines()
            .any(|line| line.contains(&format!(";{name} ")))
    };
    (phase, has("first"), has("second"))
}

fn mark(client: &mut Client, target: u64, phase: Option<&str>) -> u64 {
    let marked = client.done(json!({"do": "mark", "target": target, "phase": phase}));
    marked["sequence"].as_u64().expect("a number")
}

fn snapshot(client: &mut Client, target: u64, since: &str) -> Value {
    client.done(json!({"do": "snapshot", "target": target, "format": "folded", "since": since}))
}

#[test]
fn two_functions_in_two_phases_are_each_in_its_own() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let mut worker = Worker::start(program.path());
    let mut client = daemon.client();
    let attach = json!({"do": "attach", "target": {"pid": worker.pid()}, "events": ["cpu-clock:u"], "frequency": 499});
    let target = client.done(attach)["target"].as_u64().expect("a number");
    let mut tail = daemon.client();
    tail.done(json!({"do": "tail", "target": target, "format": "folded"}));

    let one = mark(&mut client, target, Some("one"));
    worker.work('1');
    let two = mark(&mut client, target, Some("two"));
    assert!(one < two, "{one} {two}");
    worker.work('2');
    let in_two = mark(&mut client, target, Some("two"));
    let behind = mark(&mut client, target, None);
    assert!(two < in_two && in_two < behind);
    logged(&daemon, &format!("a phase begins with window {two}"));
    logged(&daemon, &format!("its phase ends before window {behind}"));

    let whole = snapshot(&mut client, target, "start");
    let text = whole["text"].as_str().expect("text");
    assert!(
        text.contains(";first ") && text.contains(";second "),
        "{text}"
    );
    assert_eq!(whole["from"], 0);
    client.done(json!({"do": "detach", "target": target}));

    let (mut seen_first, mut seen_second) = (0, 0);
    let mut next = 0;
    loop {
        let event = tail.event(target);
        let Some(window) = event.get("window") else {
            assert_eq!(event["end"]["reason"], "detached");
            break;
        };
        let from = window["from"].as_u64().expect("a number");
        let to = window["to"].as_u64().expect("a number");
        assert_eq!(from, next, "windows follow each other: {window}");
        next = to + 1;
        let (phase, first, second) = functions(window);
        match phase.as_deref() {
            Some("one") => assert!(!second && (one..two).contains(&from), "{window}"),
            Some("two") => assert!(!first && (two..behind).contains(&from), "{window}"),
            None => assert!(!first && !second, "{window}"),
            Some(other) => panic!("{other}"),
        }
        seen_first += u64::from(first);
        seen_second += u64::from(second);
    }
    assert!(
        seen_first > 0 && seen_second > 0,
        "{seen_first} {seen_second}"
    );
    daemon.end();
}

#[test]
fn a_snapshot_since_the_mark_has_what_the_whole_has_less_what_was_before() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let mut worker = Worker::start(program.path());
    let mut client = daemon.client();
    let attach = json!({"do": "attach", "target": {"pid": worker.pid()}, "frequency": 499});
    let target = client.done(attach)["target"].as_u64().expect("a number");
    worker.work('1');
    let begun = mark(&mut client, target, Some("measure"));
    let phase = snapshot(&mut client, target, "mark");
    assert_eq!(phase["from"], begun);
    let text = phase["text"].as_str().expect("text");
    assert!(!text.contains(";first "), "{text}");
    worker.work('2');
    let phase = snapshot(&mut client, target, "mark");
    let text = phase["text"].as_str().expect("text");
    assert!(
        text.contains(";second ") && !text.contains(";first "),
        "{text}"
    );
    let whole = snapshot(&mut client, target, "start");
    assert!(
        whole["text"].as_str().expect("text").contains(";first "),
        "{whole}"
    );
    assert!(whole["to"].as_u64() >= Some(begun));
    let answer = client.ask(json!({"do": "snapshot", "target": target, "format": "svg"}));
    assert!(
        answer.expect("a graph")["text"]
            .as_str()
            .is_some_and(|text| text.contains("</svg>"))
    );
    let pprof = client.done(json!({"do": "snapshot", "target": target, "format": "pprof"}));
    assert!(
        pprof["base64"]
            .as_str()
            .is_some_and(|text| text.starts_with("H4sI")),
        "{pprof}"
    );
    daemon.end();
}

/// Windows that nobody waits for: what is there is there because it was asked for.
const LONG: Circumstances = Circumstances {
    through: &[],
    config: "window = \"1h\"\n[files]\nwindow = \"1h\"\n",
};

#[test]
fn a_snapshot_has_what_was_sampled_until_it_was_asked_for() {
    let Some(daemon) = Daemon::start(&LONG) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let mut worker = Worker::start(program.path());
    let mut client = daemon.client();
    let attach = json!({"do": "attach", "target": {"pid": worker.pid()}, "events": ["cpu-clock:u"], "frequency": 499});
    let target = client.done(attach)["target"].as_u64().expect("a number");
    let mut tail = daemon.client();
    tail.done(json!({"do": "tail", "target": target, "format": "folded"}));
    // Nothing has been sampled, and that is what there is, in each form.
    for format in ["folded", "functions", "svg", "json", "pprof"] {
        let asked = json!({"do": "snapshot", "target": target, "format": format});
        let ok = client.done(asked);
        assert_eq!(ok["from"], 0, "{format}: {ok}");
        assert!(ok["text"].is_string() || ok["base64"].is_string(), "{ok}");
    }
    worker.work('1');
    let one = snapshot(&mut client, target, "start");
    assert!(
        one["text"]
            .as_str()
            .is_some_and(|text| text.contains(";first ")),
        "{one}"
    );
    worker.work('2');
    let two = snapshot(&mut client, target, "start");
    assert!(
        two["text"]
            .as_str()
            .is_some_and(|text| text.contains(";second ")),
        "{two}"
    );
    // The windows that were cut for it are each there for who follows, and none is missing.
    let last = two["to"].as_u64().expect("a number");
    for sequence in 0..=last {
        let event = tail.event(target);
        assert_eq!(event["window"]["from"], sequence, "{event}");
    }
    let listed = client.done(json!({"do": "list"}));
    assert_eq!(listed["targets"][0]["sequence"], last + 1, "{listed}");
    daemon.end();
}

#[test]
fn snapshots_that_are_asked_for_at_once_share_a_window_and_who_left_leaves_nothing() {
    let Some(daemon) = Daemon::start(&LONG) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let mut worker = Worker::start(program.path());
    let mut client = daemon.client();
    let target = client.attach(worker.pid());
    worker.work('1');
    let asked = json!({"id": 1, "do": "snapshot", "target": target, "format": "folded"});
    let line = format!("{asked}\n");
    let mut others: Vec<Client> = (0..12).map(|_| daemon.client()).collect();
    // All of them ask while the daemon stands still.
    daemon.signal(Signal::SIGSTOP);
    until(|| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid()));
        let stat = stat.expect("it lives");
        let is_stopped = stat.contains(") T ").then_some(());
        is_stopped.ok_or(stat)
    });
    for other in &mut others {
        other.send(line.as_bytes()).expect("the daemon reads");
    }
    daemon.signal(Signal::SIGCONT);
    let left = others.split_off(6);
    drop(left);
    let mut windows = BTreeSet::new();
    for other in &mut others {
        let answer = other.line().expect("an answer");
        let text = answer["ok"]["text"].as_str().expect("text");
        assert!(text.contains(";first "), "{answer}");
        windows.insert(answer["ok"]["to"].as_u64().expect("a number"));
    }
    // One for who came first, and one for who came meanwhile.
    assert!(windows.len() <= 2, "{windows:?}");
    let answer = client.in_the_end(json!({"do": "snapshot", "target": target, "format": "folded"}));
    let last = answer.expect("a snapshot")["to"].as_u64();
    assert!(last > windows.last().copied());
    daemon.end();
}
