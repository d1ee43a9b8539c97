//! Exact events, exact accounts: a breakpoint on a function that is called N times gives N samples, delivered or lost.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::calls::CALLS;
use support::{BACKENDS, Program, backend_forbidden, compile_c, perfd, skip};

/// Threads without end, each of which calls `probed` with serial numbers of its own; the digits of a serial number are the
/// functions on the stack. Ends when standard input does.
const SERIALS: &str = r#"
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

__attribute__((noinline, noclone)) void probed(void) { __asm__ volatile("" : : : "memory"); }

static void descend(unsigned serial, int digits);
#define DIGIT(d) __attribute__((noinline, noclone)) void digit_##d(unsigned serial, int digits) \
    { descend(serial, digits); __asm__ volatile("" : : : "memory"); }
DIGIT(0) DIGIT(1) DIGIT(2) DIGIT(3) DIGIT(4) DIGIT(5) DIGIT(6) DIGIT(7)
static void (*const digit[])(unsigned, int) =
    {digit_0, digit_1, digit_2, digit_3, digit_4, digit_5, digit_6, digit_7};

__attribute__((noinline, noclone)) static void descend(unsigned serial, int digits) {
    if (digits == 0) probed();
    else digit[serial & 7](serial >> 3, digits - 1);
    __asm__ volatile("" : : : "memory");
}

static atomic_uint next;

static void *call(void *unused) {
    for (int i = 0; i < 20; i++) descend(atomic_fetch_add(&next, 1), 8);
    return unused;
}

int main(void) {
    struct pollfd stdin_closed = {.fd = 0, .events = POLLIN};
    while (poll(&stdin_closed, 1, 0) == 0) {
        pthread_t threads[8];
        for (int i = 0; i < 8; i++) pthread_create(&threads[i], 0, call, 0);
        for (int i = 0; i < 8; i++) pthread_join(threads[i], 0);
    }
    return 0;
}
"#;

const N_CALLERS: u64 = 8;

/// A run of `perfd record` on [`CALLS`]: its account and Σ weight of the folded stacks that end in `probed`.
struct Run {
    account: Value,
    weight_of_probed: u64,
}

