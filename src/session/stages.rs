//! What a run samples with, from the kernel's events to the open window.

use anyhow::Context;

use super::account;
use super::pipeline::Pipeline;
use crate::model::{Ledger, MonoNs, ProcessCounts, total};
use crate::sampler::Sampling;
use crate::sampler::counters::Counters;

/// The open events, the counters beside them, and the stages behind.
pub(super) struct Stages {
    pub(super) sampling: Sampling,
    pub(super) counters: Counters,
    pub(super) pipeline: Pipeline,
    /// Nanoseconds in which nothing was sampled because the size of the stack copy was changed.
    pub(super) reopened_gap_ns: u64,
}

/// The account of a run until now.
pub(super) struct Whole {
    pub(super) ledger: Ledger,
    pub(super) counts: Vec<ProcessCounts>,
}

impl Stages {
    /// Takes in everything that was recorded up to `horizon`, and tells the kernel's walk of what was mapped meanwhile.
    pub(super) fn take(&mut self, horizon: MonoNs) {
        let Stages {
            sampling, pipeline, ..
        } = self;
        sampling.drain(horizon, |item| pipeline.take(&item));
        // Behind records that wait, what is mapped is not known yet.
        if self.pipeline.is_settled() {
            self.publish_changed(horizon);
        }
    }

    /// Takes in what was walked in the kernel until now.
    pub(super) fn take_walked(&mut self) -> anyhow::Result<()> {
        let Stages {
            sampling, pipeline, ..
        } = self;
        sampling
            .drain_walked(|samples| pipeline.take_walked(&samples))
            .context("read what was walked in the kernel")
    }

    fn publish_changed(&mut self, as_of: MonoNs) {
        let processes = &mut self.pipeline.processes;
        let changed = processes.take_changed();
        let Some(kernel_walk) = self.sampling.kernel_walk() else {
            return;
        };
        for pid in changed {
            match processes.space(pid) {
                // Where there is no room for it, its samples go through the ring.
                Some(space) => drop(kernel_walk.publish(pid, space, as_of)),
                None => kernel_walk.forget(pid),
            }
        }
    }

    /// Starts the events and the counters.
    pub(super) fn enable(&mut self) -> anyhow::Result<()> {
        self.sampling
            .enable()
            .context("enable the sampled events")?;
        self.counters.enable().context("enable the counters")
    }

    /// Reads all counts and draws up the account.
    pub(super) fn account(&mut self) -> anyhow::Result<Whole> {
        let Stages {
            sampling,
            counters,
            pipeline,
            reopened_gap_ns,
        } = self;
        let mut totals = sampling.totals().context("read the sampled events")?;
        let side_band_lost = sampling
            .lost_side_band()
            .context("read the side-band events")?;
        let counts = counters.read().context("read the counters")?;
        let seen = sampling
            .seen_of_targets()
            .context("read what was walked in the kernel")?;
        if seen.is_some() {
            let sums = total(&counts);
            for (event, totals) in sampling.plan().events.iter().zip(&mut totals) {
                *totals = account::of_targets(event, totals, &sums);
            }
        }
        let events = sampling
            .plan()
            .events
            .iter()
            .zip(&totals)
            .zip(&pipeline.taken)
            .enumerate();
        let ledger = Ledger {
            events: events
                .map(|(idx, ((event, totals), taken))| {
                    let seen = seen.as_ref().and_then(|seen| seen.get(idx).copied());
                    account::of_event(event, totals, taken, *reopened_gap_ns, seen)
                })
                .collect(),
            stacks: pipeline.stacks.clone(),
            side_band_lost,
            out_of_order: sampling.out_of_order(),
        };
        Ok(Whole { ledger, counts })
    }
}
