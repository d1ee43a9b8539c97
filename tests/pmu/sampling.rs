//! `perfd record` with hardware events: how many samples, and where their weight is.

use crate::machine::{counts_the_kernel, cycles_per_instruction, has, has_pmu, is_exact, n_cpus};
use crate::programs::{self, PER_TURN};
use crate::runs::{Profile, record, stat};

const N: u64 = 1_000_000;
const PERIOD: u64 = 100_000;

/// Without stacks: these tests are about counts.
const FLAT: [&str; 2] = ["--call-graph", "none"];

fn sampled(events: &str, flags: &[&str]) -> Vec<String> {
    let rate = ["-e", events];
    let all = [&rate[..], &FLAT, flags].concat();
    all.into_iter().map(str::to_owned).collect()
}

fn record_flat(
    events: &str,
    rate: &[&str],
    program: &crate::support::Program,
    arguments: &[&str],
) -> Profile {
    let flags = sampled(events, rate);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    record(&flags, program, arguments)
}

/// The weight of a function is what it counted, to within one period for the samples before and behind it.
#[track_caller]
fn check_weight(profile: &Profile, idx: usize, function: &str, expected: u64, within: u64) {
    let weight = profile.weight_in(idx, function);
    assert!(
        weight.abs_diff(expected) <= within,
        "{function}: {weight} instead of {expected} ± {within}"
    );
}

/// By how much a function's weight may differ from what it counted, on one thread that may run on each CPU: a period for each, and
/// where the interrupt comes late, one more for the sample that is taken behind the function's end.
fn one_thread() -> u64 {
    if is_exact() {
        PERIOD
    } else {
        2 * PERIOD * n_cpus()
    }
}

#[test]
fn instructions_are_sampled_every_so_many() {
    if !has_pmu() {
        return;
    }
    check_one_event("instructions:u", 3 * N * PER_TURN);
}

#[test]
fn cycles_are_sampled_every_so_many() {
    if !has_pmu() {
        return;
    }
    let cycles_each = cycles_per_instruction().unwrap_or(1);
    check_one_event("cycles:u", 3 * N * PER_TURN * cycles_each);
}

fn check_one_event(event: &str, least: u64) {
    let program = programs::loops();
    let n = N.to_string();
    let period = PERIOD.to_string();
    let profile = record_flat(event, &["-c", &period], &program, &[&n]);
    profile.check_account(0, PERIOD);
    let (delivered, counted) = (
        profile.number(0, "delivered"),
        profile.number(0, "counted_weight"),
    );
    if is_exact() {
        // The same program, counted without being sampled.
        let count = &stat(event, &program, &[&n])[0];
        assert_eq!(counted, count.value);
        assert_eq!(delivered, count.value / PERIOD);
        assert_eq!(profile.account(0)["lost"], serde_json::json!({}));
        assert!(counted > least && counted < least + PERIOD, "{counted}");
    } else {
        // On each CPU that the thread has been on, the rest of a period is left.
        assert!(delivered > 0 && counted - delivered * PERIOD < PERIOD * n_cpus());
    }
    if event == "instructions:u" {
        check_weight(&profile, 0, "first", N * PER_TURN, one_thread());
        check_weight(&profile, 0, "second", 2 * N * PER_TURN, one_thread());
    }
}

#[test]
fn two_events_in_one_run_have_each_their_own_stacks() {
    if !has_pmu() {
        return;
    }
    let program = programs::loops();
    let n = N.to_string();
    let period = PERIOD.to_string();
    let events = "cycles:u,instructions:u";
    let profile = record_flat(events, &["-c", &period], &program, &[&n]);
    for idx in [0, 1] {
        profile.check_account(idx, PERIOD);
        let counted = profile.number(idx, "counted_weight");
        let sampled = profile.number(idx, "sampled_weight");
        assert!(
            sampled > 0 && counted - sampled < PERIOD * n_cpus(),
            "{idx}: {counted} {sampled}"
        );
    }
    check_weight(&profile, 1, "first", N * PER_TURN, one_thread());
    check_weight(&profile, 1, "second", 2 * N * PER_TURN, one_thread());
    if let Some(cycles_each) = cycles_per_instruction() {
        let cycles = N * PER_TURN * cycles_each;
        check_weight(&profile, 0, "first", cycles, one_thread());
        check_weight(&profile, 0, "second", 2 * cycles, one_thread());
        let counts = stat(events, &program, &[&n]);
        for (idx, count) in counts.iter().enumerate() {
            assert_eq!(profile.number(idx, "counted_weight"), count.value);
        }
    }
}

#[test]
fn nothing_from_before_the_exec_is_sampled() {
    if !has_pmu() {
        return;
    }
    // Three instructions: with a period of a thousand there is nothing to sample, unless perfd's own way to the exec is
    // in the count.
    let profile = record_flat("instructions:u", &["-c", "1000"], &programs::ends(), &[]);
    let counted = profile.number(0, "counted_weight");
    assert!(counted >= 3, "{counted}");
    if is_exact() {
        assert_eq!(counted, 3);
        assert_eq!(profile.number(0, "delivered"), 0);
    } else {
        // Far from the thousands of an exec's preparation, with room for a dozen faults and interrupts.
        assert!(counted < 100, "{counted}");
    }
}