fn record(program: &Program, n: u64, flags: &[&str]) -> Run {
    let (folded, json) = (
        program.folder().join("x.folded"),
        program.folder().join("x.json"),
    );
    let event = format!("mem:{:#x}:x", program.address_of("probed"));
    let output = perfd()
        .args(["record", "-c", "1", "-e", &event, "-o"])
        .arg(&folded)
        .arg("-o")
        .arg(&json)
        .args(flags)
        .arg("--")
        .arg(program.path())
        .arg(n.to_string())
        .output()
        .expect("perfd runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let account = event_account(&json);
    let weight_of_probed = folded_lines(&folded)
        .filter(|(stack, _)| stack.ends_with(";probed"))
        .map(|(_, weight)| weight)
        .sum();
    Run {
        account,
        weight_of_probed,
    }
}

fn event_account(json: &Path) -> Value {
    let text = std::fs::read_to_string(json).expect("the json output is written");
    let document: Value = serde_json::from_str(&text).expect("it is json");
    document["ledger"]["events"][0].clone()
}

fn folded_lines(path: &Path) -> impl Iterator<Item = (String, u64)> {
    let text = std::fs::read_to_string(path).expect("the folded output is written");
    let lines: Vec<_> = text.lines().map(parse_folded).collect();
    lines.into_iter()
}

fn parse_folded(line: &str) -> (String, u64) {
    let (stack, weight) = line.rsplit_once(' ').expect("a stack and a number");
    (stack.to_owned(), weight.parse().expect("a number"))
}

fn number(account: &Value, name: &str) -> i64 {
    account[name]
        .as_i64()
        .unwrap_or_else(|| panic!("no {name} in {account}"))
}

fn lost(account: &Value) -> i64 {
    let lost = account["lost"].as_object().expect("a table of losses");
    lost.values().map(|n| n.as_i64().expect("a number")).sum()
}

fn can_sample_breakpoints() -> bool {
    let output = perfd()
        .args([
            "record",
            "-q",
            "-e",
            "mem:0x1000:x",
            "-c",
            "1",
            "-o",
            "/dev/null",
            "--",
            "true",
        ])
        .output()
        .expect("perfd runs");
    if !output.status.success() {
        skip(&format!(
            "breakpoints: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    output.status.success()
}

#[test]
fn every_call_is_a_delivered_sample_without_stacks() {
    if !can_sample_breakpoints() {
        return;
    }
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    for n in [1, 1000, 100_000 / N_CALLERS] {
        let run = record(&program, n, &["--call-graph", "none"]);
        let expected = i64::try_from(N_CALLERS * n).expect("small");
        assert_eq!(number(&run.account, "emitted"), expected);
        assert_eq!(
            number(&run.account, "delivered"),
            expected,
            "{}",
            run.account
        );
        assert_eq!(run.account["lost"], serde_json::json!({}));
        assert_eq!(run.weight_of_probed, N_CALLERS * n);
    }
}

#[test]
fn with_stacks_what_is_not_delivered_is_counted_as_lost() {
    for backend in BACKENDS {
        if let Some(reason) = backend_forbidden(backend) {
            skip(&reason);
        } else if can_sample_breakpoints() {
            account_for_every_call(backend);
        }
    }
}

fn account_for_every_call(backend: &str) {
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    for n in [1, 1000, 100_000 / N_CALLERS] {
        let run = record(&program, n, &["--backend", backend]);
        let expected = i64::try_from(N_CALLERS * n).expect("small");
        assert_eq!(number(&run.account, "emitted"), expected);
        let delivered = number(&run.account, "delivered");
        assert_eq!(delivered + lost(&run.account), expected, "{}", run.account);
        assert_eq!(
            run.account["lost"]["not_raised"],
            Value::Null,
            "{}",
            run.account
        );
        assert_eq!(i64::try_from(run.weight_of_probed), Ok(delivered));
    }
}

#[test]
fn a_ring_that_is_too_small_loses_samples_and_says_how_many() {
    if !can_sample_breakpoints() {
        return;
    }
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    let n = 100_000 / N_CALLERS;
    let run = record(&program, n, &["--backend", "perf", "-m", "32"]);
    let expected = i64::try_from(N_CALLERS * n).expect("small");
    assert_eq!(number(&run.account, "emitted"), expected);
    assert!(
        number(&run.account["lost"], "ring_full") > 0,
        "{}",
        run.account
    );
    assert_eq!(
        number(&run.account, "delivered") + lost(&run.account),
        expected
    );
    assert_eq!(
        run.account["lost"]["not_raised"],
        Value::Null,
        "{}",
        run.account
    );
    assert_eq!(
        i64::try_from(run.weight_of_probed),
        Ok(number(&run.account, "delivered"))
    );
}

#[test]
fn no_call_is_seen_twice_when_threads_are_created_during_the_attach() {
    if !can_sample_breakpoints() {
        return;
    }
    let program = compile_c(SERIALS, &["-O1", "-no-pie", "-fno-optimize-sibling-calls"]);
    let event = format!("mem:{:#x}:x", program.address_of("probed"));
    let json = program.folder().join("x.json");
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..5 {
        let mut target = Command::new(program.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut attached = perfd()
            .args([
                "attach",
                "-c",
                "1",
                "-e",
                &event,
                "--interval",
                "100ms",
                "-o",
                "-",
                "-o",
            ])
            .arg(&json)
            .arg(target.id().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("perfd runs");
        let lines = BufReader::new(attached.stdout.take().expect("piped")).lines();
        seen.clear();
        for line in lines {
            // Attached: the target may end now, and the run with it.
            if let Some(mut input) = target.stdin.take() {
                let _ = input.write_all(b"\n");
            }
            let (stack, weight) = parse_folded(&line.expect("text"));
            if stack.contains("digit_") && !stack.contains("[truncated") {
                *seen.entry(stack).or_default() += weight;
            }
        }
        target.wait().expect("our child");
        let output = attached.wait_with_output().expect("our child");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(!seen.is_empty(), "{said}");
        let twice: Vec<_> = seen.iter().filter(|(_, weight)| **weight != 1).collect();
        assert!(twice.is_empty(), "{twice:?}\n{said}");
        let account = event_account(&json);
        assert_eq!(
            number(&account, "emitted"),
            number(&account, "delivered") + lost(&account),
            "{account}"
        );
        assert_eq!(account["lost"]["not_raised"], Value::Null, "{account}");
    }
}

#[test]
fn code_that_loaders_run_before_and_after_main_has_whole_stacks() {
    let program = compile_c("int main(void) { return 0; }", &["-O1", "-no-pie"]);
    for section in ["_init", "_fini"] {
        // Its first instruction, where it begins a page of code, and one behind it.
        let start = program.address_of(section);
        for address in [start, start + 4] {
            for backend in BACKENDS {
                if let Some(reason) = backend_forbidden(backend) {
                    skip(&reason);
                    continue;
                }
                let output = perfd()
                    .args(["record", "-q", "-c", "1", "--backend", backend, "-e"])
                    .args([&format!("mem:{address:#x}:x"), "-o", "-", "--"])
                    .arg(program.path())
                    .output()
                    .expect("perfd runs");
                let stacks = String::from_utf8_lossy(&output.stdout);
                assert!(
                    stacks.starts_with("program;_start;")
                        && stacks.ends_with(&format!(";{section} 1\n")),
                    "{section} at {address:#x} by {backend}: {stacks}"
                );
            }
        }
    }
}
