//! The ledger in a few lines: four when all is well, and a line with the remedy for each thing that is not.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

use super::cost::write_cost;
use super::{grouped, n_of, percent, plain_duration, safe};
use crate::model::{
    Ended, EventLedger, JitLedger, Ledger, LossReason, PythonLedger, PythonRead, Rate, RateChange,
    RunInfo, StackLedger, Unit, Unnamed,
};

/// Modules that a line names; the JSON output has all of them.
const MAX_MODULES: usize = 3;

/// Writes the account of a run, or of one window.
pub fn write_ledger(run: &RunInfo, ledger: &Ledger, out: &mut impl Write) -> fmt::Result {
    let names: Vec<String> = run
        .events
        .iter()
        .map(|event| safe(&event.spec.to_string()))
        .collect();
    let width = names.iter().map(|name| name.chars().count()).max();
    for ((event, name), account) in run.events.iter().zip(&names).zip(&ledger.events) {
        let rate = rate_text(event.rate);
        let width = width.unwrap_or(0);
        write!(out, "samples  {name:<width$}  {rate}")?;
        write_samples(account, event.spec.unit(), out)?;
    }
    if ledger.side_band_lost > 0 {
        let what = format!(
            "{} of mappings, names and forks lost: frames after that may have no name",
            n_of(ledger.side_band_lost, "record", "records")
        );
        write_remark(&what, Some(LARGER_RING), out)?;
    }
    if ledger.out_of_order > 0 {
        let what = format!(
            "{} too late for its place in time",
            n_of(ledger.out_of_order, "record", "records")
        );
        write_remark(&what, None, out)?;
    }
    if ledger.records_left_out > 0 {
        let what = format!(
            "{} counted, but left out where every sample is written: the output was too slow",
            n_of(ledger.records_left_out, "sample", "samples")
        );
        write_remark(&what, Some("a lower -F, or a larger -c"), out)?;
    }
    for change in &ledger.rate_changes {
        write_rate_change(run, change, out)?;
    }
    write_stacks(&ledger.stacks, out)?;
    write_names(&ledger.stacks, out)?;
    write_refused(&ledger.jit, out)?;
    ledger
        .python
        .iter()
        .try_for_each(|python| write_python(python, out))?;
    ledger
        .cost
        .iter()
        .try_for_each(|cost| write_cost(cost, ledger, out))
}

const LARGER_RING: &str =
    "-m with more pages, a lower -F or larger -c, or --call-graph dwarf with fewer bytes";

fn write_samples(account: &EventLedger, unit: Unit, out: &mut impl Write) -> fmt::Result {
    let columns = [
        ("expected", account.expected),
        ("emitted", account.emitted),
        ("delivered", Some(account.delivered)),
    ];
    for (name, number) in columns {
        if let Some(number) = number {
            write!(out, "  {name} {}", grouped(number))?;
        }
    }
    let lost: Vec<(&LossReason, &i64)> = account.lost.iter().filter(|(_, n)| **n != 0).collect();
    let sum: i64 = lost.iter().map(|(_, n)| **n).sum();
    write!(out, "  lost {}", grouped(sum))?;
    if !lost.is_empty() {
        let reasons: Vec<String> = lost
            .iter()
            .map(|(reason, n)| format!("{reason} {}", grouped(**n)))
            .collect();
        write!(out, " ({})", reasons.join(", "))?;
    }
    if let Some(total) = account.counted_weight.filter(|total| *total > 0) {
        let counted = match unit {
            Unit::Nanoseconds => "counted time",
            Unit::Occurrences => "count",
        };
        let explained = percent(account.sampled_weight, total);
        write!(out, "  {explained} of the {counted} explained")?;
    }
    writeln!(out)?;

    for (reason, n) in lost {
        if let Some(remedy) = remedy_for_loss(*reason) {
            let what = format!("{} lost: {reason}", n_of(*n, "sample", "samples"));
            write_remark(&what, Some(remedy), out)?;
        }
    }
    if account.throttled > 0 {
        let times = n_of(account.throttled, "time", "times");
        let what = format!("throttled {times} by the kernel");
        write_remark(&what, Some("a lower -F, or a larger -c"), out)?;
    }
    if account.reopened_gap_ns > 0 {
        let gap = plain_duration(Duration::from_nanos(account.reopened_gap_ns));
        let what = format!("{gap} without samples while the events were opened anew");
        write_remark(&what, None, out)?;
    }
    if let Some(kernel_walk) = account.kernel_walk.filter(|walk| walk.no_room() > 0) {
        let what = format!(
            "{} found no room in the kernel's tables, and went through the ring",
            n_of(kernel_walk.no_room(), "sample", "samples"),
        );
        write_remark(&what, Some("a lower -F, or a larger -c"), out)?;
    }
    if let Some(n) = account.unexplained().filter(|n| *n != 0) {
        let samples = n_of(n, "sample", "samples");
        let what = format!("{samples} unexplained: a fault of perfd's");
        write_remark(&what, Some("report it, with this text"), out)?;
    }
    // Where samples were lost, the lines above say why there are none.
    if account.delivered == 0 && sum <= 0 {
        let why = match account.counted_weight {
            Some(0) => "the event did not happen while perfd watched",
            None => "the event happened fewer times than one period, or not at all",
            Some(_) => "the event happened fewer times than one period",
        };
        write_remark(&format!("no samples: {why}"), None, out)?;
    }
    Ok(())
}