#[test]
fn a_forked_child_and_what_it_executes_are_sampled() {
    if !has_pmu() {
        return;
    }
    let program = programs::family();
    let period = PERIOD.to_string();
    let profile = record_flat(
        "instructions:u",
        &["-c", &period, "--pid"],
        &program,
        &["1000000"],
    );
    profile.check_account(0, PERIOD);
    let [counted, sampled] =
        ["counted_weight", "sampled_weight"].map(|name| profile.number(0, name));
    // Two processes, each with the rest of a period on each CPU.
    assert!(
        counted >= sampled && counted - sampled < 2 * PERIOD * n_cpus(),
        "{counted} {sampled}"
    );
    // From one process to one that has inherited its events the kernel switches by handing these over as they are, in the middle of a
    // period (`perf_event_context_sched_out` in kernel/events/core.c). So each switch may bring a sample to the other one.
    let within = one_thread() + PERIOD * profile.context_switches();
    for function in ["in_parent", "in_child", "in_exec"] {
        check_weight(&profile, 0, function, N * PER_TURN, within);
    }
    // Two processes; the label says which.
    let labels: std::collections::BTreeSet<&str> = profile.stacks[0]
        .iter()
        .map(|stack| stack.comm.as_str())
        .collect();
    let of = |function: &str| {
        let stacks = profile.stacks[0].iter();
        stacks
            .filter(|stack| stack.frames.iter().any(|frame| frame == function))
            .map(|stack| stack.comm.rsplit('-').next().expect("a pid"))
            .collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(of("in_child"), of("in_exec"), "{labels:?}");
    assert!(of("in_parent").is_disjoint(&of("in_child")), "{labels:?}");
}

#[test]
fn default_events_are_sampled_as_far_as_the_machine_has_them() {
    if !has_pmu() {
        return;
    }
    let profile = record(&FLAT, &programs::loops(), &["1000000"]);
    let events: Vec<&str> = profile.document["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["event"].as_str().expect("a name"))
        .collect();
    if has("cache-misses") {
        assert_eq!(events, ["cycles", "instructions", "cache-misses"]);
        return;
    }
    assert_eq!(events, ["cycles", "instructions"]);
    let notes = profile.document["notes"].to_string();
    assert!(notes.contains("not sampled: cache-misses: "), "{notes}");
    assert!(profile.number(0, "delivered") > 0 && profile.number(1, "delivered") > 0);
}

#[test]
fn user_and_kernel_mode_are_sampled_apart() {
    if !counts_the_kernel() {
        return;
    }
    let program = programs::calls_kernel();
    let period = PERIOD.to_string();
    let events = "instructions:u,instructions:k,instructions";
    let profile = record_flat(events, &["-c", &period], &program, &["300000"]);
    for idx in [0, 1, 2] {
        profile.check_account(idx, PERIOD);
    }
    // One group, so that what the two modes counted is what both counted.
    let [user, kernel, all] = [0, 1, 2].map(|idx| profile.number(idx, "counted_weight"));
    let slack = if is_exact() { 0 } else { kernel / 100 + 1000 };
    assert!(
        (user + kernel).abs_diff(all) <= slack,
        "{user} + {kernel}, {all}"
    );
    // The rest of a period is left on each CPU. And the kernel works with interrupts off for a while: if it gives the CPU to another
    // thread then, or ends this one, an overflow that is on its way is not raised any more.
    let not_raised = profile.context_switches() + 1;
    for (idx, counted) in [user, kernel, all].into_iter().enumerate() {
        let sampled = profile.number(idx, "sampled_weight");
        assert!(
            counted >= sampled && counted - sampled < PERIOD * (n_cpus() + not_raised),
            "{counted} {sampled}"
        );
    }
    // A sample is taken where the interrupt is: a little later than the overflow, and in the kernel not before interrupts are
    // permitted, which may be after the return to user mode. So not every sample stands in the mode it counts, but most do.
    let in_kernel = |idx| profile.weight(idx, |stack| stack.in_kernel);
    let in_user = |idx| profile.weight(idx, |stack| !stack.in_kernel);
    assert!(
        in_user(0) > 3 * in_kernel(0),
        "{} {}",
        in_user(0),
        in_kernel(0)
    );
    assert!(
        in_kernel(1) > 3 * in_user(1),
        "{} {}",
        in_kernel(1),
        in_user(1)
    );
}

#[test]
fn a_frequency_accounts_for_the_count() {
    if !has_pmu() {
        return;
    }
    let program = programs::loops();
    let profile = record_flat("instructions:u", &["-F", "1000"], &program, &["30000000"]);
    let account = profile.account(0);
    let [counted, sampled, expected, delivered] =
        ["counted_weight", "sampled_weight", "expected", "delivered"]
            .map(|name| profile.number(0, name));
    // The kernel changes the period all the time, so that no number of samples follows from the count.
    assert!(account["emitted"].is_null(), "{account}");
    assert_eq!(profile.weight(0, |_| true), sampled);
    // It begins with a period of 1, and lets it follow the event's rate: that is constant in a loop, so that the samples come to
    // be as many as asked for, but for the first and last ticks of the kernel's clock.
    assert!(
        delivered > expected / 2 && delivered < 2 * expected,
        "{account}"
    );
    // A sample weighs the period that ended with it. Together they are the count, but for what was counted since the last sample
    // on each CPU: less than one period, and no period is twice the mean.
    let rest = counted
        .checked_sub(sampled)
        .expect("no more than was counted");
    assert!(rest <= 2 * n_cpus() * counted / delivered, "{account}");
}
