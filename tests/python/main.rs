//! `--python`: samples of Python programs whose stacks are known, on every interpreter of this machine whose frames can be read.
//!
//! These are `python3`, `python3-dbg` (the same version, built another way) and those that `PERFD_PYTHONS` names: commands separated by
//! colons, such as `/opt/python3.13/bin/python3:chroot /srv/trixie python3.13`. `tests/python/fetch` gets one of another version.
#![cfg(target_arch = "x86_64")]

#[path = "../folded/mod.rs"]
mod folded;
mod memory;
mod programs;
mod reading;
mod split;
mod stacks;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::process::Stdio;

use programs::{Interpreter, KNOWN, Profile, REUSED, interpreters, record};
use stacks::{EXPECTED, check, python_frames};
use support::{backend_forbidden, perfd, skip};

/// Why none of these tests can be done here, if so; it has been said.
fn is_forbidden() -> bool {
    let reason = backend_forbidden("bpf");
    reason.iter().for_each(|reason| skip(reason));
    reason.is_some()
}

fn on_each(test: impl Fn(&Interpreter)) {
    if is_forbidden() {
        return;
    }
    let interpreters = interpreters();
    if interpreters.is_empty() {
        skip("no python3 of 3.11 or later");
    }
    interpreters.iter().for_each(test);
}

#[test]
fn every_sample_has_the_python_frames_that_led_to_it() {
    on_each(|interpreter| {
        let profile = record(interpreter, KNOWN, &["ROUNDS=600000"]);
        check(interpreter, &profile.stacks);
        check_account(interpreter, &profile);
    });
}

/// Nearly all: the interpreter enters and leaves functions, and the first samples of a process come before its tables.
fn check_account(interpreter: &Interpreter, profile: &Profile) {
    let n = |reason: &str| profile.ledger["samples"][reason].as_u64().unwrap_or(0);
    let n_read = n("whole") + n("cut");
    for reason in ["no_thread", "not_in_memory", "bad_object", "not_matching"] {
        assert!(
            n(reason) * 100 <= n_read,
            "{interpreter}: {reason}: {}",
            profile.ledger
        );
    }
    assert_eq!(n("cut"), 0, "{interpreter}");
}

#[test]
fn a_running_interpreter_is_attached_to() {
    on_each(|interpreter| {
        let mut child = interpreter
            .command(KNOWN, &["ROUNDS=300000", "WAITS=1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut stdout = child.stdout.take().expect("piped");
        let mut ready = [0; 6];
        let read = stdout.read_exact(&mut ready);
        assert!(read.is_ok() && ready == *b"ready\n", "{interpreter}");
        let attached = perfd()
            .args(["attach", "--python", "-e", "cpu-clock", "-F", "4000"])
            .args(["--unit", "samples", "--interval", "100ms", "-o", "-"])
            .arg(child.id().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("perfd starts");
        let text = programs::feed_until_sampled(&mut child, stdout, attached);
        check(interpreter, &folded::parse(&text).expect("folded"));
    });
}

#[test]
fn names_belong_together_where_code_takes_the_memory_of_other_code() {
    on_each(|interpreter| {
        let profile = record(interpreter, REUSED, &["ROUNDS=4000"]);
        let mut seen = BTreeMap::new();
        for stack in &profile.stacks {
            for frame in python_frames(stack) {
                if let Some(n) = number_of(frame) {
                    *seen.entry(n).or_insert(0) += stack.samples;
                }
            }
            let numbers: Vec<u32> = python_frames(stack).filter_map(number_of).collect();
            assert!(
                numbers.windows(2).all(|pair| pair[0] == pair[1]),
                "{interpreter}: {:?}",
                stack.frames
            );
        }
        assert!(seen.len() > 50, "{interpreter}: {} functions", seen.len());
    });
}

/// N of `outer_N (file_N.py:N)`, which must be the same three times.
fn number_of(frame: &str) -> Option<u32> {
    let name = frame
        .strip_prefix("outer_")
        .or_else(|| frame.strip_prefix("inner_"))?;
    let (in_name, rest) = name.split_once(" (file_").expect("a file of that number");
    let (in_file, line) = rest.split_once(".py:").expect("a line");
    let line = line.strip_suffix(')').expect("the end");
    assert!(in_name == in_file && in_name == line, "{frame}");
    Some(in_name.parse().expect("a number"))
}

#[test]
fn a_way_to_walk_stacks_that_has_no_python_frames_is_refused() {
    for args in [["--backend", "perf"], ["--call-graph", "fp"]] {
        let output = perfd()
            .args(["record", "--python"])
            .args(args)
            .args(["-o", "/dev/null", "--", "true"])
            .output()
            .expect("perfd runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{args:?}: {said}");
        assert!(said.contains("--python"), "{said}");
    }
}

#[test]
fn what_runs_no_python_is_as_without_it() {
    if is_forbidden() {
        return;
    }
    let output = perfd()
        .args(["record", "--python", "-e", "cpu-clock", "-o", "/dev/null"])
        .args([
            "--",
            "sh",
            "-c",
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done",
        ])
        .output()
        .expect("perfd runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("python   no samples in an interpreter"),
        "{said}"
    );
}

#[test]
fn each_case_of_the_program_is_expected_and_the_other_way_round() {
    for line in KNOWN.lines() {
        if let Some(case) = line.strip_prefix("def case_") {
            let case = case.trim_end_matches("():");
            assert!(EXPECTED.iter().any(|(name, _)| *name == case), "{case}");
        }
    }
    for (name, _) in EXPECTED {
        assert!(KNOWN.contains(&format!("def case_{name}():")), "{name}");
    }
}
