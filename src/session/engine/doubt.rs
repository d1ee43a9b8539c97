//! Who a process is, and whose: what its forks and execs mean for the targets that it is in, and what is done where records were lost.

use std::io;
use std::time::Duration;

use super::Authority;
use super::membership::{Membership, Process};
use crate::model::{MonoNs, Pid, TargetId};
use crate::procfs::{credentials, tasks};
use crate::session::groups::GroupId;
use crate::sys;

/// `/proc` tells the start of a process in ticks of 10 ms; this much later than its fork record it is another process.
const TICK: Duration = Duration::from_millis(20);

impl Membership {
    /// A process has been forked.
    pub(in crate::session) fn forked(&mut self, parent: Pid, child: Pid, time: MonoNs) {
        self.just_ended.remove(&child);
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

    /// A process of which no record has told runs: that of its fork was lost, and a process of a target has started it since that was in it; or
    /// there is a target that everybody is in. `false`: neither.
    pub(in crate::session) fn found(&mut self, pid: Pid) -> bool {
        match self.lost_at {
            Some(lost_at) => self.find(pid, lost_at),
            None => self.takes_everybody(),
        }
    }

    /// The same, of a fork that no record can have told of up to that moment.
    fn find(&mut self, pid: Pid, unheard_until: MonoNs) -> bool {
        // Of one that has ended, no record would ever tell again.
        let stat = tasks::stat(&self.proc_root, pid).ok();
        let stat = stat.filter(|_| tasks::runs(&self.proc_root, pid).unwrap_or(false));
        let parent = stat.and_then(|stat| {
            self.look_at(stat.parent);
            let parent = self.processes.get(&stat.parent).copied();
            let started = self.started(pid).ok()?;
            let may_be = |parent: &Process| {
                parent.since <= unheard_until && parent.since <= started.plus(TICK)
            };
            parent.filter(may_be)
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

    /// The process that has had a number since then has ended, as was noticed at a moment, and all records until that moment have been read. Who
    /// has the number now is another, unless it is known as one that came later.
    pub(super) fn has_ended(&mut self, pid: Pid, since: MonoNs, at: MonoNs) {
        let process = self.processes.get(&pid);
        if process.is_some_and(|process| process.since <= since) {
            self.ended(pid, at);
        }
    }

    /// Records were lost: all that is known of processes is in doubt from the last moment on at which none were.
    pub(in crate::session) fn records_lost(&mut self) {
        self.losses += 1;
        self.lost_at = Some(sys::now());
        self.has_lost = true;
        self.just_ended.clear();
    }

    /// Whether records were lost since that was last asked.
    pub(super) fn take_has_lost(&mut self) -> bool {
        std::mem::take(&mut self.has_lost)
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

    /// Takes in what processes of targets have forked, and no record has told.
    pub(super) fn find_children(&mut self) {
        let mut is_new = true;
        while is_new {
            is_new = false;
            for pid in tasks::processes(&self.proc_root).unwrap_or_default() {
                if !self.processes.contains_key(&pid) && self.has_room(0) {
                    self.find(pid, sys::now());
                    is_new |= self.processes.contains_key(&pid);
                }
            }
        }
    }

    /// Looks at a process if records have been lost since that was done.
    pub(in crate::session) fn verify(&mut self, pid: Pid) {
        self.look_at(pid);
    }

    pub(super) fn look_at(&mut self, pid: Pid) -> Found {
        let Some(process) = self.processes.get_mut(&pid) else {
            return Found::Gone;
        };
        if process.sound == self.losses {
            return Found::There;
        }
        process.sound = self.losses;
        let since = process.since;
        // What cannot be asked is believed to be as it was.
        if !tasks::runs(&self.proc_root, pid).unwrap_or(true) {
            // It has ended, and what is still to come of it is from before.
            self.examine(pid, self.sound_until);
            return Found::Gone;
        }
        let is_another = match self.started(pid) {
            Ok(at) => at > since.plus(TICK),
            Err(error) => tasks::is_gone(&error),
        };
        if is_another {
            self.left(pid);
            return Found::Gone;
        }
        self.examine(pid, self.sound_until);
        Found::There
    }

    fn started(&self, pid: Pid) -> io::Result<MonoNs> {
        let since_boot = tasks::started(&self.proc_root, pid)?;
        let nanos = since_boot.saturating_sub(sys::boot_offset()).as_nanos();
        Ok(MonoNs(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Asks whose a process is, for the users' targets that it is in: it may have become another's at `from`.
    pub(super) fn examine(&mut self, pid: Pid, from: MonoNs) {
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
}

/// What looking at a process has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    There,
    Gone,
}
