//! Which targets a sample counts for, or why it is lost.

use super::Authority;
use super::membership::{Membership, Process};
use crate::model::{CgroupId, DomainId, EventIdx, LossReason, MonoNs, Pid, TargetId};
use crate::session::groups::GroupId;
use crate::target::LAST_MOMENTS;

/// A sample that is to be counted, or not.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Sampled {
    pub(in crate::session) pid: Pid,
    pub(in crate::session) event: EventIdx,
    /// Several, if they have all of it in common.
    pub(in crate::session) n_samples: u64,
    pub(in crate::session) in_kernel_mode: bool,
    pub(in crate::session) taken: When,
}

/// When a sample was taken, and in which cgroup.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) enum When {
    /// It came through a ring, with the number of its cgroup if samples carry that.
    At(MonoNs, Option<CgroupId>),
    /// It was counted in the kernel, since that was last taken in.
    Counted(Option<DomainId>),
}

impl Sampled {
    /// Whether it was taken then or later; what is counted in the kernel was taken in when a target came.
    fn is_since(&self, then: MonoNs) -> bool {
        match self.taken {
            When::At(time, _) => then <= time,
            When::Counted(_) => true,
        }
    }
}

impl Membership {
    /// What a sample counts for, or why it is lost.
    pub(in crate::session) fn group_of(
        &mut self,
        sampled: &Sampled,
    ) -> Result<GroupId, LossReason> {
        let (mut group, unsure) = match sampled.taken {
            When::Counted(_) => (self.group_when_counted(sampled.pid), GroupId::NONE),
            When::At(time, _) => self.group_at(sampled.pid, time),
        };
        for (host, since) in &self.hosts {
            if sampled.is_since(*since) {
                group = self.groups.and(group, &[*host]);
            }
        }
        if !self.cgroups.is_empty() {
            group = self.and_of_cgroup(group, sampled);
        }
        self.lose(unsure, sampled, LossReason::NotAuthorised);
        if group == GroupId::NONE {
            return Err(match unsure {
                GroupId::NONE => LossReason::Foreign,
                _ => LossReason::NotAuthorised,
            });
        }
        let sees_kernel = |target: &TargetId| self.sees_kernel(*target);
        if sampled.in_kernel_mode && !self.groups.targets(group).iter().any(sees_kernel) {
            self.lose(group, sampled, LossReason::KernelMode);
            return Err(LossReason::KernelMode);
        }
        Ok(group)
    }

    fn and_of_cgroup(&mut self, mut group: GroupId, sampled: &Sampled) -> GroupId {
        let Some(domains) = &mut self.domains else {
            return group;
        };
        let domain = match sampled.taken {
            When::Counted(domain) => domain,
            When::At(_, cgroup) => domains.of_sample(cgroup, sampled.pid),
        };
        let around = domain.map_or_else(Vec::new, |domain| domains.around(domain));
        for (domain, target, since) in &self.cgroups {
            if around.contains(domain) && sampled.is_since(*since) {
                group = self.groups.and(group, &[*target]);
            }
        }
        group
    }

    /// Counts samples as lost by all targets of a group.
    pub(in crate::session) fn lose(&mut self, group: GroupId, sampled: &Sampled, why: LossReason) {
        for target in self.groups.targets(group) {
            let lost = self.lost.entry(*target).or_default();
            let is_it = |(event, reason, _): &&mut (EventIdx, LossReason, u64)| {
                (*event, *reason) == (sampled.event, why)
            };
            match lost.iter_mut().find(is_it) {
                Some((_, _, n)) => *n += sampled.n_samples,
                None => lost.push((sampled.event, why, sampled.n_samples)),
            }
        }
    }

    /// What a target has lost since that was last asked.
    pub(super) fn take_lost(&mut self, target: TargetId) -> Vec<(EventIdx, LossReason, u64)> {
        self.lost.remove(&target).unwrap_or_default()
    }

    /// A sample that was counted in the kernel is from before its process left anything.
    fn group_when_counted(&self, pid: Pid) -> GroupId {
        let process = || Some(self.processes.get(&pid)?.group);
        let departed = self.departed.get(&pid).copied();
        departed.or_else(process).unwrap_or(GroupId::NONE)
    }

    /// And of what is in doubt, the targets that it is lost for.
    fn group_at(&mut self, pid: Pid, time: MonoNs) -> (GroupId, GroupId) {
        self.look_at(pid);
        let process = self.processes.get(&pid).copied();
        let Some(process) = process.or_else(|| self.in_last_moments(pid, time)) else {
            // After an exec that its user may not follow, and before that is known.
            let group = self.departed.get(&pid).copied().unwrap_or_default();
            let of_users = self.of_users(group);
            return (GroupId::NONE, of_users);
        };
        let group = match process.before {
            (before, until) if time < until => before,
            _ => process.group,
        };
        match process.doubt {
            Some((from, until)) if from <= time && time <= until => {
                let of_users = self.of_users(group);
                let sure = self.of_administrators(group);
                (sure, of_users)
            }
            _ => (group, GroupId::NONE),
        }
    }

    /// What a process was that had ended a moment before.
    fn in_last_moments(&self, pid: Pid, time: MonoNs) -> Option<Process> {
        let (process, at) = self.just_ended.get(&pid)?;
        (time <= at.plus(LAST_MOMENTS)).then_some(*process)
    }

    pub(super) fn of_users(&mut self, group: GroupId) -> GroupId {
        let authorities = &self.authorities;
        let is_users = |target| matches!(authorities.get(&target), Some(Authority::User { .. }));
        self.groups.only(group, is_users)
    }

    fn of_administrators(&mut self, group: GroupId) -> GroupId {
        let authorities = &self.authorities;
        let is_theirs = |target| matches!(authorities.get(&target), Some(Authority::Everything));
        self.groups.only(group, is_theirs)
    }
}
