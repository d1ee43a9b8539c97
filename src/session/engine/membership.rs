//! Which targets each process is in: copied at fork, decided anew at exec, and in doubt when records were lost.
//!
//! ```text
//! attach ─▶ a process is in a set of targets        fork ─▶ its child is in the same
//! exec   ─▶ users' targets: does the process still belong to the user? what was sampled between exec and answer is not counted for them
//! exit   ─▶ what was counted in the kernel until then is still to be taken in
//! ```
//!
//! Who a process is, and whose, is known from records. Where some were lost, it is looked at before anything more of it is believed: when it
//! started (its number may have come back as another's), and for users' targets, whose it is.

use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Authority, TargetEnd};
use crate::model::{CgroupId, DomainId, EventIdx, LossReason, MonoNs, Pid, TargetId};
use crate::session::groups::{GroupId, Groups};
use crate::sys;
use crate::target::{Domains, LAST_MOMENTS};

/// What is known of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pub(super) group: GroupId,
    /// It is the process that had the number then.
    pub(super) since: MonoNs,
    /// What it was in before it was put into a target, and until when.
    pub(super) before: (GroupId, MonoNs),
    /// In these times it may have been another's than it is.
    pub(super) doubt: Option<(MonoNs, MonoNs)>,
    /// Of which loss of records it has been looked at since.
    pub(super) sound: u32,
}

/// Processes, and the targets that they are in.
#[derive(Debug)]
pub(in crate::session) struct Membership {
    pub(super) proc_root: PathBuf,
    pub(super) groups: Groups,
    pub(super) authorities: FxHashMap<TargetId, Authority>,
    pub(super) processes: FxHashMap<Pid, Process>,
    /// How many processes are in each group.
    population: FxHashMap<GroupId, usize>,
    /// What processes were in that have left a target since what was counted in the kernel was last taken in.
    pub(super) departed: FxHashMap<Pid, GroupId>,
    /// Processes that have ended a moment ago, for samples of their last moments, and when.
    pub(super) just_ended: FxHashMap<Pid, (Process, MonoNs)>,
    swept: MonoNs,
    /// That must be taken in before anything more is counted there.
    must_drain: bool,
    /// Targets that everybody is in, and since when.
    pub(super) hosts: Vec<(TargetId, MonoNs)>,
    /// The same of those that whatever runs in a cgroup is in.
    pub(super) cgroups: Vec<(DomainId, TargetId, MonoNs)>,
    /// `None` where there are no cgroups.
    pub(super) domains: Option<Domains>,
    /// How often records were lost, and up to when they were not the last time.
    pub(super) losses: u32,
    pub(super) sound_until: MonoNs,
    pub(super) has_lost: bool,
    /// When that was noticed the last time.
    pub(super) lost_at: Option<MonoNs>,
    most_processes: usize,
    refused: u64,
    pub(super) lost: FxHashMap<TargetId, Vec<(EventIdx, LossReason, u64)>>,
    /// Targets that have lost a process to an exec.
    pub(super) elevated: FxHashSet<TargetId>,
    /// Whether a process has left a target since that was last asked: for the ends of targets, and for what is known of processes.
    is_left: bool,
    has_left: bool,
}

impl Membership {
    pub(in crate::session) fn new(
        proc_root: PathBuf,
        most_processes: usize,
        domains: Option<Domains>,
    ) -> Membership {
        Membership {
            proc_root,
            groups: Groups::new(),
            authorities: FxHashMap::default(),
            processes: FxHashMap::default(),
            population: FxHashMap::default(),
            departed: FxHashMap::default(),
            just_ended: FxHashMap::default(),
            swept: MonoNs(0),
            must_drain: false,
            hosts: Vec::new(),
            cgroups: Vec::new(),
            domains,
            losses: 0,
            sound_until: sys::now(),
            has_lost: false,
            lost_at: None,
            most_processes,
            refused: 0,
            lost: FxHashMap::default(),
            elevated: FxHashSet::default(),
            is_left: false,
            has_left: false,
        }
    }

    /// A target comes; it has no processes yet.
    pub(super) fn add_target(&mut self, target: TargetId, authority: Authority) {
        self.authorities.insert(target, authority);
    }

    /// A target that everybody is in.
    pub(super) fn add_host(&mut self, target: TargetId) {
        self.hosts.push((target, sys::now()));
    }

    /// A target that whatever runs in a cgroup is in. `false`: there are no cgroups.
    pub(super) fn add_cgroup(
        &mut self,
        target: TargetId,
        domain: DomainId,
        cgroup: CgroupId,
        path: &Path,
    ) -> bool {
        let Some(domains) = &mut self.domains else {
            return false;
        };
        domains.add(domain, cgroup, path);
        self.cgroups.push((domain, target, sys::now()));
        true
    }

