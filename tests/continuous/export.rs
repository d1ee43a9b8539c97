//! `perfd export`, on files that a store has written.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use perfd::model::{Pid, Tid};
use perfd::sink::pprof::Labels;
use perfd::store::{Limits, Store};

use super::support::perfd;
use super::windows::{decoded, end_of, labels, window};

/// A state directory with two targets: from 10:00:00 to 10:01:00, in files of 20 s.
fn state() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits {
        window: Duration::from_secs(20),
        ..Limits::default()
    };
    let mut store = Store::open(&folder.path().join("windows"), limits).expect("a store");
    for nth in 0..6 {
        store.add(&window(nth, 1), &labels("a"), end_of(nth));
        let of_a_unit = Labels {
            unit: Some("db.service".to_owned()),
            phase: Some("measure".to_owned()),
            ..labels("db")
        };
        store.add(&window(nth, 100), &of_a_unit, end_of(nth));
    }
    folder
}

fn export(state: &Path, args: &[&str]) -> Output {
    perfd()
        .arg("export")
        .args(args)
        .arg("--state")
        .arg(state)
        .current_dir(state)
        .env("TZ", "UTC")
        .output()
        .expect("perfd starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

const DAY: &str = "2026-11-27";

#[test]
fn a_time_of_a_target_becomes_folded_stacks() {
    let state = state();
    let (since, until) = (format!("{DAY} 10:00:20"), format!("{DAY}T10:00:40Z"));
    let span = ["--since", &since, "--until", &until];
    let output = export(state.path(), &[&span[..], &["--target", "a"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stdout), "app;main;f2 1000\napp;main;f3 1000\n");
    assert_eq!(
        text(&output.stderr),
        "from     1 file of a, 2026-11-27 10:00:20 to 2026-11-27 10:00:40\n"
    );
    let of_unit = [
        "--unit",
        "db.service",
        "--phase",
        "measure",
        "--samples",
        "-q",
    ];
    let output = export(state.path(), &[&span[..], &of_unit].concat());
    assert_eq!(text(&output.stdout), "app;main;f2 100\napp;main;f3 100\n");
    assert_eq!(text(&output.stderr), "");
    let output = export(state.path(), &span);
    assert_eq!(
        text(&output.stdout),
        "app;main;f2 101000\napp;main;f3 101000\n"
    );
}

#[test]
fn every_format_can_be_made_and_labels_stay() {
    let state = state();
    let names = [
        "x.folded",
        "x.functions",
        "x.svg",
        "x.json",
        "x.jsonl",
        "x.pb.gz",
    ];
    let outputs = names.iter().flat_map(|name| ["-o", name]);
    let args: Vec<&str> = ["--target", "db", "--since", DAY, "--until", "2026-11-28"]
        .into_iter()
        .chain(outputs)
        .collect();
    let output = export(state.path(), &args);
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stderr);
    for name in names {
        assert!(said.contains(&format!("profile  {name}\n")), "{said}");
        assert!(fs::metadata(state.path().join(name)).expect(name).len() > 100);
    }
    let read = decoded(&state.path().join("x.pb.gz"));
    assert_eq!(read.labels.unit.as_deref(), Some("db.service"));
    assert_eq!(read.labels.phase.as_deref(), Some("measure"));
    let weights = read.profile.rows.iter().map(|row| row.weights[0].samples);
    assert_eq!(weights.sum::<u64>(), 600);
    let json = fs::read_to_string(state.path().join("x.json")).expect("written");
    let json: serde_json::Value = serde_json::from_str(&json).expect("json");
    assert_eq!(json["ledger"]["events"][0]["delivered"], 600);
    assert_eq!(json["elapsed_ns"], 60_000_000_000u64);
}

#[test]
fn where_nothing_is_it_says_what_there_is() {
    let state = state();
    let check = |args: &[&str], code: i32, expected: &[&str]| {
        let output = export(state.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(output.stdout.is_empty());
        let said = text(&output.stderr);
        for part in expected {
            assert!(said.contains(part), "{args:?}: {said}");
        }
    };
    check(
        &["--since", "2026-11-27 11:00", "--until", "2026-11-27 12:00"],
        66,
        &[
            "perfd: no windows from 2026-11-27 11:00:00 to 2026-11-27 12:00:00\n",
            "  there are files of a: 2026-11-27 10:00:00 to 2026-11-27 10:01:00\n",
            "  there are files of db: ",
        ],
    );
    check(
        &["--target", "nobody", "--until", "2026-11-28"],
        66,
        &["no windows of target nobody before 2026-11-28 00:00:00"],
    );
    check(
        &["--since", "2026-11-27 12:00", "--until", "2026-11-27 11:00"],
        64,
        &["from 2026-11-27 12:00:00 to 2026-11-27 11:00:00"],
    );
    check(
        &["--since", "soon"],
        64,
        &["not a time; write it like 10:05"],
    );
    check(&["--since", "2026-02-30"], 64, &["no such day"]);
    check(&["--since", "-1x"], 64, &["not a time"]);
    check(&["-o", "x.samples"], 64, &["do not hold samples"]);
    check(
        &["-o", "missing/x.svg", "--until", "2026-11-28"],
        73,
        &["no such directory", "try: mkdir"],
    );
    check(
        &["--show", "branches", "--until", "2026-11-28"],
        64,
        &[
            "--show branches is not one of the events",
            "the events are cycles",
        ],
    );
    let empty = tempfile::tempdir().expect("a folder");
    let output = perfd()
        .args(["export", "--state"])
        .arg(empty.path())
        .output()
        .expect("perfd starts");
    assert_eq!(output.status.code(), Some(66));
    let said = text(&output.stderr);
    assert!(
        said.contains("read the files under") && said.contains("--state"),
        "{said}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_left_out() {
    let state = state();
    let damaged = "windows/a/20261127T100020.000Z-000002.pb.gz";
    let path = state.path().join(damaged);
    let bytes = fs::read(&path).expect("a file");
    fs::write(&path, &bytes[..bytes.len() - 9]).expect("cut");
    let output = export(state.path(), &["--target", "a", "--until", "2026-11-28"]);
    assert!(output.status.success(), "{output:?}");
    let folded = text(&output.stdout);
    assert_eq!(folded.lines().count(), 4, "{folded}");
    let said = text(&output.stderr);
    let line = said.lines().next().expect("a line");
    assert!(line.starts_with("perfd: left out: read "), "{said}");
    assert!(
        line.contains(damaged) && line.contains("damaged or cut short"),
        "{said}"
    );
    assert!(said.contains("from     2 files of a, "), "{said}");
}

#[test]
fn threads_of_one_name_are_one_unless_they_are_to_be_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("windows");
    let mut store = Store::open(&root, Limits::default()).expect("a store");
    let mut threads = window(0, 1);
    for (pid, tid) in [(7, 8), (9, 9)] {
        let mut row = threads.rows[0].clone();
        row.task.pid = Some(Pid(pid));
        row.task.tid = Some(Tid(tid));
        threads.rows.push(row);
    }
    // Three rows of one function, of two processes and of nobody known.
    store.add(&threads, &labels("a"), end_of(0));
    let _ = store.flush();
    let folded = |flags: &[&str]| {
        let output = export(folder.path(), flags);
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    };
    assert_eq!(folded(&[]), "app;main;f0 3000\n");
    assert_eq!(
        folded(&["--pid"]),
        "app-7;main;f0 1000\napp-9;main;f0 1000\napp;main;f0 1000\n"
    );
    assert_eq!(
        folded(&["--tid"]),
        "app-7/8;main;f0 1000\napp-9/9;main;f0 1000\napp;main;f0 1000\n"
    );
}
