//! A window of one target of an engine: whose it is, and the account of its stacks.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::members::Whose;
use crate::aggregate::{Folding, WindowCounts};
use crate::model::{Frame, ModuleId, Modules, MonoNs, RunInfo, StackLedger, TargetId};

/// Whose a window is.
#[derive(Clone, Debug)]
pub(super) struct OfTarget {
    pub(super) target: TargetId,
    /// What is sampled, and of whom.
    pub(super) run: Arc<RunInfo>,
    /// The token of the cut that has closed it.
    pub(super) cut: Option<u64>,
    /// When the oldest window began that is still open, of any target.
    pub(super) oldest_open: MonoNs,
}

/// How the walks of its stacks ended, and which of its frames have no name.
pub(super) fn stacks(
    counts: &WindowCounts<Whose>,
    folding: &Folding,
    name: impl Fn(ModuleId) -> String,
) -> StackLedger {
    let mut ledger = StackLedger::default();
    let mut seen: BTreeSet<Frame> = BTreeSet::new();
    for (key, weights) in counts
        .rows
        .iter()
        .zip(counts.weights.chunks(counts.n_events))
    {
        let n_samples = weights.iter().map(|weight| weight.samples).sum();
        let Some(frames) = folding.stack(key.stack) else {
            ledger.stack_table_full += n_samples;
            continue;
        };
        let last = frames.last().map(|frame| frame.module);
        let last = last.filter(|module| *module != Modules::KERNEL);
        let last = || last.map_or_else(|| "[none]".to_owned(), &name);
        ledger.count(key.ended, n_samples, last);
        seen.extend(frames);
    }
    ledger.frames = seen.len() as u64;
    for frame in &seen {
        for reason in folding.names(frame).iter().filter_map(|name| name.unnamed) {
            let key = (reason, name(frame.module));
            *ledger.unnamed.entry(key).or_default() += 1;
        }
    }
    ledger
}
