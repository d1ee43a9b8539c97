//! The programs of `bpf/` on the kernel that runs: it takes them, and what they give is right. `tests/vm/kernels` runs this on
//! Debian's kernels, each in an emulated machine.
//!
//! The stacks here are larger than any copy of a stack: whole ones were walked in the kernel.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::BorrowedFd;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use folded::chain::Chain;
use folded::{Stack, bare, parse, said};
use perfd::bpf::{CountEach, KernelWalk, MAX_EVENTS, Python, Room, TableWords};
use perfd::model::{
    AddressSpace, EventIdx, KernelWalkLedger, Modes, ModuleId, MonoNs, Pid, Rate, ResolvedEvent,
    Rule, Tid,
};
use perfd::procfs::SysRoots;
use perfd::procfs::memory::of_bpf_map;
use perfd::sys::{
    Callchain, EventFd, EventScope, SampleContent, Start, Wakes, Whom, open_sampling,
};
use serde_json::Value;
use support::calls::CALLS;
use support::{compile_c, perfd, skip};

mod folded;
mod support;

/// Whole stacks to wait for, and copied ones after which no others are to come.
const ENOUGH: u64 = 200;
const TOO_MANY: u64 = 20_000;

/// `descend(40)` takes 40 frames of 4 KiB to `spin`.
const DESCEND: &str = r#"
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
"#;

/// Descends until standard input ends.
const WAITS: &str = r#"
#include <poll.h>

int main(void) {
    struct pollfd stdin_closed = {.fd = 0, .events = POLLIN};
    while (poll(&stdin_closed, 1, 0) == 0) descend(40);
    return 0;
}
"#;

/// The same, after code at some place has made room for data: at a byte of standard input, before which it does not `spin`.
const REPLACES: &str = r#"
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 1 << 20 };

__attribute__((noipa)) static void wait_for_byte(void) {
    for (volatile int i = 0; i < 10000; i++) {}
}

