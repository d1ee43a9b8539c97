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

use std::path::PathBuf;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Authority, TargetEnd};
use crate::model::{EventIdx, LossReason, MonoNs, Pid, TargetId};
use crate::procfs::credentials;
use crate::procfs::tasks;
use crate::session::groups::{GroupId, Groups};
use crate::sys;

/// `/proc` tells the start of a process in ticks of 10 ms; this much later than its fork record it is another process.
const TICK: Duration = Duration::from_millis(20);

/// A sample that is to be counted, or not.
#[derive(Clone, Copy, Debug)]
pub(in crate::session) struct Sampled {
    pub(in crate::session) pid: Pid,
    pub(in crate::session) event: EventIdx,
    /// Several, if they have all of it in common.
    pub(in crate::session) n_samples: u64,
    pub(in crate::session) in_kernel_mode: bool,
    /// `None`: counted in the kernel, at any time since that was last taken in.
    pub(in crate::session) time: Option<MonoNs>,
}

/// What is known of a process.
#[derive(Clone, Copy, Debug)]
struct Process {
    group: GroupId,
    /// It is the process that had the number then.
    since: MonoNs,
    /// What it was in before it was put into a target, and until when.
    before: (GroupId, MonoNs),
    /// In these times it may have been another's than it is.
    doubt: Option<(MonoNs, MonoNs)>,
    /// Of which loss of records it has been looked at since.
    sound: u32,
}

/// Processes, and the targets that they are in.
#[derive(Debug)]
pub(in crate::session) struct Membership {
    proc_root: PathBuf,
    groups: Groups,
    authorities: FxHashMap<TargetId, Authority>,
    processes: FxHashMap<Pid, Process>,
    /// How many processes are in each group.
    population: FxHashMap<GroupId, usize>,
    /// What processes were in that have left a target since what was counted in the kernel was last taken in.
    departed: FxHashMap<Pid, GroupId>,
    /// That must be taken in before anything more is counted there.
    must_drain: bool,
    /// Targets that everybody is in, and since when.
    hosts: Vec<(TargetId, MonoNs)>,
    /// How often records were lost, and up to when they were not the last time.
    losses: u32,
    sound_until: MonoNs,
    most_processes: usize,
    refused: u64,
    lost: FxHashMap<TargetId, Vec<(EventIdx, LossReason, u64)>>,
    /// Targets that have lost a process to an exec.
    elevated: FxHashSet<TargetId>,
    /// Whether a process has left a target since that was last asked: for the ends of targets, and for what is known of processes.
    is_left: bool,
    has_left: bool,
}

