//! The kernel's walk and perfd's own give the same profile of the same events: equal stacks, equal counts.
//!
//! The targets wait for a byte before each round of calls whose number is known, and get it when perfd has delivered the samples of
//! the round before: so no ring is ever full, whichever way a sample takes.
#![cfg(target_arch = "x86_64")]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use serde_json::Value;
use support::{Program, backend_forbidden, compile_c, perfd, skip};

/// For each byte of standard input, calls `probed` from stacks that are known: see [`CALLS`].
const ROUNDS: &str = r#"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define OWN __attribute__((noinline, noclone))
OWN void probed(void) { __asm__ volatile("" : : : "memory"); }
#define CALL(name, n) OWN void name(void) { for (int i = 0; i < n; i++) probed(); }
CALL(shallow, 3) CALL(of_thread, 4) CALL(of_child, 5) CALL(of_its_thread, 2) CALL(at_the_end, 1) CALL(far_down, 1)

OWN void recurse(int depth) {
    if (depth == 1) at_the_end();
    else recurse(depth - 1);
    __asm__ volatile("" : : : "memory");
}

OWN void wide(int depth) {
    volatile char frame[1024];
    frame[0] = 1;
    if (depth == 1) far_down();
    else wide(depth - 1);
    __asm__ volatile("" : : "r"(frame[0]));
}

static void *thread(void *unused) { of_thread(); return unused; }
static void *thread_of_child(void *unused) { of_its_thread(); return unused; }

OWN void in_thread(void *(*work)(void *)) {
    pthread_t other;
    pthread_create(&other, 0, work, 0);
    pthread_join(other, 0);
}

OWN void all(void) {
    shallow();
    recurse(300);
    wide(90);
    in_thread(thread);
    if (fork() == 0) {
        of_child();
        in_thread(thread_of_child);
        _exit(0);
    }
    wait(0);
}

int main(void) {
    char byte;
    while (read(0, &byte, 1) == 1) all();
    return 0;
}
"#;

/// How a stack ends, and how often it does in a round.
const CALLS: [(&str, u64); 6] = [
    (";main;all;shallow;probed", 3),
    (";recurse;recurse;at_the_end;probed", 1),
    (";wide;wide;far_down;probed", 1),
    (";thread;of_thread;probed", 4),
    (";main;all;of_child;probed", 5),
    (";thread_of_child;of_its_thread;probed", 2),
];
const PER_ROUND: u64 = 16;
/// Frames of 1 KiB: more than a copy holds.
const N_WIDE: usize = 90;
/// Many times what any of the waits takes.
const MOST_ROUNDS: u64 = 200;

/// A run of `perfd record`: its folded stacks, its account, and the rounds of the target.
struct Run {
    stacks: BTreeMap<String, u64>,
    account: Value,
    rounds: u64,
}