    /// The cgroup of a target, if no other one has it.
    pub(super) fn own_domain(&self, target: TargetId) -> Option<DomainId> {
        let mut cgroups = self.cgroups.iter();
        let (domain, ..) = *cgroups.find(|(_, of, _)| *of == target)?;
        let mut cgroups = self.cgroups.iter();
        let is_shared = cgroups.any(|(of, other, _)| *of == domain && *other != target);
        (!is_shared).then_some(domain)
    }

    /// A number for a cgroup that no target has yet.
    pub(super) fn unused_domain(&self) -> DomainId {
        let last = self.cgroups.iter().map(|(domain, ..)| domain.0).max();
        DomainId(last.unwrap_or(0).saturating_add(1))
    }

    /// Puts a process into a target. `false`: there are as many as there may be.
    ///
    /// What is sampled of it before it is known to be its user's does not count.
    pub(super) fn add_process(&mut self, target: TargetId, pid: Pid) -> bool {
        let known = self.processes.get(&pid).copied();
        if known.is_none() && !self.has_room(0) {
            self.refused += 1;
            return false;
        }
        let before = known.map_or(GroupId::NONE, |known| known.group);
        let group = self.groups.and(before, &[target]);
        let process = known.unwrap_or(Process {
            group,
            since: sys::now(),
            before: (GroupId::NONE, MonoNs(0)),
            doubt: None,
            sound: self.losses,
        });
        let before = (before, sys::now());
        let process = Process {
            group,
            before,
            ..process
        };
        self.put(pid, Some(process));
        self.examine(pid, MonoNs(0));
        true
    }

    /// Whether a process is in a target.
    pub(super) fn has(&self, target: TargetId, pid: Pid) -> bool {
        let process = self.processes.get(&pid);
        process.is_some_and(|process| self.groups.has(process.group, target))
    }

    /// Since when a process has had its number, as far as that is known; now, if nothing is known of it.
    pub(super) fn since(&self, pid: Pid) -> MonoNs {
        let process = self.processes.get(&pid);
        process.map_or_else(sys::now, |process| process.since)
    }

    /// A target goes; its last samples have been counted.
    pub(super) fn remove_target(&mut self, target: TargetId) {
        let members = self.processes_of(target);
        for pid in members {
            self.leave(pid, |left| left == target);
        }
        let groups = &mut self.groups;
        let ended = self.just_ended.values_mut();
        let ended = ended.map(|(process, _)| &mut process.group);
        for group in self.departed.values_mut().chain(ended) {
            *group = groups.only(*group, |of| of != target);
        }
        self.hosts.retain(|(host, _)| *host != target);
        if let (Some(domain), Some(domains)) = (self.own_domain(target), &mut self.domains) {
            domains.remove(domain);
        }
        self.cgroups.retain(|(_, of, _)| *of != target);
        // Whom nobody else is after is told of in vain.
        self.has_left = true;
        self.authorities.remove(&target);
        self.lost.remove(&target);
        self.elevated.remove(&target);
    }

    /// The processes of a target.
    pub(super) fn processes_of(&self, target: TargetId) -> Vec<Pid> {
        let of = self.processes.iter();
        let of = of.filter(|(_, process)| self.groups.has(process.group, target));
        of.map(|(pid, _)| *pid).collect()
    }

    /// All processes.
    pub(super) fn processes(&self) -> Vec<Pid> {
        self.processes.keys().copied().collect()
    }

    /// No target has a cgroup, until it is given one again.
    pub(super) fn forget_cgroups(&mut self) {
        for (domain, ..) in std::mem::take(&mut self.cgroups) {
            if let Some(domains) = &mut self.domains {
                domains.remove(domain);
            }
        }
    }

    /// Whether a process is in any target.
    pub(in crate::session) fn is_member(&self, pid: Pid) -> bool {
        self.takes_everybody() || !self.cgroups.is_empty() || self.processes.contains_key(&pid)
    }

    /// Whether a process is in a cgroup that is a target.
    pub(in crate::session) fn is_in_cgroup(&mut self, pid: Pid, cgroup: Option<CgroupId>) -> bool {
        let domains = self.domains.as_mut();
        domains.is_some_and(|domains| domains.of_sample(cgroup, pid).is_some())
    }

    /// More is taken out of the rings.
    pub(in crate::session) fn search_cgroups_again(&mut self) {
        if let Some(domains) = &mut self.domains {
            domains.search_again();
        }
    }