impl Membership {
    pub(in crate::session) fn new(proc_root: PathBuf, most_processes: usize) -> Membership {
        Membership {
            proc_root,
            groups: Groups::new(),
            authorities: FxHashMap::default(),
            processes: FxHashMap::default(),
            population: FxHashMap::default(),
            departed: FxHashMap::default(),
            must_drain: false,
            hosts: Vec::new(),
            losses: 0,
            sound_until: sys::now(),
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

    /// A target goes; its last samples have been counted.
    pub(super) fn remove_target(&mut self, target: TargetId) {
        let members = self.processes_of(target);
        for pid in members {
            self.leave(pid, |left| left == target);
        }
        let groups = &mut self.groups;
        for group in self.departed.values_mut() {
            *group = groups.only(*group, |of| of != target);
        }
        self.hosts.retain(|(host, _)| *host != target);
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

    /// Whether a process is in any target.
    pub(in crate::session) fn is_member(&self, pid: Pid) -> bool {
        self.takes_everybody() || self.processes.contains_key(&pid)
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

    /// Living processes of all targets.
    pub(super) fn n_processes(&self) -> usize {
        self.processes.len()
    }

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

    /// A process has been forked.
    pub(in crate::session) fn forked(&mut self, parent: Pid, child: Pid, time: MonoNs) {
        // One that had the number before; not the one that was attached to while this record was on its way.
        let known = self.processes.get(&child).map(|known| known.since);
        match known.is_none_or(|since| since < time) {
            true => self.left(child),
            false => return,
        }
        self.look_at(parent);
        let parent = self.processes.get(&parent).copied();
        if let Some(parent) = parent.filter(|parent| parent.since <= time) {
            let child_is = Process {
                since: time,
                ..parent
            };
            self.put(child, Some(child_is));
        }
    }

    /// A process of which no record has told runs: a process of a target has started it since that was in it, or there is a target that
    /// everybody is in. `false`: neither.
    pub(in crate::session) fn found(&mut self, pid: Pid) -> bool {
        let stat = tasks::stat(&self.proc_root, pid).ok();
        let parent = stat.and_then(|stat| {
            self.look_at(stat.parent);
            let parent = self.processes.get(&stat.parent).copied();
            let started = self.started(pid)?;
            parent.filter(|parent| parent.since <= started.plus(TICK))
        });
        let Some(parent) = parent else {
            return self.takes_everybody();
        };
        let now = sys::now();
        self.put(
            pid,
            Some(Process {
                since: now,
                ..parent
            }),
        );
        self.examine(pid, MonoNs(0));
        true
    }

    /// A process has become another program at `time`.
    pub(in crate::session) fn executed(&mut self, pid: Pid, time: MonoNs) {
        self.look_at(pid);
        self.examine(pid, time);
    }

    /// A process has ended, or what was known of its number is of another one.
    pub(in crate::session) fn left(&mut self, pid: Pid) {
        if let Some(process) = self.processes.get(&pid).copied() {
            self.depart(pid, process.group);
            self.put(pid, None);
        }
    }

    /// A process has ended, though its exit record may not have come yet, or was lost.
    pub(super) fn has_ended(&mut self, pid: Pid) {
        if tasks::stat(&self.proc_root, pid).is_err() {
            self.left(pid);
        }
    }

    /// Records were lost: all that is known of processes is in doubt from the last moment on at which none were.
    pub(in crate::session) fn records_lost(&mut self) {
        self.losses += 1;
    }

    /// No records were lost until now.
    pub(in crate::session) fn records_are_whole(&mut self, now: MonoNs) {
        self.sound_until = now;
    }

    /// Looks at all processes of which that was not done since records were lost: some may be gone.
    pub(super) fn verify_all(&mut self) {
        let unsound = |(_, process): &(&Pid, &Process)| process.sound != self.losses;
        let unsound: Vec<Pid> = self
            .processes
            .iter()
            .filter(unsound)
            .map(|(pid, _)| *pid)
            .collect();
        for pid in unsound {
            if self.look_at(pid) == Found::Gone {
                self.left(pid);
            }
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

    /// What a sample counts for, or why it is lost.
    pub(in crate::session) fn group_of(
        &mut self,
        sampled: &Sampled,
    ) -> Result<GroupId, LossReason> {
        let (mut group, unsure) = match sampled.time {
            None => (self.group_when_counted(sampled.pid), GroupId::NONE),
            Some(time) => self.group_at(sampled.pid, time),
        };
        for (host, since) in &self.hosts {
            if sampled.time.is_none_or(|time| *since <= time) {
                group = self.groups.and(group, &[*host]);
            }
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
        self.groups = groups;
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
        let Some(process) = self.processes.get(&pid).copied() else {
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

    fn of_users(&mut self, group: GroupId) -> GroupId {
        let authorities = &self.authorities;
        let is_users = |target| matches!(authorities.get(&target), Some(Authority::User { .. }));
        self.groups.only(group, is_users)
    }

    fn of_administrators(&mut self, group: GroupId) -> GroupId {
        let authorities = &self.authorities;
        let is_theirs = |target| matches!(authorities.get(&target), Some(Authority::Everything));
        self.groups.only(group, is_theirs)
    }

    /// Looks at a process if records have been lost since that was done.
    pub(in crate::session) fn verify(&mut self, pid: Pid) {
        self.look_at(pid);
    }

    fn look_at(&mut self, pid: Pid) -> Found {
        let Some(process) = self.processes.get_mut(&pid) else {
            return Found::Gone;
        };
        if process.sound == self.losses {
            return Found::There;
        }
        process.sound = self.losses;
        let since = process.since;
        let stat = tasks::stat(&self.proc_root, pid).ok();
        if stat.is_none_or(|stat| stat.state == 'Z') {
            // It has ended, and what is still to come of it is from before.
            self.examine(pid, self.sound_until);
            return Found::Gone;
        }
        if self.started(pid).is_none_or(|at| at > since.plus(TICK)) {
            self.left(pid);
            return Found::Gone;
        }
        self.examine(pid, self.sound_until);
        Found::There
    }

    fn started(&self, pid: Pid) -> Option<MonoNs> {
        let since_boot = tasks::started(&self.proc_root, pid).ok()?;
        let nanos = since_boot.saturating_sub(sys::boot_offset()).as_nanos();
        u64::try_from(nanos).ok().map(MonoNs)
    }

    /// Asks whose a process is, for the users' targets that it is in: it may have become another's at `from`.
    fn examine(&mut self, pid: Pid, from: MonoNs) {
        let Some(process) = self.processes.get(&pid).copied() else {
            return;
        };
        let of_users = self.of_users(process.group);
        if of_users == GroupId::NONE {
            return;
        }
        let proc_root = &self.proc_root;
        let authorities = &self.authorities;
        let is_permitted = |target: &TargetId| match authorities.get(target) {
            Some(Authority::User { uid, gid, .. }) => {
                credentials::is_all_of(proc_root, pid, *uid, *gid).unwrap_or(false)
            }
            _ => true,
        };
        let refused: Vec<TargetId> = self.groups.targets(process.group).to_vec();
        let refused: Vec<TargetId> = refused
            .into_iter()
            .filter(|target| !is_permitted(target))
            .collect();
        // From now on it is what it is now; if it becomes another's, there is a record of that, or a loss.
        let doubt = Some((from, sys::now()));
        self.put(pid, Some(Process { doubt, ..process }));
        if !refused.is_empty() {
            self.elevated.extend(&refused);
            self.leave(pid, |target| refused.contains(&target));
        }
    }

    fn leave(&mut self, pid: Pid, leaves: impl Fn(TargetId) -> bool) {
        let Some(process) = self.processes.get(&pid).copied() else {
            return;
        };
        let group = self.groups.only(process.group, |target| !leaves(target));
        self.depart(pid, process.group);
        self.must_drain = true;
        let rest = (group != GroupId::NONE).then_some(Process { group, ..process });
        self.put(pid, rest);
    }

    fn depart(&mut self, pid: Pid, group: GroupId) {
        self.departed.entry(pid).or_insert(group);
        self.is_left = true;
        self.has_left = true;
    }

    fn put(&mut self, pid: Pid, process: Option<Process>) {
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

/// What looking at a process has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    There,
    Gone,
}
