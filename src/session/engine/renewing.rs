//! Everything is opened anew, for the same targets, before a table that only grows is full: so an engine goes on for ever.

use std::sync::Arc;

use anyhow::Context;

use super::EngineSpec;
use super::held_target::Whom;
use super::looping::{COMMANDS, Looping, PACE};
use super::membership::Membership;
use super::voice::Voice;
use crate::aggregate::Stacks;
use crate::model::{EventLedger, Ledger, TargetId};
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

/// What was before everything was opened anew the last time.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub(super) renewals: u64,
    events: Vec<EventLedger>,
    pub(super) side_band_lost: u64,
}

impl Looping {
    /// Whether there are so many modules, or names of threads, that there will soon be no room for new ones. Stacks that wait for names bear
    /// their numbers, and so do tables in the kernel: they cannot be given again one by one.
    pub(super) fn is_worn(&self) -> bool {
        let pipeline = &self.pump.stages.pipeline;
        let python = pipeline.python.as_ref();
        let most = self.spec.limits.modules;
        pipeline.processes.modules.len() > most
            || pipeline.processes.comms.len() > most
            || pipeline.held.is_worn()
            || python.is_some_and(|python| python.names.len() > MOST_PYTHON_NAMES)
    }

    /// Opens everything anew, and goes on with the same targets; the time in between is in the account.
    pub(super) fn renew(&mut self) -> anyhow::Result<()> {
        let stopped = sys::now();
        self.close_all(stopped)?;
        let stages = &mut self.pump.stages;
        let ledger = stages.account()?.ledger;
        self.past.side_band_lost += ledger.side_band_lost;
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

    pub(super) fn add_to(&self, ledger: &mut Ledger) {
        ledger.side_band_lost += self.side_band_lost;
        for (event, before) in ledger.events.iter_mut().zip(&self.events) {
            event.merge(before);
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
