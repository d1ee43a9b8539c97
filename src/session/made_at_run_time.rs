//! Frames in code made at run time as long as their names may change, and the report on the compilers behind them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::spec::JitReporting;
use crate::model::{
    CompilerShare, Frame, FrameName, JitLedger, JitProcess, JitReport, ModuleId, MonoNs, Pid, Row,
    Unnamed,
};
use crate::symbolize::jit::{Codes, JitFacts, compilers};

/// Frames without a name, by reason and module.
type Counts = BTreeMap<(Unnamed, String), u64>;

/// What memory without a file is called in them.
const MODULE: &str = "[anon]";

/// Processes that have left and stand in the report.
const MOST_LEFT: usize = 4096;

/// Which frames are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// Those that are new in the window.
    OfWindow,
    /// All of the run.
    OfRun,
}

/// The frames of a run that are in code made at run time.
pub(super) struct MadeAtRunTime {
    jit: Arc<dyn Codes>,
    reporting: JitReporting,
    /// Those that may be sampled again, in the order in which they came.
    frames: Vec<(Frame, Option<Unnamed>)>,
    /// How many of them are not new in this window.
    n_old: usize,
    /// Of those that will not be: what they had no name for.
    before: Counts,
    compilers: Vec<CompilerShare>,
    /// What processes have said of themselves that have left.
    left: Vec<JitFacts>,
}

impl MadeAtRunTime {
    pub(super) fn new(jit: Arc<dyn Codes>, reporting: JitReporting) -> MadeAtRunTime {
        MadeAtRunTime {
            jit,
            reporting,
            frames: Vec::new(),
            n_old: 0,
            before: Counts::new(),
            compilers: Vec::new(),
            left: Vec::new(),
        }
    }

    /// Adds a frame that was not there before, with its first name.
    pub(super) fn add(&mut self, frame: Frame, names: &[FrameName]) {
        let unnamed = names.first().and_then(|name| name.unnamed);
        self.frames.push((frame, unnamed));
    }

    /// Reads what runtimes have written down meanwhile.
    pub(super) fn read(&self) {
        self.jit.read_all();
    }

    /// Asks for all names again: `names` gives as many as there are frames.
    pub(super) fn name_again(&mut self, names: impl FnOnce(&[Frame]) -> Vec<FrameName>) {
        let frames: Vec<Frame> = self.frames.iter().map(|(frame, _)| *frame).collect();
        for ((_, unnamed), name) in self.frames.iter_mut().zip(names(&frames)) {
            *unnamed = name.unnamed;
        }
    }

    /// Adds up the frames without a name.
    pub(super) fn count_unnamed(&self, which: Which, counts: &mut Counts) {
        let (frames, before) = match which {
            Which::OfWindow => (&self.frames[self.n_old..], None),
            Which::OfRun => (&self.frames[..], Some(&self.before)),
        };
        for (key, n) in before.into_iter().flatten() {
            *counts.entry(key.clone()).or_default() += n;
        }
        for reason in frames.iter().filter_map(|(_, unnamed)| *unnamed) {
            *counts.entry((reason, MODULE.to_owned())).or_default() += 1;
        }
    }

    /// A window has these rows. Frames in modules that will not be sampled again keep the names they have.
    pub(super) fn window_closed(
        &mut self,
        rows: &[Row],
        mut may_be_sampled: impl FnMut(ModuleId) -> bool,
    ) {
        if self.reporting == JitReporting::On {
            compilers::add_up(rows, &mut self.compilers);
        }
        let before = &mut self.before;
        self.frames.retain(|(frame, unnamed)| {
            let is_kept = may_be_sampled(frame.module);
            if let (false, Some(reason)) = (is_kept, unnamed) {
                *before.entry((*reason, MODULE.to_owned())).or_default() += 1;
            }
            is_kept
        });
        self.n_old = self.frames.len();
    }

    /// These processes had left by then: what they say of themselves is kept if it is to be reported, and their names are given for good.
    pub(super) fn forget(&mut self, pids: &[Pid], by: MonoNs) {
        if self.reporting == JitReporting::On {
            let facts = self.jit.facts();
            let has_left = facts.into_iter().filter(|facts| pids.contains(&facts.pid));
            let room = MOST_LEFT.saturating_sub(self.left.len());
            self.left.extend(has_left.take(room));
        }
        self.jit.forget(pids, by);
    }

    /// What there is to say of the whole run.
    pub(super) fn account(&mut self) -> JitLedger {
        let mut facts = std::mem::take(&mut self.left);
        facts.extend(self.jit.facts());
        facts.sort_by_key(|facts| facts.pid);
        let refused = facts.iter().flat_map(|facts| {
            let notes = facts.notes.iter().cloned();
            notes.map(|note| (facts.pid, note))
        });
        let refused = refused.collect();
        let report = (self.reporting == JitReporting::On).then(|| {
            let process = |facts: &JitFacts| JitProcess {
                pid: facts.pid,
                figures: facts.figures,
                rates: facts.rates,
            };
            Arc::new(JitReport {
                processes: facts.iter().map(process).collect(),
                compilers: std::mem::take(&mut self.compilers),
            })
        });
        JitLedger { refused, report }
    }
}
