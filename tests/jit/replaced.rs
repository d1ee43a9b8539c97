//! Code that is replaced at its place while it is sampled: each call is one sample (a breakpoint in the code), and the program's callers
//! know which function was there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::Value;

use crate::program::{backends, compile, may_sample};
use crate::support::{Program, READERS, perfd};

/// Behind what makes the frame.
const EVENT: &str = "mem:0x10000004:x";
const PER_ROUND: u64 = 50;

/// Samples by caller and by the name of what it called, over rounds of [`crate::program`] that wait for each other.
fn record(
    program: &Program,
    backend: &str,
    reader: &[&str],
    kind: &str,
    rounds: &str,
) -> BTreeMap<(String, String), u64> {
    let mut perfd = perfd()
        .args(["record", "-q", "-c", "1", "-e", EVENT, "--backend", backend])
        .args(reader)
        .args([
            "--interval",
            "100ms",
            "-o",
            "jsonl:-",
            "-o",
            "x.folded",
            "--",
        ])
        .args([
            program.path().to_str().expect("a plain path"),
            kind,
            "rounds",
        ])
        .current_dir(program.folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    let pid = perfd.id();
    let mut input = perfd.stdin.take().expect("piped");
    let lines = BufReader::new(perfd.stdout.take().expect("piped")).lines();
    let mut lines =
        lines.map(|line| serde_json::from_str::<Value>(&line.expect("text")).expect("a document"));
    let mut target = None;
    for round in rounds.bytes() {
        input.write_all(&[round]).expect("it reads");
        let mut delivered = 0;
        while delivered < PER_ROUND {
            let window = lines.next().expect("a window");
            target = window["processes"][0]["pid"].as_u64().or(target);
            delivered += window["ledger"]["events"][0]["delivered"]
                .as_u64()
                .expect("a number");
        }
        assert_eq!(delivered, PER_ROUND, "{}", char::from(round));
    }
    drop(input);
    lines.for_each(drop);
    assert!(perfd.wait().expect("our child").success(), "{pid}");
    if let Some(target) = target {
        let _ = std::fs::remove_file(format!("/tmp/perf-{target}.map"));
    }
    let text = std::fs::read_to_string(program.folder().join("x.folded")).expect("written");
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        let (stack, n) = line.rsplit_once(' ').expect("a stack and a number");
        let mut frames = stack.rsplit(';');
        let (made, caller) = (
            frames.next().expect("a leaf"),
            frames.next().expect("its caller"),
        );
        *samples
            .entry((caller.to_owned(), made.to_owned()))
            .or_default() += n.parse::<u64>().expect("a number");
    }
    samples
}

/// No sample has another name than that of the code that its caller called; all of them have it in the rounds of `named`.
fn check(samples: &BTreeMap<(String, String), u64>, expected: &[(&str, &str)], named: &[&str]) {
    for ((caller, made), n) in samples {
        let right = expected
            .iter()
            .find(|(known, _)| known == caller)
            .map(|(_, made)| *made);
        let right = right.unwrap_or_else(|| panic!("{caller} in {samples:?}"));
        assert!(
            made == right || made == "[anon]",
            "{caller} called {right}, not {made}: {samples:?}"
        );
        assert!(*n <= PER_ROUND);
    }
    for (caller, right) in expected {
        let of_caller = samples.iter().filter(|((known, _), _)| known == caller);
        let all: u64 = of_caller.map(|(_, n)| *n).sum();
        let per_caller = match caller.starts_with("calm") {
            true => PER_ROUND,
            false => PER_ROUND / 2,
        };
        assert_eq!(all, per_caller, "{caller}: {samples:?}");
        if named.contains(caller) {
            let key = ((*caller).to_owned(), (*right).to_owned());
            assert_eq!(samples.get(&key), Some(&PER_ROUND), "{caller}: {samples:?}");
        }
    }
}

const EXPECTED: [(&str, &str); 16] = [
    ("calm_0", "first_[j]"),
    ("before_0", "first_[j]"),
    ("after_0", "second_[j]"),
    ("calm_1", "second_[j]"),
    ("calm_2", "second_[j]"),
    ("calm_3", "second_[j]"),
    ("before_1", "second_[j]"),
    ("after_1", "third_[j]"),
    ("calm_4", "third_[j]"),
    ("calm_5", "third_[j]"),
    ("calm_6", "third_[j]"),
    ("before_2", "third_[j]"),
    ("after_2", "fourth_[j]"),
    ("calm_7", "fourth_[j]"),
    ("calm_8", "fourth_[j]"),
    ("calm_9", "fourth_[j]"),
];

fn code_is_told_apart(kind: &str) {
    if !may_sample() {
        return;
    }
    let program = compile();
    for backend in backends() {
        for reader in READERS {
            let samples = record(&program, backend, reader, kind, "0a123b456c789");
            // What is sampled in the next two rounds may have been taken for what was sampled around the replacement.
            check(
                &samples,
                &EXPECTED,
                &["calm_0", "calm_3", "calm_6", "calm_9"],
            );
        }
    }
}

#[test]
fn samples_before_and_after_a_replacement_have_each_their_own_name_by_a_perf_map() {
    code_is_told_apart("map");
}

#[test]
fn samples_before_and_after_a_replacement_have_each_their_own_name_by_a_jitdump() {
    code_is_told_apart("dump");
}
