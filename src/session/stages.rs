//! What a run samples with, from the kernel's events to the open window.

use std::time::Duration;

use anyhow::Context;
use rustc_hash::FxHashSet;

use super::account::{self, Earlier, Seen};
use super::meter::Meter;
use super::pipeline::Pipeline;
use crate::aggregate::Timeline;
use crate::bpf::KernelWalk;
use crate::model::{Cost, JitLedger, Ledger, MonoNs, Pid, ProcessCounts, RateChange, total};
use crate::sampler::counters::Counters;
use crate::sampler::{Item, PlannedEvent, Sampling, Totals};
use crate::sys;

/// The open events, the counters beside them, and the stages behind.
pub(super) struct Stages {
    pub(super) sampling: Sampling,
    pub(super) counters: Counters,
    pub(super) pipeline: Pipeline,
    /// Nanoseconds in which nothing was sampled because the events were opened anew.
    pub(super) reopened_gap_ns: u64,
    pub(super) meter: Meter,
    /// Where each event stood when it got its present rate.
    pub(super) earlier: Vec<Earlier>,
    pub(super) rate_changes: Vec<RateChange>,
    /// Side-band records that were lost when that was last looked at.
    pub(super) side_band_lost: u64,
    /// The same, and records of any kind that the rings had no room for.
    pub(super) lost_before: (u64, u64),
    /// Processes that were told to the programs for the first time, and are to be told again as of then or later.
    pub(super) unconfirmed: Vec<(Pid, MonoNs)>,
    /// Up to when what was walked in the kernel is taken in.
    pub(super) walked_until: MonoNs,
}

/// The most that it takes to tell the programs of a process.
const TELLING: Duration = Duration::from_millis(1);

/// The most that a sample takes from its interrupt to its count, some times over.
const A_WALK: Duration = Duration::from_millis(1);

/// The account of a run until now.
pub(super) struct Whole {
    pub(super) ledger: Ledger,
    pub(super) counts: Vec<ProcessCounts>,
}

impl Stages {
    /// Takes in everything that was recorded up to `horizon`, and tells the kernel's walk of what was mapped meanwhile. Returns how many
    /// samples and records came.
    pub(super) fn take(&mut self, horizon: MonoNs) -> anyhow::Result<usize> {
        self.look_for_losses()?;
        let Stages {
            sampling, pipeline, ..
        } = self;
        let mut n_taken = 0;
        let mut left_to_ring = FxHashSet::default();
        sampling.drain(horizon, |item| {
            n_taken += 1;
            if let Item::Sample(sample) = &item {
                left_to_ring.insert(sample.pid);
            }
            pipeline.take(&item);
        });
        self.settle_members()?;
        // Samples may wait for tables; records never do.
        self.publish(&left_to_ring, horizon);
        Ok(n_taken)
    }

    /// Sees to it that nothing is told to the programs of processes that are in no target any more.
    fn settle_members(&mut self) -> anyhow::Result<()> {
        let Pipeline {
            members, processes, ..
        } = &mut self.pipeline;
        let Some(membership) = members.of_targets() else {
            return Ok(());
        };
        processes.changed().for_each(|pid| membership.verify(pid));
        if membership.must_drain() {
            // What is in there was sampled before what the records tell. Once that is told to the programs, more comes in.
            self.take_walked()?;
        }
        let Pipeline {
            members, processes, ..
        } = &mut self.pipeline;
        if let Some(membership) = members.of_targets()
            && membership.take_has_left()
        {
            processes.retain(|pid| membership.is_member(pid));
        }
        Ok(())
    }

    /// Notes if records were lost: read before anything is taken, the counts cover all that is missing in it.
    fn look_for_losses(&mut self) -> anyhow::Result<()> {
        let Some(membership) = self.pipeline.members.of_targets() else {
            return Ok(());
        };
        membership.search_cgroups_again();
        let now = sys::now();
        let lost = self.sampling.lost_side_band();
        self.side_band_lost = lost.context("read the side-band events")?;
        // Before Linux 6.0 that is nothing, and the rings' own count of all records is all there is; it is known when they are drained.
        let lost = (self.side_band_lost, self.sampling.lost_records());
        match lost == self.lost_before {
            true => membership.records_are_whole(now),
            false => membership.records_lost(),
        }
        self.lost_before = lost;
        Ok(())
    }

    /// Takes in what was walked in the kernel until now.
    pub(super) fn take_walked(&mut self) -> anyhow::Result<()> {
        let Stages {
            sampling,
            pipeline,
            walked_until,
            ..
        } = self;
        // All that is drained was counted behind the last drain, and a sample is a little older than its count.
        let (since, now) = (walked_until.minus(A_WALK), sys::now());
        sampling
            .drain_walked(|samples| pipeline.take_walked(&samples, since, sys::now()))
            .context("read what was walked in the kernel")?;
        *walked_until = now;
        if let Some(membership) = pipeline.members.of_targets() {
            membership.drained();
        }
        let names = sampling.kernel_walk().and_then(KernelWalk::python_names);
        if let (Some(python), Some(names)) = (&mut pipeline.python, names) {
            python
                .names
                .extend_from_slice(names.from(python.names.len()));
        }
        Ok(())
    }

