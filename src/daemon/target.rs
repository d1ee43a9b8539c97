//! What the daemon knows of a target.

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::FxHashSet;

use super::clients::ClientId;
use super::config::Sampling;
use super::engines::EngineId;
use super::kept::Kept;
use super::pending_cut::{PendingCut, PendingSnapshot};
use super::selector::Selector;
use crate::control::EndReason;
use crate::model::{MonoNs, Pid, Profile, TargetId};
use crate::session::engine::Authority;
use crate::sys;
use crate::sys::pidfd::PidFd;

/// The first pause after a failure, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Who has asked for a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The configuration.
    Configuration,
    /// A user.
    User {
        /// Who.
        uid: u32,
    },
}

/// A number under which who has asked waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// What a target is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing of it runs, or its engine has failed: it is looked for, from then on.
    Waiting {
        /// Not before.
        until: MonoNs,
    },
    /// An engine has it, or has been asked to.
    With {
        /// Which.
        engine: EngineId,
        /// Under which number the engine knows it: another after each restart.
        part: TargetId,
        /// The target's number of the window that the engine calls 0.
        first_window: u64,
        /// Questions that the engine has not answered yet.
        unanswered: u32,
        /// Whether it has answered one with yes.
        is_attached: bool,
    },
}

/// Figures of a target since it was attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Windows.
    pub windows: u64,
    /// Samples, of all events.
    pub samples: u64,
    /// Lost ones whose loss is known to be this target's.
    pub lost: u64,
    /// By event: what it has counted, where all of it was counted.
    pub counted: Vec<(String, u64)>,
}

/// A target.
#[derive(Debug)]
pub struct Target {
    pub(super) id: TargetId,
    pub(super) name: String,
    pub(super) selector: Selector,
    pub(super) sampling: Sampling,
    pub(super) owner: Owner,
    pub(super) authority: Authority,
    pub(super) with_tree: bool,
    /// The connection that it ends with, if it does.
    pub(super) ends_with: Option<ClientId>,
    pub(super) files: bool,
    pub(super) since: MonoNs,
    pub(super) state: State,
    /// Who waits for the first answer of the engine.
    pub(super) asked: Option<Ticket>,
    /// Why it is to end, once its last window is there.
    pub(super) ending: Option<EndReason>,
    /// That of the next window.
    pub(super) phase: Option<String>,
    /// Cuts that its engine was asked for, and whose windows are not all there.
    pub(super) cuts: VecDeque<PendingCut>,
    /// Those that wait for the next cut.
    pub(super) snapshots: Vec<PendingSnapshot>,
    /// The number of the next window.
    pub(super) sequence: u64,
    pub(super) kept: Kept,
    pub(super) totals: Totals,
    /// The process of a pid, to take it up again after an engine's failure.
    pub(super) held: Option<PidFd>,
    /// Processes of a name that an engine was given.
    pub(super) given: FxHashSet<Pid>,
    /// Failures in a row.
    pub(super) failures: u32,
    /// What was said of its trouble last, so that it is said once.
    pub(super) said: Option<String>,
    /// What its engine said when it was attached.
    pub(super) events: Vec<String>,
}

impl Target {
    /// One that is looked for from now on; nothing of it is kept in files, and it ends with nobody.
    pub(super) fn waiting(
        id: TargetId,
        name: String,
        selector: Selector,
        sampling: Sampling,
        owner: Owner,
        authority: Authority,
        kept: Kept,
    ) -> Target {
        let since = sys::now();
        Target {
            id,
            name,
            selector,
            sampling,
            owner,
            authority,
            with_tree: true,
            ends_with: None,
            files: false,
            since,
            state: State::Waiting { until: since },
            asked: None,
            ending: None,
            phase: None,
            cuts: VecDeque::new(),
            snapshots: Vec::new(),
            sequence: 0,
            kept,
            totals: Totals::default(),
            held: None,
            given: FxHashSet::default(),
            failures: 0,
            said: None,
            events: Vec::new(),
        }
    }

