//! Children that are killed from outside while a run goes on: no sample is lost by it, and names come back.

use std::fs;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{backend_forbidden, compile_c, perfd, skip};

/// Starts programs, so that names and tables are wanted all the time.
const SCRIPT: &str = "for i in $(seq 60); do ls -R /usr/lib/python3 >/dev/null 2>&1; sort /etc/services >/dev/null; python3 -S -c 'sum(range(200000))'; done";

/// No more than may die in a row before there are pauses: all of them may be of one kind.
const N_KILLED: u32 = 6;

/// Children of a process that are parsers.
fn parsers_of(pid: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let listed =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let listed: String = listed.collect();
    let children = listed
        .split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok());
    let is_parser = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.ends_with(b"\0parse\0")
    };
    children.filter(is_parser).collect()
}

#[test]
fn every_sample_is_accounted_for_and_names_come_back() {
    if let Some(why) = backend_forbidden("perf") {
        skip(&why);
        return;
    }
    // Its own names are wanted last, when nobody is killed any more.
    let last = compile_c(
        "int main(void) { volatile long n = 0; while (n < 400000000) n++; return 0; }",
        &["-O0"],
    );
    let (folded, json) = (last.folder().join("x.folded"), last.folder().join("x.json"));
    let mut command = perfd();
    command
        .args([
            "record",
            "--no-cache",
            "--parse-in-child",
            "-e",
            "cpu-clock",
            "-F",
            "499",
        ])
        .args(["--unit", "samples", "-o"])
        .arg(&folded)
        .arg("-o")
        .arg(&json)
        .args(["--", "sh", "-c"])
        .arg(format!("{SCRIPT}; exec {}", last.path().display()));
    let mut run = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    let mut n_killed = 0;
    while n_killed < N_KILLED && run.try_wait().expect("ours").is_none() {
        for parser in parsers_of(run.id()).into_iter().take(1) {
            // It may have ended meanwhile.
            n_killed += u32::from(kill(Pid::from_raw(parser), Signal::SIGKILL).is_ok());
        }
    }
    let output = run.wait_with_output().expect("ours");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(n_killed, N_KILLED, "{said}");
    let stacks = fs::read_to_string(&folded).expect("written");
    assert!(stacks.lines().any(|line| line.contains(";main ")), "{said}");
    let json = fs::read_to_string(&json).expect("written");
    let run: Value = serde_json::from_str(&json).expect("JSON");
    let account = &run["ledger"]["events"][0];
    let number = |name: &str| account[name].as_i64().expect("a number");
    let lost = account["lost"].as_object().expect("an object").values();
    let lost: i64 = lost.filter_map(Value::as_i64).sum();
    assert_eq!(number("emitted"), number("delivered") + lost, "{account}");
    // Every delivered sample is in a stack, with or without names.
    let in_stacks: i64 = stacks
        .lines()
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<i64>().ok())
        .sum();
    assert_eq!(in_stacks, number("delivered"), "{said}");
    assert!(in_stacks > 100, "{said}");
}
