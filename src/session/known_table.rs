//! What is known of the table of one module, and when it was of use.

use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::table_cache::{CopyId, Place, Use};
use crate::bpf::LoadedTable;
use crate::model::{ModuleId, MonoNs};
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

/// How much copies are used, of the modules that are known.
pub(super) fn usage<'a>(
    modules: &'a [Known],
    loaded: &'a FxHashMap<Fingerprint, Option<LoadedTable>>,
    mapped: &'a FxHashSet<ModuleId>,
) -> impl Fn(CopyId, &[ModuleId]) -> Use + 'a {
    move |copy, ids| {
        let used = |id: &ModuleId| match copy.place {
            Place::Perfd => modules[id.0 as usize].in_perfd.used,
            Place::Kernel => modules[id.0 as usize].in_kernel.used,
        };
        let is_on_its_way =
            copy.place == Place::Kernel && matches!(loaded.get(&copy.table), Some(None));
        match is_on_its_way {
            true => Use::IN_WORK,
            false => Use {
                is_mapped: ids.iter().any(|id| mapped.contains(id)),
                last: ids.iter().map(used).max().unwrap_or(MonoNs(0)),
            },
        }
    }
}
