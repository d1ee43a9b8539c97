//! What `--jit` says: what compilers have made at run time, and what of the samples they took themselves. What was not measured is
//! not there.

use std::fmt::{self, Write};
use std::time::Duration;

use super::{grouped, n_of, percent, plain_duration, safe};
use crate::model::{JitProcess, JitRates, JitReport, JitSource, JitTally, Ledger, RunInfo, Unit};

/// Writes the report, if there is one.
pub fn write_jit(run: &RunInfo, ledger: &Ledger, out: &mut impl Write) -> fmt::Result {
    let Some(report) = &ledger.jit.report else {
        return Ok(());
    };
    if report.processes.is_empty() {
        writeln!(out, "jit      no process has run code of its own making")?;
    }
    for process in &report.processes {
        write_process(process, out)?;
    }
    write_compilers(run, ledger, report, out)
}

/// `jit      pid 42: 1,204 functions compiled, 87 of them again; 1,480,112 bytes of code, 1,201,090 live (perf map)`
fn write_process(process: &JitProcess, out: &mut impl Write) -> fmt::Result {
    write!(out, "jit      pid {}: ", process.pid)?;
    match &process.figures {
        None => writeln!(out, "what was compiled: not reported by the runtime")?,
        Some(figures) => {
            let source = match figures.source {
                JitSource::PerfMap => "perf map",
                JitSource::Jitdump => "jitdump",
            };
            writeln!(
                out,
                "{} compiled, {} of them again; {} bytes of code, {} live ({source})",
                n_of(figures.functions, "function", "functions"),
                grouped(figures.compiled_again),
                grouped(figures.code_bytes),
                grouped(figures.live_bytes),
            )?;
        }
    }
    let JitRates { guards, cache } = process.rates;
    write!(out, "  guards: ")?;
    write_tally(guards, ["held", "failed"], out)?;
    write!(out, "; caches: ")?;
    write_tally(cache, ["hit", "missed"], out)?;
    writeln!(out)
}

/// `4,000 hit, 17 missed (99.6 % hit)`
fn write_tally(tally: Option<JitTally>, words: [&str; 2], out: &mut impl Write) -> fmt::Result {
    let Some(JitTally { good, bad }) = tally else {
        return write!(out, "not reported by the runtime");
    };
    let [good_word, bad_word] = words;
    write!(
        out,
        "{} {good_word}, {} {bad_word}",
        grouped(good),
        grouped(bad)
    )?;
    match good.saturating_add(bad) {
        0 => Ok(()),
        all => write!(out, " ({} {good_word})", percent(good, all)),
    }
}

/// `  in V8 TurboFan: cpu-clock 120 ms, 119 samples (3.2 %)`
fn write_compilers(
    run: &RunInfo,
    ledger: &Ledger,
    report: &JitReport,
    out: &mut impl Write,
) -> fmt::Result {
    if report.compilers.is_empty() {
        return writeln!(out, "  no sample was taken in a compiler that perfd knows");
    }
    for share in &report.compilers {
        write!(out, "  in {}:", share.compiler)?;
        let events = run.events.iter().zip(&share.weights).zip(&ledger.events);
        let mut before = " ";
        for ((event, weight), account) in events.filter(|((_, weight), _)| weight.samples > 0) {
            let total = match event.spec.unit() {
                Unit::Nanoseconds => plain_duration(Duration::from_nanos(weight.total)),
                Unit::Occurrences => grouped(weight.total),
            };
            let name = safe(&event.spec.to_string());
            let samples = n_of(weight.samples, "sample", "samples");
            write!(out, "{before}{name} {total}, {samples}")?;
            if account.sampled_weight > 0 {
                write!(out, " ({})", percent(weight.total, account.sampled_weight))?;
            }
            before = "; ";
        }
        writeln!(out)?;
    }
    Ok(())
}
