//! The part of the JSON output that is about code made at run time.

use serde::Serialize;

use crate::model::{CompilerShare, JitFigures, JitLedger, JitProcess, JitReport, JitTally};

/// A file that gave no names.
#[derive(Serialize)]
pub(super) struct Refused<'a> {
    pid: u32,
    file: &'a str,
    reason: &'a str,
}

pub(super) fn refused(ledger: &JitLedger) -> Vec<Refused<'_>> {
    let refused = ledger.refused.iter().map(|(pid, note)| Refused {
        pid: pid.0,
        file: note.file,
        reason: &note.reason,
    });
    refused.collect()
}

#[derive(Serialize)]
pub(super) struct Report<'a> {
    processes: Vec<Process<'a>>,
    compilers: Vec<Compiler<'a>>,
}

#[derive(Serialize)]
struct Process<'a> {
    pid: u32,
    /// `null`: the runtime wrote nothing down.
    compiled: Option<&'a JitFigures>,
    /// `null`: not reported by the runtime.
    guards: Option<Guards>,
    cache: Option<Cache>,
}

#[derive(Serialize)]
struct Guards {
    ok: u64,
    fail: u64,
}

#[derive(Serialize)]
struct Cache {
    hit: u64,
    miss: u64,
}

#[derive(Serialize)]
struct Compiler<'a> {
    compiler: &'a str,
    /// In the order of `events`.
    events: Vec<Share>,
}

#[derive(Serialize)]
struct Share {
    weight: u64,
    samples: u64,
}

impl Report<'_> {
    pub(super) fn of(report: &JitReport) -> Report<'_> {
        Report {
            processes: report.processes.iter().map(process).collect(),
            compilers: report.compilers.iter().map(compiler).collect(),
        }
    }
}

fn process(process: &JitProcess) -> Process<'_> {
    let guards = |JitTally { good, bad }| Guards {
        ok: good,
        fail: bad,
    };
    let cache = |JitTally { good, bad }| Cache {
        hit: good,
        miss: bad,
    };
    Process {
        pid: process.pid.0,
        compiled: process.figures.as_ref(),
        guards: process.rates.guards.map(guards),
        cache: process.rates.cache.map(cache),
    }
}

fn compiler(share: &CompilerShare) -> Compiler<'_> {
    let events = share.weights.iter().map(|weight| Share {
        weight: weight.total,
        samples: weight.samples,
    });
    Compiler {
        compiler: share.compiler,
        events: events.collect(),
    }
}
