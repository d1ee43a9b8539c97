//! Cuts of a target's windows that its engine was asked for, and what follows on them: a phase, snapshots.

use super::target::Ticket;
use crate::control::Since;
use crate::model::MonoNs;

/// A cut of the open window. What follows on it follows when all windows before it are there.
#[derive(Debug)]
pub struct PendingCut {
    /// By which the engine speaks of it; later cuts have higher ones.
    pub(super) token: u64,
    /// Who wants what there is until then. They come before the phase.
    pub(super) snapshots: Vec<PendingSnapshot>,
    /// What begins behind it.
    pub(super) mark: Option<PendingMark>,
}

/// A phase that begins with a cut.
#[derive(Clone, Debug)]
pub struct PendingMark {
    pub(super) phase: Option<String>,
    pub(super) ticket: Ticket,
    /// The first window of the phase, once its moment has come and that was said.
    pub(super) sequence: Option<u64>,
}

/// A snapshot that waits for a cut.
#[derive(Clone, Copy, Debug)]
pub struct PendingSnapshot {
    pub(super) since: Since,
    pub(super) ticket: Ticket,
    pub(super) asked_at: MonoNs,
}
