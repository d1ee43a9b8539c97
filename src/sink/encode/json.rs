//! JSON: counters and ledger, without stacks. The schema is described in `docs/OUTPUT.md`.
//!
//! `json` is one document for the run, `jsonl` one line for each window and a last one for the run. Numbers are as the
//! kernel gave them; what is not known is `null`, never 0. Names of the ledger's parts are those of
//! [`crate::model::Ledger`].

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::model::{
    Cost, Count, EventLedger, Ledger, ProcessCounts, Profile, PythonLedger, Rate, Ratio, RatioKind,
    RunInfo, StackLedger, Unit, WindowSpan, total,
};

mod jit;

/// Raised when a field changes its meaning or goes away.
const SCHEMA: u32 = 1;

/// Writes the document of the whole run; `profile` is its last window, `first` the span of its first one.
pub fn encode(profile: &Profile, first: WindowSpan, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &run(profile, first, "run"))?;
    out.write_all(b"\n")
}

/// Writes the line of one window.
pub fn encode_window(profile: &Profile, out: &mut impl Write) -> io::Result<()> {
    let window = Window {
        kind: "window",
        schema: SCHEMA,
        span: Span::new(profile.span, profile.span),
        account: Account::new(&profile.run, &profile.processes, &profile.ledger),
    };
    serde_json::to_writer(&mut *out, &window)?;
    out.write_all(b"\n")
}

/// Writes the last line: the same as the document, on one line.
pub fn encode_end(profile: &Profile, first: WindowSpan, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &run(profile, first, "end"))?;
    out.write_all(b"\n")
}

/// A window's or run's counters and ledger as they stand in JSON, for other outputs that show the same.
pub fn account<'a>(
    run: &'a RunInfo,
    processes: &'a [ProcessCounts],
    ledger: &'a Ledger,
) -> impl Serialize + use<'a> {
    Account::new(run, processes, ledger)
}

#[derive(Serialize)]
struct Window<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u32,
    #[serde(flatten)]
    span: Span,
    #[serde(flatten)]
    account: Account<'a>,
}

#[derive(Serialize)]
struct Run<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    schema: u32,
    perfd: &'a str,
    hostname: &'a str,
    kernel: &'a str,
    target: &'a str,
    notes: &'a [String],
    windows: u64,
    #[serde(flatten)]
    span: Span,
    events: Vec<Event>,
    #[serde(flatten)]
    account: Account<'a>,
}

fn run<'a>(profile: &'a Profile, first: WindowSpan, kind: &'static str) -> Run<'a> {
    let run = &profile.run;
    let (processes, ledger) = match profile.whole_run.as_deref() {
        Some((processes, ledger)) => (processes, ledger),
        None => (&profile.processes, &profile.ledger),
    };
    Run {
        kind,
        schema: SCHEMA,
        perfd: &run.perfd_version,
        hostname: &run.hostname,
        kernel: &run.kernel,
        target: &run.target,
        notes: &run.notes,
        windows: profile.span.sequence + 1,
        span: Span::new(first, profile.span),
        events: run
            .events
            .iter()
            .map(|event| Event {
                event: event.spec.to_string(),
                unit: unit(event.spec.unit()),
                rate: SampledAt::of(event.rate),
            })
            .collect(),
        account: Account::new(run, processes, ledger),
    }
}

#[derive(Serialize)]
struct Span {
    sequence: u64,
    is_last: bool,
    start_unix_ns: u64,
    start_ns: u64,
    end_ns: u64,
    elapsed_ns: u64,
}

impl Span {
    fn new(first: WindowSpan, last: WindowSpan) -> Span {
        Span {
            sequence: last.sequence,
            is_last: last.is_last,
            start_unix_ns: first.start_unix_ns,
            start_ns: first.start.0,
            end_ns: last.end.0,
            elapsed_ns: nanos(last.end.since(first.start)),
        }
    }
}

