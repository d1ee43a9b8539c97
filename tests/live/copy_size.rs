//! The stack copy comes down for shallow stacks and goes up again for a deep one, and no sample is taken twice. Where the kernel walks,
//! there is no size to be found.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::Value;

use crate::folded::{parse, said};
use crate::ledger::{self, check_identity, event, number};
use crate::support::{compile_c, perfd, skip};
use crate::targets::{Running, Target, may_sample};

/// Does what the bytes of standard input say: `s` calls `probed` 20 times, `d` once below 40 frames of 1 KiB, each time with
/// another serial number, whose octal digits are the functions on the stack; `f` forks a child and `t` starts a thread that
/// is busy until standard input ends. Each is acknowledged by a line.
const SERIALS: &str = r#"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define OWN __attribute__((noinline, noclone))

OWN void probed(void) { __asm__ volatile("" : : : "memory"); }

static void descend(unsigned serial, int digits);
#define DIGIT(d) OWN void digit_##d(unsigned serial, int digits) \
    { descend(serial, digits); __asm__ volatile("" : : : "memory"); }
DIGIT(0) DIGIT(1) DIGIT(2) DIGIT(3) DIGIT(4) DIGIT(5) DIGIT(6) DIGIT(7)
static void (*const digit[])(unsigned, int) =
    {digit_0, digit_1, digit_2, digit_3, digit_4, digit_5, digit_6, digit_7};

OWN static void descend(unsigned serial, int digits) {
    if (digits == 0) probed();
    else digit[serial & 7](serial >> 3, digits - 1);
    __asm__ volatile("" : : : "memory");
}

OWN void deeper(unsigned serial, int depth) {
    volatile char frame[1024];
    frame[0] = 1;
    if (depth == 0) descend(serial, 6);
    else deeper(serial, depth - 1);
    __asm__ volatile("" : : "r"(frame[0]));
}

static void *busy(void *unused) {
    struct pollfd input = {.fd = 0};
    while (poll(&input, 1, 0) == 0)
        for (volatile int i = 0; i < 50000; i++) ;
    return unused;
}

int main(void) {
    unsigned serial = 0;
    char what;
    pthread_t thread;
    while (read(0, &what, 1) == 1) {
        if (what == 's') for (int i = 0; i < 20; i++) descend(serial++, 6);
        if (what == 'd') deeper(serial++, 40);
        if (what == 't') pthread_create(&thread, 0, busy, 0);
        if (what == 'f' && fork() == 0) {
            busy(0);
            _exit(0);
        }
        puts("done");
        fflush(stdout);
    }
    return 0;
}
"#;

/// Many times what any of the waits below takes.
const MOST_WINDOWS: usize = 600;

impl Target {
    fn ask(&mut self, what: &str) {
        self.input().write_all(what.as_bytes()).expect("it reads");
        for _ in what.chars() {
            assert_eq!(self.line(), "done");
        }
    }
}

/// The next window of a JSON-lines output on standard output.
fn window(attached: &mut Running) -> Value {
    serde_json::from_str(&attached.line()).expect("a document")
}

fn gap(window: &Value) -> u64 {
    number(event(window, 0), "reopened_gap_ns")
}