    /// Whether there is a target that everybody is in.
    pub(in crate::session) fn takes_everybody(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// Whether one more process than these can be followed.
    pub(in crate::session) fn has_room(&self, n_known: usize) -> bool {
        n_known.max(self.processes.len()) < self.most_processes
    }

    /// Notes that a process could not be followed for want of room.
    pub(in crate::session) fn refuse(&mut self) {
        self.refused += 1;
    }

    /// Processes that were not taken in for want of room.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// How many sets of targets are known.
    pub(super) fn n_groups(&self) -> usize {
        self.groups.len()
    }

    /// The targets of a group.
    pub(super) fn targets(&self, group: GroupId) -> &[TargetId] {
        self.groups.targets(group)
    }

    /// Whether a target is there still.
    pub(super) fn is_there(&self, target: TargetId) -> bool {
        self.authorities.contains_key(&target)
    }

    /// Whether a target's user may see samples in kernel mode.
    pub(super) fn sees_kernel(&self, target: TargetId) -> bool {
        let authority = self.authorities.get(&target);
        !matches!(authority, Some(Authority::User { kernel: false, .. }))
    }

    /// A process has ended, as its exit record says.
    pub(in crate::session) fn ended(&mut self, pid: Pid, time: MonoNs) {
        if self.swept.plus(LAST_MOMENTS) < time {
            self.swept = time;
            let ended = &mut self.just_ended;
            ended.retain(|_, (_, at)| time <= at.plus(LAST_MOMENTS));
        }
        if let Some(process) = self.processes.get(&pid) {
            self.just_ended.insert(pid, (*process, time));
        }
        self.left(pid);
    }

    /// A process has ended, or what was known of its number is of another one.
    pub(in crate::session) fn left(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get(&pid).copied() {
            self.depart(pid, process.group);
            self.put(pid, None);
        }
    }

    /// Whether what was counted in the kernel must be taken in before processes are told to it anew.
    pub(in crate::session) fn must_drain(&self) -> bool {
        self.must_drain
    }

    /// Whether a process has left a target since that was last asked: it may be in none now.
    pub(in crate::session) fn take_has_left(&mut self) -> bool {
        std::mem::take(&mut self.has_left)
    }

    /// What was counted in the kernel has been taken in.
    pub(in crate::session) fn drained(&mut self) {
        self.departed.clear();
        self.must_drain = false;
    }

    /// A group without a target.
    pub(super) fn without(&mut self, group: GroupId, target: TargetId) -> GroupId {
        self.groups.only(group, |of| of != target)
    }

    /// Of these targets, which of processes, those that have none left, and why; nothing if no process has left since that was last asked.
    pub(super) fn take_ended(&mut self, targets: &[TargetId]) -> Vec<(TargetId, TargetEnd)> {
        if !std::mem::take(&mut self.is_left) {
            return Vec::new();
        }
        let has_some = |target: TargetId| {
            let inhabited = self.population.iter().filter(|(_, n)| **n > 0);
            let mut inhabited = inhabited.map(|(group, _)| *group);
            inhabited.any(|group| self.groups.has(group, target))
        };
        let ended = targets.iter().filter(|target| !has_some(**target));
        let why = |target: &TargetId| match self.elevated.contains(target) {
            true => TargetEnd::Elevated,
            false => TargetEnd::Exited,
        };
        ended.map(|target| (*target, why(target))).collect()
    }

    /// Forgets the sets that no process is in; only while no sample that bears one is still to be counted.
    pub(super) fn compact(&mut self) {
        let mut groups = Groups::new();
        let old = std::mem::replace(&mut self.groups, Groups::new());
        self.population.clear();
        for process in self.processes.values_mut() {
            process.group = groups.and(GroupId::NONE, old.targets(process.group));
            process.before = (GroupId::NONE, MonoNs(0));
            *self.population.entry(process.group).or_default() += 1;
        }
        self.departed.clear();
        self.just_ended.clear();
        self.groups = groups;
    }

    pub(super) fn leave(&mut self, pid: Pid, leaves: impl Fn(TargetId) -> bool) {
        let Some(process) = self.processes.get(&pid).copied() else {
            return;
        };
        let group = self.groups.only(process.group, |target| !leaves(target));
        self.depart(pid, process.group);
        self.must_drain = true;
        let rest = (group != GroupId::NONE).then_some(Process { group, ..process });
        self.put(pid, rest);
    }

    pub(super) fn depart(&mut self, pid: Pid, group: GroupId) {
        self.departed.entry(pid).or_insert(group);
        self.is_left = true;
        self.has_left = true;
    }

    pub(super) fn put(&mut self, pid: Pid, process: Option<Process>) {
        let before = match process {
            Some(process) => {
                // What it was before has been counted under the same number.
                let is_new = !self.processes.contains_key(&pid);
                self.must_drain |= is_new && self.departed.contains_key(&pid);
                *self.population.entry(process.group).or_default() += 1;
                self.processes.insert(pid, process)
            }
            None => self.processes.remove(&pid),
        };
        if let Some(before) = before
            && let Some(n) = self.population.get_mut(&before.group)
        {
            *n = n.saturating_sub(1);
        }
    }
}