    /// What is told of a process for the first time may be out of date: between the last record that was read and this moment it may have ended,
    /// and another have got its number, which programs note of those alone that they have been told of. So its samples go to the ring until what is
    /// known of it is from after that moment. A run's own targets are held by descriptors before they are sampled.
    fn publish(&mut self, left_to_ring: &FxHashSet<Pid>, as_of: MonoNs) {
        let unconfirmed = &mut self.unconfirmed;
        let Pipeline {
            processes,
            python,
            members,
            ..
        } = &mut self.pipeline;
        let is_engine = members.of_targets().is_some();
        let Some(kernel_walk) = self.sampling.kernel_walk_mut() else {
            processes.take_changed();
            return;
        };
        for &pid in left_to_ring {
            if kernel_walk.is_outdated(pid, as_of) {
                processes.forget_unmapped(pid);
            }
        }
        unconfirmed.retain(|(pid, until)| {
            let is_due = *until <= as_of;
            if is_due {
                processes.tell_again(*pid);
            }
            !is_due
        });
        for pid in processes.take_changed() {
            let is_doubtful = is_engine || processes.was_forked(pid);
            match processes.space(pid) {
                // Where there is no room for it, its samples go through the ring.
                Some(space) => {
                    if let Some(python) = python {
                        let process = python.of(pid, space, &processes.modules);
                        drop(kernel_walk.tell_python(pid, process.as_ref()));
                    }
                    if is_doubtful && !kernel_walk.is_told(pid) {
                        let until = sys::now().plus(TELLING);
                        kernel_walk.leave_to_ring(pid, until);
                        unconfirmed.push((pid, until));
                    }
                    drop(kernel_walk.publish(pid, space, as_of));
                }
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
        let counts = self.counters.read().context("read the counters")?;
        let totals = self.totals(&counts)?;
        let picks = self.picks_targets();
        let Stages {
            sampling,
            counters,
            pipeline,
            reopened_gap_ns,
            meter,
            earlier,
            rate_changes,
            ..
        } = self;
        let side_band_lost = sampling
            .lost_side_band()
            .context("read the side-band events")?;
        let outcomes = sampling
            .outcomes()
            .context("read what was walked in the kernel")?;
        let seen = |idx: usize| {
            let outcomes = outcomes.as_ref()?.get(idx)?;
            Some(Seen {
                outcomes: *outcomes,
                picks_targets: picks,
            })
        };
        let events = sampling
            .plan()
            .events
            .iter()
            .zip(earlier.iter())
            .zip(&totals)
            .zip(&pipeline.taken)
            .enumerate();
        let is_counted = counters.given_up().is_none();
        let ledger = Ledger {
            events: events
                .map(|(idx, (((event, earlier), totals), taken))| {
                    let gap = *reopened_gap_ns;
                    let seen = seen(idx);
                    let ledger = account::of_event(event, earlier, totals, taken, gap, seen);
                    match (is_counted, picks) {
                        (false, true) => account::uncounted(ledger),
                        _ => ledger,
                    }
                })
                .collect(),
            stacks: pipeline.stacks.clone(),
            side_band_lost,
            out_of_order: sampling.out_of_order(),
            records_left_out: pipeline.timeline.as_ref().map_or(0, Timeline::left_out),
            python: pipeline.python.as_ref().map(|python| python.ledger.clone()),
            cost: Some(Cost {
                tables: pipeline.tables.cost(),
                ..meter.read(sampling)
            }),
            rate_changes: rate_changes.clone(),
            jit: JitLedger::default(),
        };
        Ok(Whole { ledger, counts })
    }

    /// Whether the kernel's walk decides which samples there are: in an engine also while there is a target that everybody is in.
    fn picks_targets(&mut self) -> bool {
        let is_engine = self.pipeline.members.of_targets().is_some();
        self.sampling.picks_targets() || is_engine && self.sampling.is_walked_in_kernel()
    }

    /// What every sampled event has counted in the targets until now.
    fn totals(&mut self, counts: &[ProcessCounts]) -> anyhow::Result<Vec<Totals>> {
        let mut totals = self.sampling.totals().context("read the sampled events")?;
        if self.picks_targets() {
            let sums = total(counts);
            for (event, totals) in self.sampling.plan().events.iter().zip(&mut totals) {
                *totals = account::of_targets(event, totals, &sums);
            }
        }
        Ok(totals)
    }

    /// Notes that the events have had other rates until now: those of `before`.
    pub(super) fn rates_changed(
        &mut self,
        before: &[PlannedEvent],
        change: RateChange,
    ) -> anyhow::Result<()> {
        let counts = self.counters.read().context("read the counters")?;
        let totals = self.totals(&counts)?;
        for ((earlier, event), totals) in self.earlier.iter_mut().zip(before).zip(&totals) {
            *earlier = Earlier::until(event, totals, earlier);
        }
        self.rate_changes.push(change);
        Ok(())
    }
}
