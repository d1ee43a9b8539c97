//! Whom the samples of a run count for: everybody that it knows, or the targets of an engine.

use super::engine::{Membership, Sampled};
use super::era::Era;
use super::groups::GroupId;
use crate::model::{LossReason, MonoNs, RawSample};
use crate::sys::record::SideBand;
use crate::target::{CommId, Processes};

/// Whose a sample is, beside process and thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whose {
    /// The thread's name.
    pub(super) comm: CommId,
    /// The targets that it counts for.
    pub(super) group: GroupId,
    /// Whether it was taken in kernel mode, which not every target may show.
    pub(super) in_kernel_mode: bool,
    /// Before which cuts of windows it was taken.
    pub(super) era: Era,
}

/// Who is a target.
#[derive(Debug)]
pub(super) enum Members {
    /// The processes that the run knows, and what they fork.
    Known,
    /// Every process.
    Everybody,
    /// Those that are in a target of an engine.
    OfTargets(Box<Membership>),
}

impl Members {
    /// Whether processes that nothing is known of are targets, too.
    pub(super) fn takes_everybody(&self) -> bool {
        match self {
            Members::Known => false,
            Members::Everybody => true,
            Members::OfTargets(membership) => membership.takes_everybody(),
        }
    }

    /// Whether a record is to be followed; if not, its process is none of theirs, or there is no room for it.
    pub(super) fn concerns(&mut self, record: &SideBand<'_>, processes: &Processes) -> bool {
        if !self.takes_everybody() && !processes.concerns_known(record) {
            return false;
        }
        let Members::OfTargets(membership) = self else {
            return true;
        };
        match record {
            SideBand::Fork {
                pid, parent_pid, ..
            } if pid != parent_pid && !membership.has_room(processes.len()) => {
                membership.refuse();
                membership.left(*pid);
                false
            }
            _ => true,
        }
    }

    /// Takes note of a record that has been applied to `processes`.
    pub(super) fn follow(&mut self, time: MonoNs, record: &SideBand<'_>, processes: &Processes) {
        let Members::OfTargets(membership) = self else {
            return;
        };
        match record {
            SideBand::Fork {
                pid, parent_pid, ..
            } if pid != parent_pid => membership.forked(*parent_pid, *pid, time),
            SideBand::Comm {
                pid, by_exec: true, ..
            } => membership.executed(*pid, time),
            SideBand::Exit { pid, .. } if processes.space(*pid).is_none() => {
                membership.ended(*pid, time);
            }
            _ => (),
        }
    }

    /// Whether a process that no record spoke of is a target all the same: every process if they all are, and else the child of one, whose
    /// fork record was lost.
    pub(super) fn may_adopt(&mut self, sample: &RawSample<'_>, processes: &Processes) -> bool {
        let pid = sample.pid;
        match self {
            Members::Known => processes
                .parent(pid)
                .is_some_and(|parent| processes.space(parent).is_some()),
            Members::Everybody => true,
            Members::OfTargets(membership) if !membership.has_room(processes.len()) => {
                membership.refuse();
                false
            }
            Members::OfTargets(membership) => {
                membership.found(pid) || membership.is_in_cgroup(pid, sample.cgroup)
            }
        }
    }

    /// What a sample counts for, or why it is lost.
    pub(super) fn group_of(&mut self, sampled: &Sampled) -> Result<GroupId, LossReason> {
        match self {
            Members::Known | Members::Everybody => Ok(GroupId::NONE),
            Members::OfTargets(membership) => membership.group_of(sampled),
        }
    }

    /// Notes that a sample is lost that would have counted for a group.
    pub(super) fn lose(&mut self, group: GroupId, sampled: &Sampled, why: LossReason) {
        if let Members::OfTargets(membership) = self {
            membership.lose(group, sampled, why);
        }
    }

    /// Those of an engine.
    pub(super) fn of_targets(&mut self) -> Option<&mut Membership> {
        match self {
            Members::OfTargets(membership) => Some(membership),
            Members::Known | Members::Everybody => None,
        }
    }
}
