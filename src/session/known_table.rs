//! What is known of the table of one module, and when it was of use.

use std::sync::Arc;
use std::time::Duration;

use super::table_cache::Place;
use crate::model::MonoNs;
use crate::unwind::{Fingerprint, Table};

/// Unused for so long a copy is idle. What is in use longer than the budget allows is built anew once in that time at most.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// Where it stands.
pub(super) enum State {
    /// Nobody has asked for it, or it was evicted.
    Unknown,
    Pending,
    Ready(Fingerprint, Arc<Table>),
    /// There is none and never will be.
    None,
}

/// What is known of a module.
pub(super) struct Known {
    pub(super) state: State,
    /// Whether a sample waits for its table.
    pub(super) is_needed: bool,
    pub(super) in_perfd: Presence,
    pub(super) in_kernel: Presence,
}

/// What is known of a module in one place.
#[derive(Clone, Copy)]
pub(super) struct Presence {
    /// When it was used last.
    pub(super) used: MonoNs,
    /// When there was no room for its table, if there has been none since.
    pub(super) refused: Option<MonoNs>,
}

impl Default for Known {
    fn default() -> Known {
        Known {
            state: State::Unknown,
            is_needed: false,
            in_perfd: Presence::since(MonoNs(0)),
            in_kernel: Presence::since(MonoNs(0)),
        }
    }
}

impl Known {
    pub(super) fn at(&mut self, place: Place) -> &mut Presence {
        match place {
            Place::Perfd => &mut self.in_perfd,
            Place::Kernel => &mut self.in_kernel,
        }
    }
}

impl Presence {
    pub(super) fn since(now: MonoNs) -> Presence {
        Presence {
            used: now,
            refused: None,
        }
    }

    /// What was refused is tried again when all that was in use then may be idle.
    pub(super) fn may_try(&self, now: MonoNs) -> bool {
        self.refused.is_none_or(|at| at.plus(IDLE) <= now)
    }
}