    /// Its number.
    pub fn id(&self) -> TargetId {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it is.
    pub fn selector(&self) -> &Selector {
        &self.selector
    }

    /// Who has asked for it.
    pub fn owner(&self) -> Owner {
        self.owner
    }

    /// Whether it is being sampled.
    pub fn is_running(&self) -> bool {
        matches!(
            self.state,
            State::With {
                is_attached: true,
                ..
            }
        )
    }

    /// Why it waits, if not for want of something that runs.
    pub fn why_not(&self) -> Option<&str> {
        let said = self.said.as_deref().filter(|_| !self.is_running());
        said.filter(|why| !why.is_empty())
    }

    /// Whether samples in kernel mode are not for who has asked for it.
    pub fn leaves_out_kernel(&self) -> bool {
        matches!(self.authority, Authority::User { kernel: false, .. })
    }

    /// The phase of what is sampled now, and the number of the first window that it can be in: windows before it may still be on their way.
    pub fn present(&self) -> (Option<&str>, u64) {
        let marks = self.cuts.iter().rev().filter_map(|cut| cut.mark.as_ref());
        let mut begun = marks.filter_map(|mark| Some((mark.phase.as_deref(), mark.sequence?)));
        begun
            .next()
            .unwrap_or((self.phase.as_deref(), self.sequence))
    }

    /// The number of the next window.
    pub fn next_window(&self) -> u64 {
        self.sequence
    }

    /// When it was asked for.
    pub fn since(&self) -> MonoNs {
        self.since
    }

    /// Its figures.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The events as they are sampled; as they were asked for before it runs.
    pub fn events(&self) -> Vec<String> {
        match self.events.is_empty() {
            true => self
                .sampling
                .events
                .iter()
                .map(ToString::to_string)
                .collect(),
            false => self.events.clone(),
        }
    }

    /// Whether its end has been decided on, and its last window is awaited.
    pub fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Whether it lives on without the connection that asked for it.
    pub fn is_kept(&self) -> bool {
        self.ends_with.is_none()
    }

    /// Whether its windows go to files.
    pub fn has_files(&self) -> bool {
        self.files
    }

    /// What there is of it so far.
    pub fn kept(&self) -> &Kept {
        &self.kept
    }

    /// It is looked for again after a pause, which grows with each failure in a row.
    pub(super) fn pause(&mut self, now: MonoNs) {
        let factor = 1u32 << self.failures.min(6);
        self.failures += 1;
        self.state = State::Waiting {
            until: now.plus((FIRST_PAUSE * factor).min(LONGEST_PAUSE)),
        };
        self.given.clear();
    }

    /// It is looked for at the next look.
    pub(super) fn wait(&mut self, now: MonoNs) {
        self.state = State::Waiting { until: now };
        self.given.clear();
    }

    /// Takes note of a window.
    pub(super) fn count(&mut self, window: &Profile) {
        self.failures = 0;
        self.sequence = window.span.sequence + 1;
        self.totals.windows += 1;
        for (event, ledger) in window.run.events.iter().zip(&window.ledger.events) {
            self.totals.samples += ledger.delivered;
            let lost: i64 = ledger.lost.values().sum();
            self.totals.lost += u64::try_from(lost).unwrap_or(0);
            let name = event.spec.to_string();
            if !self.totals.counted.iter().any(|(known, _)| *known == name) {
                self.totals.counted.push((name, 0));
            }
        }
        for count in window.processes.iter().flat_map(|process| &process.counts) {
            let name = count.event.to_string();
            let value = count.scaled().unwrap_or(0);
            match self
                .totals
                .counted
                .iter_mut()
                .find(|(known, _)| *known == name)
            {
                Some((_, sum)) => *sum = sum.saturating_add(value),
                None => self.totals.counted.push((name, value)),
            }
        }
        self.kept.add(window);
    }
}
