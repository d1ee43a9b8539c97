//! Looking for what targets wait for: what has started, and for names also what has come beside what is there.

use super::super::finder::{Found, Thoroughly};
use super::super::selector::Selector;
use super::super::target::{Owner, State};
use super::Registry;
use crate::control::EndReason;
use crate::model::{Fault, FaultClass, Pid, TargetId};
use crate::session::engine::Member;
use crate::sys;
use crate::sys::pidfd::PidFd;

impl Registry {
    /// Looks once, for all targets together; and for who has waited for too long.
    pub fn look(&mut self) {
        if self.is_stopping {
            return;
        }
        let now = sys::now();
        self.answer_late_snapshots(now);
        let targets = self
            .targets
            .values()
            .filter(|target| target.ending.is_none());
        let due = targets.filter(|target| match target.state {
            State::Waiting { until } => until <= now,
            State::With { .. } => matches!(target.selector, Selector::Comm(_)),
        });
        let due: Vec<(TargetId, Selector)> = due
            .map(|target| (target.id, target.selector.clone()))
            .collect();
        self.finder.look(due.iter().map(|(_, selector)| selector));
        for (id, selector) in due {
            let members = self.find(id, &selector);
            if members.is_empty() {
                self.not_found(id);
                continue;
            }
            if let Err(fault) = self.give(id, members) {
                if let Some(target) = self.targets.get_mut(&id) {
                    target.pause(now);
                }
                self.waits(id, Some(fault));
            }
        }
    }

    fn find(&mut self, id: TargetId, selector: &Selector) -> Vec<Member> {
        let Some(target) = self.targets.get_mut(&id) else {
            return Vec::new();
        };
        match selector {
            Selector::Comm(comm) => {
                let named = self.finder.named(comm);
                target.given.retain(|pid| named.contains(pid));
                let new: Vec<Pid> = named
                    .into_iter()
                    .filter(|pid| target.given.insert(*pid))
                    .collect();
                new.into_iter()
                    .filter_map(|pid| self.hold(pid, comm))
                    .collect()
            }
            Selector::Pid(pid) => {
                let with_tree = target.with_tree;
                let pidfd = match (&target.held, target.owner) {
                    (Some(held), _) => held.try_clone().ok(),
                    // Nobody else has named this process: whoever has the number is meant.
                    (None, Owner::Configuration) => PidFd::open(*pid).ok(),
                    (None, Owner::User { .. }) => None,
                };
                let alive = pidfd.filter(|pidfd| pidfd.is_alive().unwrap_or(false));
                let member = |pidfd: PidFd| Member::Process {
                    pid: *pid,
                    pidfd,
                    with_tree,
                };
                alive.map(member).into_iter().collect()
            }
            Selector::Host => vec![Member::Host],
            Selector::Cgroup(_) | Selector::Unit(_) | Selector::Container(_) => {
                match self.finder.cgroup(selector, Thoroughly::InTurns) {
                    Some(Found::Cgroup(path, dir)) => vec![Member::Cgroup { path, dir }],
                    Some(Found::Process(..)) | None => Vec::new(),
                }
            }
        }
    }

    /// Nothing of a target runs, or for a name nothing new.
    fn not_found(&mut self, id: TargetId) {
        let Some(target) = self.targets.get(&id) else {
            return;
        };
        if let State::With { .. } = target.state {
            return;
        }
        match target.owner {
            Owner::Configuration => {
                let what = format!("{} is not there yet", target.selector);
                self.waits(id, Some(Fault::new(FaultClass::NoSuchTarget, what)));
            }
            // Its engine had failed, and meanwhile it has ended.
            Owner::User { .. } => self.end(id, EndReason::Exited),
        }
    }
}
