//! The file of a target that is not written yet: windows put together in memory.

use std::borrow::Cow;
use std::sync::Arc;

use crate::aggregate;
use crate::model::{FrameName, Ledger, LossReason, Profile, Row, Weight};
use crate::sink::pprof::Labels;

/// Windows that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) labels: Labels,
    pub(super) profile: Option<Profile>,
    /// What the stacks take in memory.
    pub(super) bytes: u64,
    n_windows: u64,
    dropped: Dropped,
    /// Whether no window follows.
    pub(super) has_ended: bool,
}

/// What was dropped since the last file.
#[derive(Debug, Default)]
struct Dropped {
    n_windows: u64,
    /// The account, in the order of the events of the run that was dropped first.
    account: Option<Profile>,
}

impl Pending {
    pub(super) fn new(labels: Labels) -> Pending {
        Pending {
            labels,
            ..Pending::default()
        }
    }

    /// Adds a window; a run that it is the last of goes on as far as files are concerned.
    pub(super) fn add(&mut self, window: &Profile) {
        match &mut self.profile {
            None => self.profile = Some(window.clone()),
            Some(all) => aggregate::merge_into(all, window),
        }
        if let Some(profile) = &mut self.profile {
            profile.whole_run = None;
            self.bytes = bytes_of(profile);
        }
        self.n_windows += 1;
    }

    /// Nanoseconds from the first window's start to the last one's end.
    pub(super) fn length_ns(&self) -> u64 {
        let span = self.profile.as_ref().map(|profile| profile.span);
        span.map_or(0, |span| span.end.0.saturating_sub(span.start.0))
    }

    /// When the first window began, in nanoseconds since the Unix epoch.
    pub(super) fn start_unix_ns(&self) -> u64 {
        let profile = self.profile.as_ref().or(self.dropped.account.as_ref());
        profile.map_or(0, |profile| profile.span.start_unix_ns)
    }

    /// What is to be written: the windows, and on their ledger what was dropped before them.
    pub(super) fn to_write(&self) -> Option<Cow<'_, Profile>> {
        let (Some(dropped), profile) = (&self.dropped.account, &self.profile) else {
            return self.profile.as_ref().map(Cow::Borrowed);
        };
        let mut whole = dropped.clone();
        if let Some(profile) = profile {
            aggregate::merge_into(&mut whole, profile);
            whole.span = profile.span;
            let run = Arc::make_mut(&mut whole.run);
            run.target.clone_from(&profile.run.target);
        }
        let note = format!(
            "{} windows could not be written: their counts are in the ledger, their stacks are not here",
            self.dropped.n_windows
        );
        Arc::make_mut(&mut whole.run).notes.push(note);
        Some(Cow::Owned(whole))
    }

    /// All that waited is written.
    pub(super) fn written(&mut self) {
        *self = Pending::new(std::mem::take(&mut self.labels));
    }

    /// Drops the stacks and keeps the account.
    pub(super) fn drop_stacks(&mut self) {
        let Some(mut profile) = self.profile.take() else {
            return;
        };
        profile.rows = Vec::new();
        not_stored(&mut profile.ledger);
        match &mut self.dropped.account {
            None => self.dropped.account = Some(profile),
            Some(account) => {
                // Notes repeat, and a disk may be full for long.
                aggregate::merge_into(account, &profile);
            }
        }
        self.dropped.n_windows += std::mem::take(&mut self.n_windows);
        self.bytes = 0;
    }

    /// Whether there is nothing to tell in a next file.
    pub(super) fn is_empty(&self) -> bool {
        self.profile.is_none() && self.dropped.account.is_none()
    }

    /// Takes over what another one has dropped.
    pub(super) fn inherit(&mut self, mut earlier: Pending) {
        earlier.drop_stacks();
        self.dropped = earlier.dropped;
    }
}

/// Delivered samples become lost ones: they are in no file.
fn not_stored(ledger: &mut Ledger) {
    for event in &mut ledger.events {
        let delivered = std::mem::take(&mut event.delivered);
        event.sampled_weight = 0;
        event.lose(LossReason::NotStored, delivered);
    }
    // The walks that ended, and the frames without a name, are those of stacks that are gone.
    ledger.stacks = Default::default();
    ledger.rate_changes.clear();
}

/// What rows take, without the names, which they share with others.
fn bytes_of(profile: &Profile) -> u64 {
    let rows = profile.rows.iter().map(|row| {
        size_of::<Row>()
            + row.frames.len() * size_of::<FrameName>()
            + row.weights.len() * size_of::<Weight>()
    });
    rows.map(|bytes| bytes as u64).sum()
}
