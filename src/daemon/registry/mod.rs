//! The targets: who has asked for them, which engine has them, what becomes of their windows.
//!
//! Nothing here waits, and nothing here decides who may ask: whoever is asked has been authorised. What there is to say is kept in order until it
//! is taken ([`Registry::next_said`]); a call never says anything by itself.
//!
//! ```text
//! Waiting ──found──▶ With an engine ──its processes end──▶ Waiting (configured), or ended
//!    ▲                   │  ▲ detach, client gone, not configured any more ──▶ last window ──▶ ended
//!    └──pause── engine failed
//! ```

mod asking;
mod cutting;
mod hearing;
mod looking;
mod reload;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::config::Config;
use super::engines::{EngineId, Engines, Way};
use super::finder::Finder;
use super::kept::Sum;
use super::settings::Settings;
use super::target::Target;
use crate::control::EndReason;
use crate::model::{Fault, FaultClass, Profile, TargetId};
use crate::session::engine::EngineStats;
use crate::sys::Waker;

pub use super::target::{Owner, Ticket};
pub use asking::Asked;
pub use reload::Reloaded;

/// What the registry has to say.
#[derive(Debug)]
pub enum Said {
    /// A target runs: who has asked for it has the answer.
    Attached {
        /// Which.
        target: TargetId,
        /// Who waits; nobody for a configured one.
        ticket: Option<Ticket>,
        /// What its engine had to say.
        notes: Vec<String>,
    },
    /// What was asked for cannot be; there is no target.
    Refused {
        /// Which it would have been.
        target: TargetId,
        /// Who waits.
        ticket: Option<Ticket>,
        /// Why.
        fault: Fault,
    },
    /// A window.
    Window {
        /// Whose.
        target: TargetId,
        /// In which phase; the number of the window is the target's.
        phase: Option<String>,
        /// What is in it.
        profile: Arc<Profile>,
    },
    /// The moment of a mark has come: what is sampled from now on is of the new phase. Windows of the one before may still be on their way.
    Marked {
        /// Whose.
        target: TargetId,
        /// Who waits.
        ticket: Ticket,
        /// The new phase; `None`: the one before has ended, and none begins.
        phase: Option<String>,
        /// The first window of the new phase.
        sequence: u64,
    },
    /// What there is of a target until the moment when that was asked for, or a later one.
    SoFar {
        /// Whose.
        target: TargetId,
        /// Who waits.
        ticket: Ticket,
        /// Windows put together; `None` if there was none.
        sum: Option<Arc<Sum>>,
        /// The present phase, if it is that of all of them.
        phase: Option<String>,
        /// How long before the request they end, if names of what was sampled since take too long.
        lacks: Option<Duration>,
    },
    /// A configured target has ended for now, and is looked for.
    Waits {
        /// Which.
        target: TargetId,
        /// Why: its own end, or trouble.
        why: Option<Fault>,
    },
    /// A target has ended for good.
    Ended {
        /// What there was of it.
        target: Box<Target>,
        /// Why.
        reason: EndReason,
    },
    /// An engine was started.
    EngineStarted(EngineId, Box<Way>),
    /// An engine has ended, with its account if it said one.
    EngineEnded(EngineId, Option<Fault>),
}

/// The targets and their engines.
#[derive(Debug)]
pub struct Registry {
    config: Config,
    engines: Engines,
    targets: BTreeMap<TargetId, Target>,
    /// By the number under which an engine knows it.
    parts: FxHashMap<TargetId, TargetId>,
    finder: Finder,
    next: u32,
    next_part: u32,
    next_token: u64,
    said: VecDeque<Said>,
    /// Final accounts of engines that have ended.
    past: Vec<(Vec<String>, EngineStats)>,
    /// Time of BPF programs of all engines that have ended, in nanoseconds; `None` if none of them had any.
    past_bpf_ns: Option<u64>,
    /// Whether the daemon ends: nothing new is taken in.
    is_stopping: bool,
}

impl Registry {
    /// The configured targets, looked for at the first look. Engines wake `waker`.
    pub fn new(config: Config, settings: Arc<Settings>, waker: Waker) -> Registry {
        let mut registry = Registry {
            finder: Finder::new(&settings.roots),
            engines: Engines::new(settings, waker),
            config,
            targets: BTreeMap::new(),
            parts: FxHashMap::default(),
            next: 1,
            next_part: 1,
            next_token: 1,
            said: VecDeque::new(),
            past: Vec::new(),
            past_bpf_ns: None,
            is_stopping: false,
        };
        registry.add_configured();
        registry
    }

    /// The next thing it has to say.
    pub fn next_said(&mut self) -> Option<Said> {
        self.said.pop_front()
    }

    /// The present configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// A target by its number; ended ones are forgotten.
    ///
    /// # Errors
    /// There is none.
    pub fn target(&self, id: TargetId) -> Result<&Target, Fault> {
        self.targets.get(&id).ok_or_else(|| no_such(id))
    }

    /// All of them, by number.
    pub fn targets(&self) -> impl Iterator<Item = &Target> {
        self.targets.values()
    }

    /// The engines that run, and how they are.
    pub fn engines(&self) -> Vec<(EngineId, &Way, EngineStats)> {
        self.engines.stats()
    }

    /// The events of an engine, as they are sampled.
    pub fn events_of(&self, engine: EngineId) -> Vec<String> {
        self.engines.events(engine)
    }

    /// The last accounts of engines that have ended, with the events that they are about; those of the same events are one.
    pub fn past(&self) -> &[(Vec<String>, EngineStats)] {
        &self.past
    }

    /// Time of the BPF programs of engines that have ended, in nanoseconds, if it was measured.
    pub fn past_bpf_ns(&self) -> Option<u64> {
        self.past_bpf_ns
    }

    /// Whether nothing is sampled any more, and all of it has been said.
    pub fn is_over(&self) -> bool {
        self.is_stopping
            && self.targets.is_empty()
            && self.engines.is_empty()
            && self.said.is_empty()
    }

    /// A number for a target.
    fn new_id(&mut self) -> TargetId {
        taken_from(&mut self.next)
    }

    /// A number under which an engine knows a target.
    fn new_part(&mut self) -> TargetId {
        taken_from(&mut self.next_part)
    }

    fn say(&mut self, said: Said) {
        self.said.push_back(said);
    }
}

/// The next number; it is never used again.
fn taken_from(next: &mut u32) -> TargetId {
    let id = TargetId(*next);
    // A second one would have to be taken in each microsecond for an hour.
    *next = next.saturating_add(1);
    id
}

fn no_such(id: TargetId) -> Fault {
    Fault::new(FaultClass::NoSuchTarget, format!("no target {}", id.0)).hint("try: perfd ctl list")
}