/// Records rounds until `is_enough` says so, which is told of the rounds and of how many of them were delivered with all stacks whole.
fn record(program: &Program, backend: &str, is_enough: impl Fn(u64, u64) -> bool) -> Run {
    let folded = program.folder().join("x.folded");
    let event = format!("mem:{:#x}:x", program.address_of("probed"));
    let mut perfd = perfd()
        .args(["record", "-q", "-c", "1", "-e", &event])
        .args([
            "--backend",
            backend,
            "--interval",
            "100ms",
            "-o",
            "jsonl:-",
            "-o",
        ])
        .arg(&folded)
        .arg("--")
        .arg(program.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    let mut target = perfd.stdin.take();
    let lines = BufReader::new(perfd.stdout.take().expect("piped")).lines();
    let mut lines = lines.map(|line| {
        let line = line.expect("text");
        serde_json::from_str::<Value>(&line).expect("a document")
    });
    let (mut rounds, mut whole_rounds) = (0, 0);
    while !is_enough(rounds, whole_rounds) {
        assert!(
            rounds < MOST_ROUNDS,
            "{whole_rounds} of {rounds} rounds are whole"
        );
        let input = target.as_mut().expect("not told to end yet");
        input.write_all(b"\n").expect("it reads");
        rounds += 1;
        let (mut delivered, mut whole) = (0, 0);
        while delivered < PER_ROUND {
            let window = lines.next().expect("a window");
            delivered += number(&window["ledger"]["events"][0], "delivered");
            whole += window["ledger"]["stacks"]["ended"]["root"]
                .as_u64()
                .unwrap_or(0);
        }
        assert_eq!(delivered, PER_ROUND, "round {rounds}");
        whole_rounds += u64::from(whole == PER_ROUND);
    }
    drop(target.take());
    let end = lines.last().expect("the end of the run");
    assert!(perfd.wait().expect("our child").success());
    let text = std::fs::read_to_string(&folded).expect("written");
    let mut stacks = BTreeMap::new();
    for line in text.lines() {
        let (stack, weight) = line.rsplit_once(' ').expect("a stack and a number");
        let weight: u64 = weight.parse().expect("a number");
        *stacks.entry(stack.to_owned()).or_default() += weight;
    }
    Run {
        stacks,
        account: end["ledger"]["events"][0].clone(),
        rounds,
    }
}

fn number(account: &Value, name: &str) -> u64 {
    let number = account[name].as_u64();
    number.unwrap_or_else(|| panic!("no {name} in {account}"))
}

/// The stacks that fit a copy: each is whole, and there as often as it was called.
fn check_common(run: &Run) -> BTreeMap<&str, u64> {
    let account = &run.account;
    for name in ["emitted", "delivered", "counted_weight", "sampled_weight"] {
        assert_eq!(number(account, name), run.rounds * PER_ROUND, "{account}");
    }
    assert_eq!(account["lost"], serde_json::json!({}));
    assert_eq!(account["unexplained"], 0);
    for (end, n) in CALLS {
        let with_end = run.stacks.iter().filter(|(stack, _)| stack.ends_with(end));
        let sum: u64 = with_end.map(|(_, weight)| weight).sum();
        assert_eq!(sum, run.rounds * n, "{end}: {:?}", run.stacks);
    }
    let common = run
        .stacks
        .iter()
        .filter(|(stack, _)| !stack.contains("far_down"));
    let common: BTreeMap<&str, u64> = common.map(|(stack, n)| (&**stack, *n)).collect();
    assert!(
        common.keys().all(|stack| !stack.contains("[truncated")),
        "{common:?}"
    );
    common
}

/// Of the stacks that are larger than a copy: whole ones and others.
fn wide(run: &Run) -> (u64, u64) {
    let is_whole = |stack: &str| {
        let n_wide = stack.split(';').filter(|frame| *frame == "wide").count();
        n_wide == N_WIDE && stack.contains(";main;all;wide;") && !stack.contains("[truncated")
    };
    let wide = run
        .stacks
        .iter()
        .filter(|(stack, _)| stack.contains("far_down"));
    let (whole, cut): (Vec<_>, Vec<_>) = wide.partition(|(stack, _)| is_whole(stack));
    let sum = |stacks: &[(&String, &u64)]| stacks.iter().map(|(_, n)| **n).sum();
    (sum(&whole), sum(&cut))
}

#[test]
fn every_call_of_a_breakpoint_is_there_with_the_same_stack() {
    if let Some(reason) = backend_forbidden("bpf") {
        return skip(&reason);
    }
    let program = compile_c(ROUNDS, &["-O1", "-no-pie", "-fno-optimize-sibling-calls"]);
    // Until the kernel has the mappings and tables of the program, its samples come with a copy.
    let bpf = record(&program, "bpf", |_, whole_rounds| whole_rounds == 6);
    let perf = record(&program, "perf", |rounds, _| rounds == bpf.rounds);
    assert_eq!(check_common(&bpf), check_common(&perf));
    let (whole, cut) = wide(&bpf);
    assert!(
        whole >= 6 && whole + cut == bpf.rounds,
        "{whole} whole, {cut} cut"
    );
    assert_eq!(wide(&perf), (0, perf.rounds));
}

/// Two threads that wait for each other in turn, so that almost every context switch has one of two stacks.
const PING_PONG: &str = r#"
#include <pthread.h>
#include <unistd.h>

static int there[2], back[2];

__attribute__((noinline, noclone)) void exchange(int from, int to) {
    char byte = 0;
    for (int i = 0; i < 3000; i++) {
        write(to, &byte, 1);
        read(from, &byte, 1);
    }
}

static void *other(void *unused) {
    exchange(there[0], back[1]);
    return unused;
}

int main(void) {
    pthread_t thread;
    if (pipe(there) || pipe(back)) return 1;
    pthread_create(&thread, 0, other, 0);
    exchange(back[0], there[1]);
    pthread_join(thread, 0);
    return 0;
}
"#;

#[test]
fn stacks_of_the_kernel_are_the_same_to_the_leaf() {
    if let Some(reason) = backend_forbidden("bpf") {
        return skip(&reason);
    }
    let program = compile_c(PING_PONG, &["-O1", "-Wno-unused-result"]);
    let commonest = |backend: &str| {
        let folded = program.folder().join("x.folded");
        let status = perfd()
            .args(["record", "-q", "-e", "context-switches", "-c", "1"])
            .args(["--backend", backend, "-o"])
            .arg(&folded)
            .arg("--")
            .arg(program.path())
            .status();
        assert!(status.expect("perfd runs").success());
        let text = std::fs::read_to_string(&folded).expect("written");
        let counts = text.lines().filter_map(|line| {
            let (stack, n) = line.rsplit_once(' ')?;
            // Where it waits for the other. Where it is sent off the CPU instead is up to the scheduler.
            // With the debug information of the C library its function is called as there: `__libc_read`.
            let (_, below) = stack.split_once(";main;exchange;")?;
            let waits = below.split(';').next()?.ends_with("read");
            waits.then(|| (n.parse::<u64>().expect("a number"), stack.to_owned()))
        });
        counts.max().expect("the thread has waited").1
    };
    let stack = commonest("bpf");
    assert!(
        stack.ends_with("_[k]") && !stack.ends_with(";[kernel]_[k]"),
        "{stack}"
    );
    assert_eq!(stack, commonest("perf"));
}