int main(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char byte;
    char *code = mmap(0, SIZE, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    while (poll(&input, 1, 0) == 0) wait_for_byte();
    if (read(0, &byte, 1) != 1) return 1;
    munmap(code, SIZE);
    for (;;) {
        char *data = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (data == MAP_FAILED) return 1;
        if (data < code + SIZE && code < data + SIZE) break;
    }
    while (poll(&input, 1, 0) == 0) descend(40);
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
fn watch(perfd: Child, output: impl BufRead, input: ChildStdin) {
    let mut input = Some(input);
    let mut seen = Seen::default();
    for line in output.lines() {
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
    let python = Python::Read(ModuleId(1));
    let (large, small) = (Room::default(), Room::for_samples(100, 1000));
    for (n_events, count_each, python, room) in [
        (1, CountEach::Stack, Python::Leave, large),
        (1, CountEach::Stack, Python::Leave, small),
        (MAX_EVENTS, CountEach::Stack, Python::Leave, large),
        (MAX_EVENTS, CountEach::Sample, Python::Leave, large),
        (1, CountEach::Stack, python, large),
        (MAX_EVENTS, CountEach::Sample, python, small),
    ] {
        let start = Instant::now();
        let loaded = KernelWalk::load(n_events, true, count_each, python, room, [1, 2]);
        let took = start.elapsed();
        let walk = match loaded {
            Ok(walk) => walk,
            Err(error) => panic!("{:#}", anyhow::Error::new(error)),
        };
        let size = |map: BorrowedFd<'_>| of_bpf_map(&SysRoots::default().proc, map);
        let bytes = walk.cost(size).map_bytes.expect("the kernel tells");
        eprintln!(
            "Linux {}: programs for {n_events} events are loaded in {took:.1?} ({python:?}), maps take {} KiB",
            release.trim(),
            bytes >> 10
        );
    }
}

/// On kernels that set many entries of an array of maps at once, and on those that do not.
#[test]
fn tables_are_loaded_together_and_taken_out_again() {
    if is_forbidden() {
        return;
    }
    let walk = KernelWalk::load(
        1,
        true,
        CountEach::Stack,
        Python::Leave,
        Room::default(),
        [1, 2],
    )
    .expect("loaded");
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
        let mut loaded = Vec::new();
        loader.load(&tables, |index, table| {
            assert_eq!(index, loaded.len(), "each is announced once, in order");
            loaded.push(table);
        });
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
    let program = compile_c(&[DESCEND, WAITS].concat(), &["-O2", "-fomit-frame-pointer"]);
    let mut perfd = sampling("record")
        .arg("--")
        .arg(program.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    // The command's input is perfd's.
    let input = perfd.stdin.take().expect("piped");
    let output = BufReader::new(perfd.stdout.take().expect("piped"));
    watch(perfd, output, input);
}

#[test]
fn a_running_process_has_whole_stacks_larger_than_any_copy() {
    if is_forbidden() {
        return;
    }
    let program = compile_c(&[DESCEND, WAITS].concat(), &["-O2", "-fomit-frame-pointer"]);
    let mut target = Command::new(program.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut perfd = sampling("attach")
        .arg(target.id().to_string())
        .spawn()
        .expect("perfd runs");
    let output = BufReader::new(perfd.stdout.take().expect("piped"));
    watch(perfd, output, target.stdin.take().expect("piped"));
    assert!(target.wait().expect("our child").success());
}

#[test]
fn data_in_the_place_of_code_does_not_keep_a_process_in_the_ring() {
    if is_forbidden() {
        return;
    }
    let program = compile_c(
        &[DESCEND, REPLACES].concat(),
        &["-O2", "-fomit-frame-pointer"],
    );
    let mut target = Command::new(program.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut perfd = sampling("attach")
        .arg(target.id().to_string())
        .spawn()
        .expect("perfd runs");
    let mut input = target.stdin.take().expect("piped");
    let mut output = BufReader::new(perfd.stdout.take().expect("piped"));
    let mut first = String::new();
    // A sample: what is mapped now is known.
    output.read_line(&mut first).expect("text");
    input.write_all(b"x").expect("the program reads");
    watch(perfd, output, input);
    assert!(target.wait().expect("our child").success());
}

#[test]
fn samples_of_targets_that_find_no_room_are_left_to_the_ring() {
    if is_forbidden() {
        return;
    }
    let mut walk = KernelWalk::load(
        1,
        true,
        CountEach::Stack,
        Python::Leave,
        Room::default(),
        [1, 2],
    )
    .expect("as above");
    let event = ResolvedEvent {
        type_: 1,
        config: 0,
        config1: 0,
        config2: 0,
        bp_type: 0,
        host_only: false,
    };
    let content = SampleContent {
        period: false,
        callchain: Callchain::None,
        registers: false,
        stack_bytes: 0,
        cgroup: false,
    };
    // This thread's, which is no target.
    let scope = |cpu| EventScope {
        whom: Whom::Thread {
            tid: Tid(nix::unistd::gettid().as_raw().cast_unsigned()),
            inherit: false,
        },
        cpu,
    };
    let cpus = perfd::procfs::cpus::online(&SysRoots::default()).expect("readable");
    let events: Vec<EventFd> = { cpus.into_iter() }
        .map(|cpu| {
            let rate = Rate::Period(100_000);
            let (start, wakes) = (Start::Enabled, Wakes::AtWatermark);
            let fd = open_sampling(event, Modes::USER, rate, &content, scope(cpu), start, wakes);
            let fd = fd.expect("cpu-clock is everywhere");
            walk.attach(EventIdx(0), &fd).expect("is attached");
            fd
        })
        .collect();
    let work_until = |walk: &KernelWalk, is_enough: fn(&KernelWalkLedger) -> bool| loop {
        let outcomes = walk.outcomes().expect("readable")[0];
        if is_enough(&outcomes) {
            return outcomes;
        }
    };
    let before = work_until(&walk, |outcomes| outcomes.foreign > 10);
    assert_eq!(before.left_to_ring, 0, "{before:?}");
    let nothing = AddressSpace::new();
    // More than there are: numbers of processes end at 2²².
    let mut pids = (1 << 22..).map(Pid);
    while pids
        .by_ref()
        .next()
        .is_some_and(|pid| walk.publish(pid, &nothing, MonoNs(0)).is_ok())
    {}
    let full = walk.outcomes().expect("readable")[0];
    let after = work_until(&walk, |outcomes| outcomes.left_to_ring > 10);
    assert_eq!(after.foreign, full.foreign);
    drop(events);
}

#[test]
fn samples_one_by_one_have_whole_stacks_and_come_in_order_of_time() {
    if is_forbidden() {
        return;
    }
    let program = compile_c(&[DESCEND, WAITS].concat(), &["-O2", "-fomit-frame-pointer"]);
    let mut perfd = sampling("record")
        .arg("--timestamps")
        .arg("--")
        .arg(program.path())
        .stdin(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    let mut input = perfd.stdin.take();
    let (mut whole, mut frames) = (0, Vec::new());
    // Microseconds of every sample.
    let mut times = Vec::new();
    for line in BufReader::new(perfd.stdout.take().expect("piped")).lines() {
        let line = line.expect("text");
        if line.is_empty() {
            let n_known = |name: &str| frames.iter().filter(|frame| *frame == name).count();
            let is_whole = n_known("spin") == 1 && n_known("descend") == 40 && n_known("main") == 1;
            // Not of a copy, which is too short for it.
            whole += u64::from(is_whole);
            frames.clear();
        } else if line.starts_with('\t') {
            frames.extend(line.split_whitespace().nth(1).map(str::to_owned));
        } else {
            let time = line.split_whitespace().find_map(|word| {
                let (seconds, micros) = word.strip_suffix(':')?.split_once('.')?;
                Some((seconds.parse::<u64>().ok()?, micros.parse::<u64>().ok()?))
            });
            times.push(time.expect("a time"));
        }
        if whole >= ENOUGH || times.len() as u64 >= TOO_MANY {
            drop(input.take());
        }
    }
    let output = perfd.wait_with_output().expect("our child");
    assert!(output.status.success(), "{}", said(&output));
    let n = times.len();
    assert!(whole >= ENOUGH, "{whole} of {n}\n{}", said(&output));
    assert!(times.is_sorted(), "{times:?}");
    eprintln!("{whole} of {n} samples one by one have whole stacks");
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