/// `rate lowered after 1.02 s: cpu-clock 498 Hz; perfd took 3.1 % of a CPU`
fn write_rate_change(run: &RunInfo, change: &RateChange, out: &mut impl Write) -> fmt::Result {
    let rates: Vec<String> = run
        .events
        .iter()
        .zip(&change.rates)
        .map(|(event, rate)| format!("{} {}", safe(&event.spec.to_string()), rate_text(*rate)))
        .collect();
    let what = format!(
        "rate lowered after {}: {}; sampling took {:.1} % of a CPU",
        plain_duration(change.after),
        rates.join(", "),
        change.used * 100.0
    );
    write_remark(&what, None, out)
}

fn rate_text(rate: Rate) -> String {
    match rate {
        Rate::Frequency(hz) => hz.to_string(),
        Rate::Period(period) => format!("every {}", grouped(period)),
    }
}

fn write_stacks(stacks: &StackLedger, out: &mut impl Write) -> fmt::Result {
    let n_all: u64 = stacks.ended.values().sum();
    let n_without = count_of(stacks, Ended::NoUserStack);
    let n_complete = count_of(stacks, Ended::Root);
    let n_walked = n_all - n_without;
    write!(
        out,
        "stacks   {}: {} complete",
        grouped(n_walked),
        grouped(n_complete)
    )?;
    if n_walked > 0 {
        write!(out, " ({})", percent(n_complete, n_walked))?;
    }
    if n_complete < n_walked {
        write!(out, ", {} truncated", grouped(n_walked - n_complete))?;
    }
    if n_without > 0 {
        let samples = n_of(n_without, "sample", "samples");
        write!(out, "; {samples} without a user stack")?;
    }
    writeln!(out)?;
    for ended in Ended::ALL.into_iter().filter(|ended| ended.is_truncated()) {
        let n = count_of(stacks, ended);
        if n > 0 {
            let what = format!(
                "{} truncated: {ended}{}",
                grouped(n),
                in_modules(&stacks.truncated_in, ended)
            );
            write_remark(&what, remedy_for_truncation(ended), out)?;
        }
    }
    if stacks.stack_table_full > 0 {
        let what = format!(
            "{} found the table of distinct stacks full",
            n_of(stacks.stack_table_full, "stack", "stacks")
        );
        write_remark(&what, Some("--interval, so that windows are shorter"), out)?;
    }
    Ok(())
}

fn write_names(stacks: &StackLedger, out: &mut impl Write) -> fmt::Result {
    let mut by_reason: BTreeMap<Unnamed, u64> = BTreeMap::new();
    for ((reason, _), n) in &stacks.unnamed {
        *by_reason.entry(*reason).or_default() += n;
    }
    let n_unnamed: u64 = by_reason.values().sum();
    let frames = n_of(stacks.frames, "frame", "frames");
    write!(out, "names    {frames}")?;
    match n_unnamed {
        0 if stacks.frames == 0 => writeln!(out)?,
        0 => writeln!(out, ", all named")?,
        n => writeln!(out, ": {} unnamed", grouped(n))?,
    }
    for (reason, n) in by_reason {
        let what = format!(
            "{} unnamed: {reason}{}",
            grouped(n),
            in_modules(&stacks.unnamed, reason)
        );
        write_remark(&what, remedy_for_unnamed(reason), out)?;
    }
    Ok(())
}

/// Files of runtimes that gave no names; the JSON output has all of them.
fn write_refused(jit: &JitLedger, out: &mut impl Write) -> fmt::Result {
    for (pid, note) in jit.refused.iter().take(MAX_MODULES) {
        let what = format!(
            "the {} of pid {pid} is not read: {}",
            note.file,
            safe(&note.reason)
        );
        write_remark(&what, None, out)?;
    }
    match jit.refused.len().saturating_sub(MAX_MODULES) {
        0 => Ok(()),
        n => write_remark(&format!("{n} more such files"), None, out),
    }
}

