//! What an engine says.

use std::sync::Arc;

use super::{EngineStats, TargetEnd};
use crate::model::{Fault, Profile, SampledEvent, TargetId};

/// What an engine says: first that it is open; of each target in this order: attached, windows and cuts, ended.
#[derive(Debug)]
pub enum EngineEvent {
    /// It samples from now on: these events. Without that, each target is refused with the reason.
    Opened(Vec<SampledEvent>),
    /// A target has been taken in: its samples count from now on.
    Attached {
        /// Which.
        target: TargetId,
        /// What who has asked for it should know.
        notes: Vec<String>,
    },
    /// A target could not be taken in. Nothing more comes of it.
    Refused {
        /// Which.
        target: TargetId,
        /// Why.
        fault: Fault,
    },
    /// The moment of a cut of a target has come: all that was sampled before is in windows before this one, which may still have to wait for names;
    /// what is sampled from now on is in this one or a later one. It is said ahead of windows that are not named yet.
    Cut {
        /// Which.
        target: TargetId,
        /// That of the cut.
        token: u64,
        /// The first window behind it.
        sequence: u64,
    },
    /// A window of a target is closed.
    Window(TargetWindow),
    /// A target has ended; its last window has come before.
    Ended {
        /// Which.
        target: TargetId,
        /// Why.
        why: TargetEnd,
    },
    /// The engine cannot go on. The ends of its targets have come before.
    Failed(Fault),
    /// The engine has ended, which is the last that it says: its account of all samples.
    Finished(Box<EngineStats>),
}

/// What was sampled of a target in a window of time. Windows follow each other without a gap: each begins where the one before ended.
#[derive(Clone, Debug)]
pub struct TargetWindow {
    /// Whose.
    pub target: TargetId,
    /// Rows bear process and thread. The number of the window is the target's own, from 0 on.
    pub profile: Arc<Profile>,
    /// The token of the cut that has closed it, if one has: all that was sampled before is in this window or an earlier one.
    pub cut: Option<u64>,
}
