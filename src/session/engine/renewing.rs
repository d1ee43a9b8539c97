//! Everything is opened anew, for the same targets, before a table that only grows is full: so an engine goes on for ever.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::EngineSpec;
use super::held_target::Whom;
use super::looping::{COMMANDS, Looping, PACE};
use super::membership::Membership;
use super::voice::Voice;
use crate::aggregate::Stacks;
use crate::model::{BpfTime, EventLedger, Ledger, TargetId};
use crate::parser::Begin;
use crate::procfs::cgroups;
use crate::session::attach::Opened;
use crate::session::foundation::{self, Extent, Foundation};
use crate::session::members::Members;
use crate::session::names::Names;
use crate::session::pump::Pump;
use crate::session::stages::Stages;
use crate::session::told::Told;
use crate::session::{JitReporting, Spec, opening};
use crate::symbolize::jit::Codes;
use crate::sys;
use crate::target::Selection;

/// Names of Python functions that are known, some 100 bytes each; beyond, everything is opened anew.
const MOST_PYTHON_NAMES: usize = 1 << 18;

/// How long samples may wait for tables before everything is opened anew: nothing is sampled meanwhile, which costs more than they do.
const PATIENCE: Duration = Duration::from_millis(100);

/// Messages that may wait for the names thread when everything is opened anew, beside those of the windows that were just closed.
const MOST_TO_NAME: usize = 16;

/// What was before everything was opened anew the last time.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) renewals: u64,
    events: Vec<EventLedger>,
    pub(super) side_band_lost: u64,
    bpf_time: Option<BpfTime>,
}

/// When everything is to be opened anew. If what is in use at once is already too much, that helps for no window; then it is done
/// more and more rarely, and what finds no number in the kernel goes on to come through the rings.
#[derive(Debug, Default)]
pub(super) struct Wear {
    /// Windows until the next time.
    left: u32,
    /// The same as of the last time.
    pause: u32,
}

impl Wear {
    /// Windows between two times at most: half a day of those of ten seconds.
    const LONGEST_PAUSE: u32 = 4096;

    /// Whether it is time, at the end of a window.
    fn is_due(&mut self, is_worn: bool) -> bool {
        if !is_worn {
            *self = Wear::default();
            return false;
        }
        if let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            return false;
        }
        self.pause = (2 * self.pause).clamp(1, Wear::LONGEST_PAUSE);
        self.left = self.pause;
        true
    }

    /// Whether the last times did not help.
    fn is_lasting(&self) -> bool {
        self.pause > 1
    }
}

impl Looping {
    /// What waits to be named now is named by a thread that ends behind it: there should not be much, nor many such threads.
    pub(super) fn renew_if_worn(&mut self) -> anyhow::Result<()> {
        let is_worn = self.is_worn();
        if self.names.messages.len() > MOST_TO_NAME || !self.wear.is_due(is_worn) {
            return Ok(());
        }
        self.renew()?;
        if self.wear.is_lasting() {
            let note = self.in_use_at_once();
            let targets = self.targets.values_mut();
            targets.for_each(|target| target.note(Some(&note)));
        }
        self.measure()
    }

    /// Whether there are so many modules, or names of threads, that there will soon be no room for new ones. Stacks that wait for names bear
    /// their numbers, and so do tables in the kernel: they cannot be given again one by one.
    fn is_worn(&self) -> bool {
        let pipeline = &self.pump.stages.pipeline;
        let python = pipeline.python.as_ref();
        let most = self.spec.limits.modules;
        pipeline.processes.modules.len() > most
            || pipeline.processes.comms.len() > most
            || pipeline.held.is_worn()
            || python.is_some_and(|python| python.names.len() > MOST_PYTHON_NAMES)
    }

    /// Opens everything anew, and goes on with the same targets; the time in between is in the account.
    fn renew(&mut self) -> anyhow::Result<()> {
        let stopped = sys::now();
        self.close_all(stopped, PATIENCE)?;
        let stages = &mut self.pump.stages;
        let ledger = stages.account()?.ledger;
        self.past.side_band_lost += ledger.side_band_lost;
        self.past
            .add_bpf_time(ledger.cost.and_then(|cost| cost.bpf?.time));
        self.past.add(ledger.events);
        self.past.renewals += 1;
        let members = std::mem::replace(&mut stages.pipeline.members, Members::Known);
        let Members::OfTargets(mut membership) = members else {
            unreachable!("an engine is laid with the members of targets");
        };
        // Nobody has followed processes meanwhile.
        membership.records_lost();
        let Foundation {
            mut stages,
            jit,
            begin,
            waker,
            ..
        } = lay(&self.spec, &self.run, *membership)?;
        stages.reopened_gap_ns = u64::try_from(sys::now().since(stopped).as_nanos()).unwrap_or(0);
        self.told = Told::default();
        let pump = Pump::new(stages, waker, PACE, sys::now())?;
        pump.watch(&self.waker, COMMANDS)?;
        self.pump = pump;
        self.tell_domains()?;
        self.take_in_again();
        self.follow_everybody()?;
        let ids: Vec<TargetId> = self.targets.keys().copied().collect();
        ids.into_iter().try_for_each(|id| self.watch_target(id))?;
        let stages = &self.pump.stages;
        let (voice, before) = self.answers.voice_behind_another();
        let new = names(&self.spec, &self.run, stages, begin, jit, voice)?;
        // What it has still to say comes first.
        let _ = before.send(std::mem::replace(&mut self.names, new));
        let lost_until_now = self.past.side_band_lost;
        for target in self.targets.values_mut() {
            target.side_band_before = lost_until_now;
        }
        Ok(())
    }

