//! The JSON lines of `perfd stat --json`: one object a line, `kind` first.
//!
//! ```text
//! {"kind":"interval","run":1,"start_s":0.0,"end_s":1.0,"processes":[…]}
//! {"kind":"run","run":1,"elapsed_s":2.5,"exit_code":0,"notes":[…],"processes":[…]}
//! {"kind":"summary","runs":5,"elapsed_s":{…},"targets":[…]}                      after -r
//! process: {"pid":42,"comm":"gzip","counts":[{"event":"cycles","unit":"occurrences","value":7,"scaled":7,
//!           "enabled_ns":9,"running_ns":9,"group":0}]}                            pid null: the host
//!          and in a count, where the events ran together: "per_cycle", "per_thousand_instructions", "miss_rate"
//! summary: {"n":5,"mean":…,"median":…,"stddev":…,"relative_spread":…,"min":…,"max":…}
//! ```
//!
//! `value` is as the kernel counted, `scaled` is over the whole enabled time; `scaled` null means that the event never counted,
//! which is not 0.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::across_runs::AcrossRuns;
use super::measure::Measured;
use crate::model::{Count, EventSpec, ProcessCounts, Ratio, RatioKind, Unit};
use crate::stats::Summary;

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line<'a> {
    Interval {
        run: u32,
        start_s: f64,
        end_s: f64,
        processes: Vec<Process<'a>>,
    },
    Run {
        run: u32,
        elapsed_s: f64,
        exit_code: Option<u8>,
        notes: &'a [String],
        processes: Vec<Process<'a>>,
    },
    Summary {
        runs: usize,
        elapsed_s: Spread,
        targets: Vec<Target<'a>>,
    },
}

#[derive(Serialize)]
struct Process<'a> {
    pid: Option<u32>,
    comm: &'a str,
    counts: Vec<OneCount>,
}

#[derive(Serialize)]
struct OneCount {
    event: String,
    unit: &'static str,
    value: u64,
    scaled: Option<u64>,
    enabled_ns: u64,
    running_ns: u64,
    group: usize,
    #[serde(flatten)]
    ratios: BTreeMap<RatioKind, f64>,
}

#[derive(Serialize)]
struct Target<'a> {
    pid: Option<u32>,
    comm: &'a str,
    events: Vec<EventSpread>,
}

#[derive(Serialize)]
struct EventSpread {
    event: String,
    unit: &'static str,
    /// Of scaled values.
    value: Option<Spread>,
    running_share: f64,
    /// Of each run's own ratio.
    #[serde(flatten)]
    ratios: BTreeMap<RatioKind, Spread>,
}

#[derive(Serialize)]
struct Spread {
    n: usize,
    mean: f64,
    median: f64,
    stddev: Option<f64>,
    relative_spread: Option<f64>,
    min: f64,
    max: f64,
}

/// One interval.
pub(super) fn of_interval(
    run: u32,
    since: Duration,
    until: Duration,
    counted: &[ProcessCounts],
) -> String {
    encode(&Line::Interval {
        run,
        start_s: since.as_secs_f64(),
        end_s: until.as_secs_f64(),
        processes: processes(counted),
    })
}

/// One run.
pub(super) fn of_run(run: u32, measured: &Measured) -> String {
    encode(&Line::Run {
        run,
        elapsed_s: measured.elapsed.as_secs_f64(),
        exit_code: measured.status.map(|status| status.exit_code()),
        notes: &measured.notes,
        processes: processes(&measured.processes),
    })
}

/// Middle and spread of all runs.
pub(super) fn of_all_runs(all: &AcrossRuns) -> String {
    let targets = all.targets.iter().map(|target| Target {
        pid: target.pid.map(|pid| pid.0),
        comm: &target.comm,
        events: target
            .events
            .iter()
            .map(|event| EventSpread {
                event: event.event.to_string(),
                unit: unit(&event.event),
                value: event.value.map(spread),
                running_share: event.running_share,
                ratios: event
                    .ratios
                    .iter()
                    .map(|(kind, summary)| (*kind, spread(*summary)))
                    .collect(),
            })
            .collect(),
    });
    encode(&Line::Summary {
        runs: all.n_runs,
        elapsed_s: spread(all.elapsed),
        targets: targets.collect(),
    })
}

fn encode(line: &Line<'_>) -> String {
    serde_json::to_string(line).expect("strings, numbers and lists alone")
}

fn processes(counted: &[ProcessCounts]) -> Vec<Process<'_>> {
    counted
        .iter()
        .map(|process| Process {
            pid: process.pid.map(|pid| pid.0),
            comm: &process.comm,
            counts: (0..process.counts.len())
                .map(|idx| one_count(&process.counts, idx))
                .collect(),
        })
        .collect()
}

fn one_count(counts: &[Count], idx: usize) -> OneCount {
    let count = &counts[idx];
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    OneCount {
        event: count.event.to_string(),
        unit: unit(&count.event),
        value: count.value,
        scaled: count.scaled(),
        enabled_ns: nanos(count.enabled),
        running_ns: nanos(count.running),
        group: count.group,
        ratios: Ratio::of(counts, idx)
            .into_iter()
            .map(|ratio| (ratio.kind, ratio.value))
            .collect(),
    }
}

fn unit(event: &EventSpec) -> &'static str {
    match event.unit() {
        Unit::Nanoseconds => "nanoseconds",
        Unit::Occurrences => "occurrences",
    }
}

fn spread(summary: Summary) -> Spread {
    Spread {
        n: summary.n,
        mean: summary.mean,
        median: summary.median,
        stddev: summary.stddev,
        relative_spread: summary.relative_spread(),
        min: summary.min,
        max: summary.max,
    }
}