/// `python   1 204 samples: 1 200 with their frames`
fn write_python(python: &PythonLedger, out: &mut impl Write) -> fmt::Result {
    let n_all: u64 = python.samples.values().sum();
    let read = python.samples.iter().filter(|(read, _)| read.has_frames());
    let n_read: u64 = read.map(|(_, n)| n).sum();
    let samples = n_of(n_all, "sample", "samples");
    match n_all {
        0 => writeln!(out, "python   no samples in an interpreter")?,
        _ if n_all == n_read => writeln!(out, "python   {samples}, all with their frames")?,
        _ => writeln!(
            out,
            "python   {samples}: {} with their frames, {} not read",
            grouped(n_read),
            grouped(n_all - n_read)
        )?,
    }
    for (read, n) in &python.samples {
        let what = match read {
            PythonRead::None | PythonRead::Whole => continue,
            PythonRead::Cut => format!("{} without the outermost frames: {read}", grouped(*n)),
            _ => format!("{} not read: {read}", grouped(*n)),
        };
        write_remark(&what, None, out)?;
    }
    let unreadable = python.unreadable.iter();
    unreadable
        .map(|line| safe(line))
        .try_for_each(|line| write_remark(&line, None, out))
}

pub(super) fn write_remark(what: &str, remedy: Option<&str>, out: &mut impl Write) -> fmt::Result {
    match remedy {
        Some(remedy) => writeln!(out, "  {what}\n    try: {remedy}"),
        None => writeln!(out, "  {what}"),
    }
}

fn count_of(stacks: &StackLedger, ended: Ended) -> u64 {
    stacks.ended.get(&ended).copied().unwrap_or(0)
}

/// ` (clang-14 5, libLLVM.so 2, 3 more)`: the modules with most of them first.
fn in_modules<R: Copy + Ord>(rows: &BTreeMap<(R, String), u64>, reason: R) -> String {
    let mut modules: Vec<(&str, u64)> = rows
        .iter()
        .filter(|((found, _), _)| *found == reason)
        .map(|((_, module), n)| (module.as_str(), *n))
        .collect();
    if modules.is_empty() {
        return String::new();
    }
    modules.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let mut parts: Vec<String> = modules
        .iter()
        .take(MAX_MODULES)
        .map(|(module, n)| format!("{} {}", safe(module), grouped(*n)))
        .collect();
    match modules.len().saturating_sub(MAX_MODULES) {
        0 => {}
        n_more => parts.push(n_of(n_more as u64, "more module", "more modules")),
    }
    format!(" ({})", parts.join(", "))
}

fn remedy_for_loss(reason: LossReason) -> Option<&'static str> {
    match reason {
        LossReason::RingFull => Some(LARGER_RING),
        LossReason::QueueFull => Some("a lower -F, or a larger -c"),
        LossReason::Malformed | LossReason::StackMissing => Some("report it, with this text"),
        LossReason::NotRaised
        | LossReason::Foreign
        | LossReason::Duplicate
        | LossReason::NotAuthorised
        | LossReason::KernelMode => None,
        LossReason::NotStored => Some("more room where continuous files are kept"),
    }
}

fn remedy_for_truncation(ended: Ended) -> Option<&'static str> {
    match ended {
        Ended::CopyTooShort => Some(
            "stacks walked in the kernel, which copies nothing (perfd doctor says what that needs), or --call-graph dwarf,65528 where the copy was smaller",
        ),
        Ended::NoRow => Some("--call-graph fp, if that code is built with frame pointers"),
        _ => None,
    }
}

fn remedy_for_unnamed(reason: Unnamed) -> Option<&'static str> {
    match reason {
        Unnamed::NoSymbols => Some("a build that is not stripped, its debug file, or --debuginfod"),
        Unnamed::FileUnreadable => {
            Some("perfd as the user of the target or as root, while the file is still there")
        }
        Unnamed::FileChanged => Some("restart the target: its file was replaced while it ran"),
        Unnamed::KernelHidden => Some(
            "CAP_SYSLOG, or kernel.kptr_restrict of 0 and kernel.perf_event_paranoid of 1 or less; see perfd doctor",
        ),
        Unnamed::Anonymous => Some(
            "what the runtime can write down of its code: node --perf-basic-prof, …; see docs/JIT.md",
        ),
        Unnamed::NotCovered
        | Unnamed::FileCorrupt
        | Unnamed::CodeReplaced
        | Unnamed::JitFileRefused
        | Unnamed::TooManyPythonNames
        | Unnamed::ParserFailed
        | Unnamed::TooLate => None,
    }
}
