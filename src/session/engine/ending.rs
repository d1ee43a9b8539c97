//! Processes that end, and the targets that end with them.

use std::time::Duration;

use super::TargetEnd;
use super::held_target::{HeldTarget, Whom};
use super::looping::{Looping, TARGETS};
use crate::model::{MonoNs, Pid, TargetId};
use crate::sys;
use crate::sys::pidfd::PidFd;

/// How long after records were lost, at the least, processes are looked for that have ended unheard.
const LOOK_AFTER: Duration = Duration::from_secs(1);

impl Looping {
    pub(super) fn watch_target(&mut self, id: TargetId) -> anyhow::Result<()> {
        match self.targets.get(&id).map(|target| &target.whom) {
            Some(Whom::Process {
                pidfd: Some(pidfd), ..
            }) => self.pump.watch_end(pidfd, TARGETS),
            _ => Ok(()),
        }
    }

    /// Looks which of the processes have ended that targets began with; they are forgotten, also if their exit records were lost.
    pub(super) fn notice_ended_processes(&mut self) -> anyhow::Result<()> {
        let mut ended = Vec::new();
        for target in self.targets.values_mut() {
            let Whom::Process { pid, pidfd, since } = &mut target.whom else {
                continue;
            };
            let is_alive = |pidfd: &PidFd| pidfd.is_alive().unwrap_or(false);
            if let Some(dead) = pidfd.take_if(|pidfd| !is_alive(pidfd)) {
                self.pump.unwatch(&dead);
                ended.push((*pid, *since));
            }
        }
        for (pid, since) in ended {
            self.has_ended(pid, since)?;
        }
        Ok(())
    }

    /// The process that has had a number since then has ended. What records say of it until now comes first: it may have forked.
    pub(super) fn has_ended(&mut self, pid: Pid, since: MonoNs) -> anyhow::Result<()> {
        self.dead.push_back((sys::now(), pid, since));
        self.pump.tick_soon()
    }

    /// Forgets the processes of which all records until their end have been read, whether that of the end was among them or was lost.
    pub(super) fn forget_dead(&mut self, settled: MonoNs) {
        while let Some((at, pid, since)) = self.dead.front().copied()
            && at <= settled
        {
            self.dead.pop_front();
            self.membership().has_ended(pid, since, at);
        }
    }

    /// Ends the targets that have no process left.
    pub(super) fn end_targets(&mut self, now: MonoNs) {
        if self.looked_at.plus(LOOK_AFTER) <= now {
            self.looked_at = now;
            self.forget_who_ended_unheard();
            let gone = |target: &&mut HeldTarget| target.whom.is_gone();
            let gone = self.targets.values_mut().filter(gone);
            gone.for_each(|target| target.end(now, TargetEnd::Exited));
        }
        let of_processes = self
            .targets
            .iter()
            .filter(|(_, target)| matches!(target.whom, Whom::Process { .. }));
        let of_processes: Vec<TargetId> = of_processes.map(|(id, _)| *id).collect();
        for (id, why) in self.membership().take_ended(&of_processes) {
            if let Some(target) = self.targets.get_mut(&id) {
                target.end(now, why);
            }
        }
    }

    /// Records were lost, perhaps those of processes that have ended.
    fn forget_who_ended_unheard(&mut self) {
        let pipeline = &mut self.pump.stages.pipeline;
        let Some(membership) = pipeline.members.of_targets() else {
            return;
        };
        if membership.take_has_lost() {
            let gone = pipeline.processes.verify_all(sys::boot_offset());
            gone.into_iter().for_each(|pid| membership.left(pid));
            membership.verify_all();
        }
    }
}
