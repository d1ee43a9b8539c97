//! A target that an engine has: its counters, its open window, and what is to be done with it.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use nix::fcntl::AtFlags;
use nix::sys::stat::fstatat;

use super::TargetEnd;
use crate::model::{Cgroup, MonoNs, Pid, ProcessCounts, RunInfo};
use crate::sampler::counters::Counters;
use crate::session::era::Era;
use crate::sys::pidfd::PidFd;

/// Whom it takes in.
#[derive(Debug)]
pub(super) enum Whom {
    /// What was a process when it was attached to, and what that has forked.
    Process {
        pid: Pid,
        /// `None` when it has ended: others may be left.
        pidfd: Option<PidFd>,
        /// A moment at which it had its number, for who compares.
        since: MonoNs,
    },
    /// A cgroup.
    Cgroup {
        path: PathBuf,
        dir: File,
        cgroup: Cgroup,
    },
    /// Everybody.
    Host,
}

impl Whom {
    /// Whether it is a cgroup that has been removed.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Whom::Cgroup { dir, .. } => {
                fstatat(dir.as_fd(), "cgroup.procs", AtFlags::empty()).is_err()
            }
            Whom::Process { .. } | Whom::Host => false,
        }
    }
}

/// Why a window is closed before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Somebody wants to tell apart what comes before and behind.
    Cut(u64),
    /// The target ends.
    End(TargetEnd),
}

/// A target.
pub(super) struct HeldTarget {
    pub(super) whom: Whom,
    pub(super) run: Arc<RunInfo>,
    pub(super) counters: Counters,
    pub(super) counts_before: Vec<ProcessCounts>,
    /// Side-band records that the engine had lost when the window began.
    pub(super) side_band_before: u64,
    pub(super) sequence: u64,
    /// When the open window began.
    pub(super) start: MonoNs,
    /// What is to be closed, and when; in the order of time.
    pub(super) closings: VecDeque<(MonoNs, Closing)>,
    /// Cuts whose moment has come, and whose windows wait for samples that came before it.
    pub(super) cuts: VecDeque<Cut>,
}

/// A cut whose moment has come.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) token: u64,
    /// When it was asked for.
    pub(super) asked_at: MonoNs,
    /// Its window has what was taken until then, however late it is counted.
    pub(super) era: Era,
    /// Where its window ends.
    pub(super) until: Until,
}

/// The end of a window.
#[derive(Clone, Debug)]
pub(super) struct Until {
    pub(super) end: MonoNs,
    pub(super) counts: Vec<ProcessCounts>,
    /// Side-band records that the engine had lost.
    pub(super) side_band_lost: u64,
}

impl HeldTarget {
    /// Whether its end has been decided on.
    pub(super) fn is_ending(&self) -> bool {
        let last = self.closings.back();
        matches!(last, Some((_, Closing::End(_))))
    }

    /// Says in its next windows what is to be known of it.
    pub(super) fn note(&mut self, note: Option<&String>) {
        let new = note.filter(|note| !self.run.notes.contains(note));
        if let Some(new) = new {
            Arc::make_mut(&mut self.run).notes.push(new.clone());
        }
    }

    /// Ends it at `now`, unless that has been decided on.
    pub(super) fn end(&mut self, now: MonoNs, why: TargetEnd) {
        if !self.is_ending() {
            self.closings.push_back((now, Closing::End(why)));
        }
    }

    /// When it is to be closed before its time, if it is.
    pub(super) fn due(&self) -> Option<MonoNs> {
        let cut = self.cuts.front().map(|cut| cut.asked_at);
        cut.or(self.closings.front().map(|(at, _)| *at))
    }

    /// Takes out the next cut that was asked for by then, unless the end comes first: its token, and when it was asked for.
    pub(super) fn take_asked(&mut self, by: MonoNs) -> Option<(u64, MonoNs)> {
        match self.closings.front() {
            Some((at, Closing::Cut(token))) if *at <= by => {
                let asked = (*token, *at);
                self.closings.pop_front();
                Some(asked)
            }
            _ => None,
        }
    }

    /// Takes out its end, if that has been decided on for then or earlier, and no cut comes first.
    pub(super) fn take_end(&mut self, by: MonoNs) -> Option<TargetEnd> {
        match self.closings.front() {
            Some((at, Closing::End(why))) if *at <= by => {
                let why = *why;
                self.closings.pop_front();
                Some(why)
            }
            _ => None,
        }
    }

    /// How many of its cuts may be closed: from the first to the last of which nothing is waited for any more.
    pub(super) fn closable_cuts(&self, is_closable: impl Fn(&Cut) -> bool) -> usize {
        let cuts = self.cuts.iter();
        cuts.take_while(|cut| is_closable(cut)).count()
    }

    /// The end of its open window at `end`, with what is counted until now.
    pub(super) fn until(&mut self, end: MonoNs, side_band_lost: u64) -> anyhow::Result<Until> {
        Ok(Until {
            end,
            counts: self.counters.read()?,
            side_band_lost,
        })
    }
}