    /// What users should know when opening everything anew does not help.
    fn in_use_at_once(&self) -> String {
        let most = self.spec.limits.modules;
        format!(
            "more files, code made at run time or names of threads are in use at once than the {most} that an engine is made for; what is beyond costs more to sample"
        )
    }

    /// The programs are others, and know no cgroups.
    fn tell_domains(&mut self) -> anyhow::Result<()> {
        let stages = &mut self.pump.stages;
        let (Some(kernel_walk), Some(membership)) = (
            stages.sampling.kernel_walk_mut(),
            stages.pipeline.members.of_targets(),
        ) else {
            return Ok(());
        };
        membership.forget_cgroups();
        for (id, target) in &self.targets {
            if let Whom::Cgroup { path, cgroup, .. } = &target.whom {
                let domain = kernel_walk
                    .add_domain(*cgroup)
                    .context("tell the kernel's walk what is a target")?;
                membership.add_cgroup(*id, domain, cgroup.id, path);
            }
        }
        Ok(())
    }

    /// Looks up what the processes of all targets have mapped, and those that they have forked meanwhile.
    fn take_in_again(&mut self) {
        let pipeline = &mut self.pump.stages.pipeline;
        let Some(membership) = pipeline.members.of_targets() else {
            return;
        };
        membership.find_children();
        let now = sys::now();
        for pid in membership.processes() {
            match pipeline.processes.add_running(pid, now) {
                Ok(modules) => modules.into_iter().for_each(|module| pipeline.want(module)),
                // It has ended; its exit record was for nobody.
                Err(_) => {
                    if let Some(membership) = pipeline.members.of_targets() {
                        membership.left(pid);
                    }
                }
            }
            pipeline.found_mapped(pid);
        }
    }
}

impl Past {
    fn add(&mut self, events: Vec<EventLedger>) {
        self.events.resize_with(events.len(), EventLedger::default);
        for (all, event) in self.events.iter_mut().zip(&events) {
            all.merge(event);
        }
    }

    fn add_bpf_time(&mut self, time: Option<BpfTime>) {
        if let Some(time) = time {
            self.bpf_time = Some(self.bpf_time.unwrap_or_default().and(&time));
        }
    }

    pub(super) fn add_to(&self, ledger: &mut Ledger) {
        ledger.side_band_lost += self.side_band_lost;
        for (event, before) in ledger.events.iter_mut().zip(&self.events) {
            event.merge(before);
        }
        let bpf = ledger.cost.as_mut().and_then(|cost| cost.bpf.as_mut());
        if let (Some(bpf), Some(before)) = (bpf, &self.bpf_time) {
            bpf.time = Some(bpf.time.unwrap_or_default().and(before));
        }
    }
}

/// Opens what an engine samples with, of the members that it has.
pub(super) fn lay(
    spec: &EngineSpec,
    run: &Spec,
    membership: Membership,
) -> anyhow::Result<Foundation> {
    let members = Members::OfTargets(Box::new(membership));
    let extent = Extent::Engine {
        processes: spec.limits.processes,
        walked_every: PACE.walked,
    };
    let mut foundation = foundation::lay(run, &nobody(), members, extent)?;
    let stages = &mut foundation.stages;
    stages.pipeline.counting.stacks = Stacks::with_room(spec.limits.stack_frames);
    if cgroups::uncounted(&spec.roots).is_none() {
        stages.sampling.tell_cgroups();
    }
    Opened { spec: run, stages }.cpus()?;
    stages.enable()?;
    Ok(foundation)
}

pub(super) fn names(
    spec: &EngineSpec,
    run: &Spec,
    stages: &Stages,
    begin: Option<Begin>,
    jit: Arc<dyn Codes>,
    voice: Voice,
) -> anyhow::Result<Names<Voice>> {
    let info = opening::describe(run, &stages.sampling, String::new(), Vec::new());
    let naming = spec.naming.clone();
    Names::start(info.into(), naming, begin, jit, JitReporting::Off, voice)
        .context("start the names thread")
}

fn nobody() -> Selection {
    Selection::Processes {
        pids: Vec::new(),
        with_tree: false,
    }
}

#[cfg(test)]
mod tests {
    use super::Wear;

    #[test]
    fn what_does_not_help_is_done_more_and_more_rarely() {
        let mut wear = Wear::default();
        let times: Vec<usize> = (0..40).filter(|_| wear.is_due(true)).collect();
        assert_eq!(times, [0, 2, 5, 10, 19, 36]);
        assert!(wear.is_lasting());
        assert_eq!((0..1_000_000).filter(|_| wear.is_due(true)).count(), 250);
    }

    #[test]
    fn what_has_helped_is_done_again_at_once() {
        let mut wear = Wear::default();
        for _ in 0..3 {
            assert!(wear.is_due(true));
            assert!(!wear.is_lasting());
            assert!(!wear.is_due(false));
        }
    }
}