#[test]
fn the_size_goes_down_and_up_again_and_no_call_is_seen_twice() {
    if !may_sample() {
        return;
    }
    let program = compile_c(SERIALS, &["-O1", "-no-pie", "-fno-optimize-sibling-calls"]);
    let at = |name: &str| program.folder().join(name);
    let probed = format!("mem:{:#x}:x", program.address_of("probed"));
    let mut target = Target::start(program.path());
    let mut attach = perfd();
    attach
        .args([
            "attach",
            "-q",
            "--backend",
            "perf",
            "-c",
            "1",
            "-e",
            &probed,
            "--interval",
            "100ms",
        ])
        .args(["-o", "jsonl:-", "-o"])
        .arg(at("x.folded"))
        .arg("-o")
        .arg(at("x.json"))
        .arg(target.pid());
    let mut attached = Running::start(&mut attach);
    let Some(Ok(first)) = attached.next_line() else {
        let (_, output) = attached.finish();
        assert!(
            matches!(output.status.code(), Some(69 | 77)),
            "{}",
            said(&output)
        );
        return skip(&said(&output));
    };
    assert!(first.starts_with('{'));
    let mut n_calls = 0;
    let mut emitted = 0;
    let mut n_windows = 0;
    // Down: every call is shallow.
    loop {
        target.ask("s");
        n_calls += 20;
        let window = window(&mut attached);
        emitted += number(event(&window, 0), "emitted");
        n_windows += 1;
        assert!(n_windows < MOST_WINDOWS, "the size never came down");
        if gap(&window) > 0 {
            break;
        }
    }
    // And up: a stack of 40 KiB.
    target.ask("d");
    n_calls += 1;
    loop {
        let window = window(&mut attached);
        emitted += number(event(&window, 0), "emitted");
        n_windows += 1;
        assert!(n_windows < MOST_WINDOWS, "the size never went up again");
        if gap(&window) > 0 {
            break;
        }
    }
    let n_before = n_calls;
    assert!(emitted <= n_before, "{emitted} of {n_before} calls");
    // From now on nothing changes any more, and nothing is missed.
    for _ in 0..5 {
        target.ask("sddd");
        n_calls += 23;
        assert_eq!(gap(&window(&mut attached)), 0);
    }
    target.tell_to_end();
    let (_, output) = attached.finish();
    assert!(output.status.success(), "{}", said(&output));

    let document = ledger::read(&at("x.json"));
    check_identity(&document);
    let account = event(&document, 0);
    assert_eq!(account["lost"], serde_json::json!({}), "{account}");
    let delivered = number(account, "delivered");
    assert!(delivered <= n_calls);
    let mut seen: BTreeMap<u32, u64> = BTreeMap::new();
    let mut n_cut = 0;
    for stack in parse(&std::fs::read_to_string(at("x.folded")).expect("written")).expect("folded")
    {
        let digits: Vec<u32> = stack.frames.iter().filter_map(|f| digit(f)).collect();
        assert_eq!(digits.len(), 6, "{stack:?}");
        // Outermost first is the lowest digit.
        let serial = digits
            .iter()
            .rev()
            .fold(0, |serial, digit| serial * 8 + digit);
        *seen.entry(serial).or_default() += stack.samples;
        n_cut += u64::from(stack.truncated.is_some());
    }
    assert!(seen.values().all(|n| *n == 1), "seen twice: {seen:?}");
    assert_eq!(seen.len() as u64, delivered);
    assert_eq!(n_cut, 1, "the one that brought the size up again");
    let (n_before, n_calls) = (
        u32::try_from(n_before).expect("small"),
        u32::try_from(n_calls).expect("small"),
    );
    let missed: Vec<u32> = (n_before..n_calls)
        .filter(|serial| !seen.contains_key(serial))
        .collect();
    assert!(missed.is_empty(), "missed: {missed:?}");
}

fn digit(frame: &str) -> Option<u32> {
    frame.strip_prefix("digit_")?.parse().ok()
}

#[test]
fn children_and_threads_of_the_run_are_followed_beyond_a_change_of_size() {
    if !may_sample() {
        return;
    }
    let program = compile_c(SERIALS, &["-O1", "-no-pie"]);
    for (flag, what) in [
        (None, "f"),
        (None, "t"),
        (Some("-t"), "f"),
        (Some("-t"), "t"),
    ] {
        let mut target = Target::start(program.path());
        let mut attach = perfd();
        attach
            .args(["attach", "-q", "--backend", "perf"])
            .args(["--interval", "100ms", "-o", "jsonl:-"])
            .args(flag)
            .arg(target.pid());
        let mut attached = Running::start(&mut attach);
        // Attached, and nothing to be sampled yet: the target waits for its input.
        window(&mut attached);
        target.ask(what);
        let mut n_windows = 0;
        while gap(&window(&mut attached)) == 0 {
            n_windows += 1;
            assert!(n_windows < MOST_WINDOWS, "the size never came down");
        }
        let delivered: Vec<u64> = (0..20)
            .map(|_| number(event(&window(&mut attached), 0), "delivered"))
            .collect();
        // The first few may still hold samples from before the change.
        let after: u64 = delivered[3..].iter().sum();
        assert!(after > 0, "{flag:?} {what}: {delivered:?}");
        target.tell_to_end();
        attached.finish();
    }
}
