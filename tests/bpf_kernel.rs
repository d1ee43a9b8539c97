//! The programs of `bpf/` on the kernel that runs: it takes them, and what they give is right. `tests/vm/kernels` runs this on
//! Debian's kernels, each in an emulated machine.
//!
//! The stacks here are larger than any copy of a stack: whole ones were walked in the kernel.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use folded::chain::Chain;
use folded::{Stack, bare, parse, said};
use perfd::bpf::{KernelWalk, MAX_EVENTS, TableWords};
use perfd::model::{ModuleId, Rule};
use serde_json::Value;
use support::calls::CALLS;
use support::{compile_c, perfd, skip};

mod folded;
mod support;

/// Whole stacks to wait for, and copied ones after which no others are to come.
const ENOUGH: u64 = 200;
const TOO_MANY: u64 = 20_000;

/// 40 frames of 4 KiB, until standard input ends.
const WAITS: &str = r#"
#include <poll.h>

__attribute__((noipa)) static void spin(void) {
    for (volatile int i = 0; i < 10000; i++) {}
}

__attribute__((noipa)) static void descend(int depth) {
    volatile char room[4096];
    room[0] = 0;
    if (depth > 1) descend(depth - 1);
    else spin();
    room[1] = room[0];
}

int main(void) {
    struct pollfd stdin_closed = {.fd = 0, .events = POLLIN};
    while (poll(&stdin_closed, 1, 0) == 0) descend(40);
    return 0;
}
"#;

/// Whether BPF may not be used here; that the kernel refuses the programs is no reason to skip.
fn is_forbidden() -> bool {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = REASON.get_or_init(|| {
        let output = perfd()
            .args(["record", "-q", "--backend", "bpf", "-e", "cpu-clock"])
            .args(["-o", "/dev/null", "--", "true"])
            .output()
            .expect("perfd runs");
        let said = said(&output);
        (!output.status.success() && said.contains("BPF needs")).then_some(said)
    });
    if let Some(reason) = reason {
        skip(reason);
    }
    reason.is_some()
}

/// What the samples of [`WAITS`] say.
#[derive(Debug, Default)]
struct Seen {
    /// With the known stack.
    right: u64,
    /// Copied, and longer than the copy: taken before the tables were loaded.
    copied: u64,
    wrong: Vec<String>,
}

impl Seen {
    fn add(&mut self, stack: &Stack) {
        let chain = Chain::parse("_start . .. main descend*40 spin");
        let own: BTreeSet<String> = chain.names().collect();
        let frames: Vec<String> = stack.frames.iter().map(|frame| bare(frame)).collect();
        if !frames.iter().any(|frame| frame == "spin") {
            return;
        }
        match &stack.truncated {
            None if chain.matches(&frames, &own) => self.right += stack.samples,
            Some(reason) if reason.contains("copy too short") => self.copied += stack.samples,
            reason => self.wrong.push(format!("{reason:?}: {frames:?}")),
        }
    }
}

/// Follows a perfd that writes samples of [`WAITS`] as they come, and ends the program, by its input, when they suffice.
fn watch(mut perfd: Child, input: ChildStdin) {
    let mut input = Some(input);
    let mut seen = Seen::default();
    for line in BufReader::new(perfd.stdout.take().expect("piped")).lines() {
        for stack in parse(&line.expect("text")).expect("folded text") {
            seen.add(&stack);
        }
        if seen.right >= ENOUGH || seen.copied >= TOO_MANY || !seen.wrong.is_empty() {
            drop(input.take());
        }
    }
    drop(input.take());
    let output = perfd.wait_with_output().expect("our child");
    assert!(output.status.success(), "{}", said(&output));
    assert!(seen.wrong.is_empty(), "{seen:#?}");
    assert!(seen.right >= ENOUGH, "{seen:?}\n{}", said(&output));
    eprintln!("{} whole stacks, {} copied before", seen.right, seen.copied);
}

