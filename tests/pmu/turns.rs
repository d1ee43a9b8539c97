//! More events than the PMU has counters: they take turns, counts are scaled, and ratios are refused.

use crate::folded::said;
use crate::machine::{counts_the_kernel, cycles_per_instruction, has, slack};
use crate::programs::{self, PER_TURN};
use crate::runs::{counts, good, record};
use crate::support::perfd;

const N: u64 = 10_000_000;

/// Instructions of a run of `loops`, without start-up.
const IN_LOOPS: u64 = 3 * N * PER_TURN;

/// Three events for each that the machine has: in user mode, in kernel mode and in both. No PMU has so many counters.
fn too_many() -> String {
    let raw: &[&str] = if cfg!(target_arch = "aarch64") {
        // Retired instructions, cycles.
        &["r8", "r11"]
    } else {
        &[]
    };
    let named = [
        "instructions",
        "cycles",
        "branches",
        "branch-misses",
        "cache-references",
        "cache-misses",
        "L1-dcache-loads",
        "dTLB-loads",
    ];
    let there = named
        .iter()
        .chain(raw)
        .filter(|event| has(&format!("{event}:u")));
    let all: Vec<String> = there
        .flat_map(|event| ["", ":u", ":k"].map(|modes| format!("{event}{modes}")))
        .collect();
    all.join(",")
}

#[test]
fn events_that_take_turns_are_scaled_and_have_no_ratio() {
    if !counts_the_kernel() {
        return;
    }
    let program = programs::loops();
    let n = N.to_string();
    let events = too_many();
    let mut command = perfd();
    command.args(["stat", "-e", &events, "--"]);
    let table = said(&good(command.arg(program.path()).arg(&n)));
    assert!(
        table.contains("they take turns, and their counts are scaled"),
        "{table}"
    );
    assert!(table.contains("estimate, counted "), "{table}");
    assert!(table.contains(" % of the time"), "{table}");
    assert!(
        !table.contains("per cycle") && !table.contains("per 1,000"),
        "{table}"
    );

    let mut command = perfd();
    command.args(["stat", "--json", "-e", &events, "--"]);
    let output = good(command.arg(program.path()).arg(&n));
    let counts = counts(&output.stdout);
    let groups: std::collections::BTreeSet<u64> = counts.iter().map(|count| count.group).collect();
    assert_eq!(
        groups.len(),
        counts.len(),
        "each event takes its turns alone"
    );
    assert!(
        counts
            .iter()
            .any(|count| count.running_ns < count.enabled_ns),
        "{counts:?}"
    );
    for count in &counts {
        let scaled = count.scaled.expect("each had a turn");
        let expected =
            u128::from(count.value) * u128::from(count.enabled_ns) / u128::from(count.running_ns);
        assert_eq!(u128::from(scaled), expected, "{count:?}");
        if count.event != "instructions:u" {
            continue;
        }
        // No turn sees more than there is.
        assert!(count.value <= IN_LOOPS + 1000 + slack(count), "{count:?}");
        if let Some(ns_each) = cycles_per_instruction() {
            // Of the time enabled, so much is not in the loops but in the kernel or start-up. All of it may be in this event's
            // turns (the estimate is too low), or none (too high).
            let other_ns = count.enabled_ns - ns_each * IN_LOOPS;
            let high = u128::from(count.enabled_ns / ns_each);
            let low = u128::from(count.running_ns - other_ns) * high / u128::from(count.running_ns);
            assert!(
                (low..=high).contains(&u128::from(scaled)),
                "{low} {scaled} {high}"
            );
        }
    }
}

#[test]
fn samples_of_events_that_take_turns_are_accounted_for() {
    if !counts_the_kernel() {
        return;
    }
    const PERIOD: u64 = 1_000_000;
    let events = too_many();
    let flags = [
        "-e",
        &events,
        "-c",
        &PERIOD.to_string(),
        "--call-graph",
        "none",
    ];
    let profile = record(&flags, &programs::loops(), &[&N.to_string()]);
    let n_events = profile.stacks.len();
    for idx in 0..n_events {
        profile.check_account(idx, PERIOD);
        let account = profile.account(idx);
        // An overflow may be on its way when the kernel takes the event's counter away: at the end of each turn, of a
        // millisecond at least, and where it gives the CPU to another thread.
        let elapsed_ms = profile.document["elapsed_ns"].as_u64().expect("a time") / 1_000_000;
        let not_raised = account["lost"]["not_raised"].as_i64().unwrap_or(0);
        let n_ends = elapsed_ms + profile.context_switches() + 1;
        assert!(not_raised.unsigned_abs() <= n_ends, "{account}");
    }
    // Those that took turns explain a part of what was counted, and say so.
    let share = |idx| {
        profile.account(idx)["explained_share"]
            .as_f64()
            .expect("a share")
    };
    assert!((0..n_events).any(|idx| profile.number(idx, "delivered") > 0 && share(idx) < 0.95));
}