#[derive(Serialize)]
struct Event {
    event: String,
    unit: &'static str,
    rate: SampledAt,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum SampledAt {
    FrequencyHz(u64),
    Period(u64),
}

impl SampledAt {
    fn of(rate: Rate) -> SampledAt {
        match rate {
            Rate::Frequency(hz) => SampledAt::FrequencyHz(hz.0),
            Rate::Period(period) => SampledAt::Period(period),
        }
    }
}

#[derive(Serialize)]
struct Account<'a> {
    processes: Vec<Process<'a>>,
    total: Vec<Counter>,
    cost: Option<&'a Cost>,
    /// With `--jit`, of the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    jit: Option<jit::Report<'a>>,
    ledger: FullLedger<'a>,
}

impl<'a> Account<'a> {
    fn new(run: &'a RunInfo, processes: &'a [ProcessCounts], ledger: &'a Ledger) -> Account<'a> {
        let event = |idx: usize| {
            run.events
                .get(idx)
                .map_or_else(String::new, |event| event.spec.to_string())
        };
        Account {
            processes: processes
                .iter()
                .map(|process| Process {
                    pid: process.pid.map(|pid| pid.0),
                    comm: &process.comm,
                    counts: counters(&process.counts),
                })
                .collect(),
            total: counters(&total(processes)),
            cost: ledger.cost.as_ref(),
            jit: ledger.jit.report.as_deref().map(jit::Report::of),
            ledger: FullLedger {
                events: ledger
                    .events
                    .iter()
                    .enumerate()
                    .map(|(idx, account)| EventAccount {
                        event: event(idx),
                        account,
                        unexplained: account.unexplained(),
                        explained_share: account.coverage(),
                    })
                    .collect(),
                stacks: &ledger.stacks,
                side_band_lost: ledger.side_band_lost,
                out_of_order: ledger.out_of_order,
                records_left_out: ledger.records_left_out,
                python: ledger.python.as_ref(),
                rate_changes: ledger
                    .rate_changes
                    .iter()
                    .map(|change| Change {
                        at_ns: change.at.0,
                        after_ns: nanos(change.after),
                        used_share: change.used,
                        rates: change.rates.iter().copied().map(SampledAt::of).collect(),
                    })
                    .collect(),
                jit_files_refused: jit::refused(&ledger.jit),
            },
        }
    }
}

#[derive(Serialize)]
struct Process<'a> {
    pid: Option<u32>,
    comm: &'a str,
    counts: Vec<Counter>,
}

#[derive(Serialize)]
struct Counter {
    event: String,
    unit: &'static str,
    value: u64,
    /// `null`: the event never ran.
    scaled: Option<u64>,
    enabled_ns: u64,
    running_ns: u64,
    running_percent: f64,
    group: usize,
    /// Those that the counts have.
    #[serde(flatten)]
    ratios: BTreeMap<RatioKind, f64>,
}

fn counters(counts: &[Count]) -> Vec<Counter> {
    let counter = |(idx, count): (usize, &Count)| Counter {
        event: count.event.to_string(),
        unit: unit(count.event.unit()),
        value: count.value,
        scaled: count.scaled(),
        enabled_ns: nanos(count.enabled),
        running_ns: nanos(count.running),
        running_percent: count.running_share() * 100.0,
        group: count.group,
        ratios: Ratio::of(counts, idx)
            .into_iter()
            .map(|ratio| (ratio.kind, ratio.value))
            .collect(),
    };
    counts.iter().enumerate().map(counter).collect()
}

#[derive(Serialize)]
struct FullLedger<'a> {
    events: Vec<EventAccount<'a>>,
    stacks: &'a StackLedger,
    side_band_lost: u64,
    out_of_order: u64,
    records_left_out: u64,
    /// `null`: without `--python`.
    python: Option<&'a PythonLedger>,
    rate_changes: Vec<Change>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    jit_files_refused: Vec<jit::Refused<'a>>,
}

#[derive(Serialize)]
struct Change {
    at_ns: u64,
    after_ns: u64,
    used_share: f64,
    rates: Vec<SampledAt>,
}

#[derive(Serialize)]
struct EventAccount<'a> {
    event: String,
    #[serde(flatten)]
    account: &'a EventLedger,
    unexplained: Option<i64>,
    explained_share: Option<f64>,
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Nanoseconds => "ns",
        Unit::Occurrences => "count",
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