/// `perfd` and what to do, and samples as they come.
fn sampling(command: &str) -> Command {
    let mut perfd = perfd();
    perfd
        .args([command, "--backend", "bpf", "-e", "cpu-clock"])
        .args([
            "-F",
            "499",
            "--interval",
            "500ms",
            "--unit",
            "samples",
            "-o",
            "-",
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    perfd
}

#[test]
fn the_kernel_takes_the_programs() {
    if is_forbidden() {
        return;
    }
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("readable");
    for n_events in [1, MAX_EVENTS] {
        let start = Instant::now();
        let loaded = KernelWalk::load(n_events, true, [1, 2]);
        let took = start.elapsed();
        if let Err(error) = loaded {
            panic!("{:#}", anyhow::Error::new(error));
        }
        eprintln!(
            "Linux {}: programs for {n_events} events are loaded in {took:.1?}",
            release.trim()
        );
    }
}

/// On kernels that set many entries of an array of maps at once, and on those that do not.
#[test]
fn tables_are_loaded_together_and_taken_out_again() {
    if is_forbidden() {
        return;
    }
    let walk = KernelWalk::load(1, true, [1, 2]).expect("loaded");
    let loader = walk.table_loader();
    let (index, rows) = (vec![0; 3000], vec![0; 5000]);
    let words = |n: usize| TableWords {
        first_page: 0,
        index: &index[..n],
        rows: &rows,
        rules: &[Rule::NONE],
    };
    let tables = [words(0), words(3000), words(1000)];
    for _ in 0..3 {
        let loaded = loader.load(&tables);
        assert_eq!(loaded.len(), 3);
        let expected: u64 = tables.iter().map(TableWords::bytes_in_kernel).sum();
        assert_eq!(loader.bytes(), expected);
        for (id, table) in (7..).zip(loaded) {
            let table = table.expect("loaded");
            loader.show(ModuleId(id), Some(&table)).expect("shown");
            loader.hide(ModuleId(id)).expect("hidden");
            loader.unload(table).expect("taken out");
        }
        assert_eq!(loader.bytes(), 0);
    }
}

#[test]
fn a_command_has_whole_stacks_larger_than_any_copy() {
    if is_forbidden() {
        return;
    }
    let program = compile_c(WAITS, &["-O2", "-fomit-frame-pointer"]);
    let mut perfd = sampling("record")
        .arg("--")
        .arg(program.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    // The command's input is perfd's.
    let input = perfd.stdin.take().expect("piped");
    watch(perfd, input);
}

#[test]
fn a_running_process_has_whole_stacks_larger_than_any_copy() {
    if is_forbidden() {
        return;
    }
    let program = compile_c(WAITS, &["-O2", "-fomit-frame-pointer"]);
    let mut target = Command::new(program.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let perfd = sampling("attach")
        .arg(target.id().to_string())
        .spawn()
        .expect("perfd runs");
    watch(perfd, target.stdin.take().expect("piped"));
    assert!(target.wait().expect("our child").success());
}

#[test]
fn every_call_is_accounted_for() {
    if is_forbidden() {
        return;
    }
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    let event = format!("mem:{:#x}:x", program.address_of("probed"));
    let output = perfd()
        .args(["record", "-q", "--backend", "bpf", "-e", &event, "-c", "1"])
        .args(["-o", "json:-", "--"])
        .arg(program.path())
        .arg("500")
        .output()
        .expect("perfd runs");
    assert!(output.status.success(), "{}", said(&output));
    let document: Value = serde_json::from_slice(&output.stdout).expect("json");
    let account = &document["ledger"]["events"][0];
    let lost = account["lost"].as_object().expect("a table of losses");
    let n_lost: u64 = lost.values().filter_map(Value::as_u64).sum();
    let delivered = account["delivered"].as_u64().expect("a number");
    eprintln!("{delivered} samples of 4000 calls, {n_lost} lost");
    assert_eq!(account["emitted"], 4000, "{account}");
    assert_eq!(delivered + n_lost, 4000, "{account}");
    assert!(!lost.contains_key("not_raised"), "{account}");
}
