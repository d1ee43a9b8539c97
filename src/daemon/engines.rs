//! The engines of the daemon: one for each way of sampling that some target asks for, started for its first and ended behind its last.

use std::sync::Arc;

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::config::{Config, Names, Sampling};
use super::settings::Settings;
use crate::model::{Fault, FaultClass, Rate, TargetId};
use crate::session::engine::{Authority, Engine, EngineEvent, EngineStats, Limits, Member};
use crate::session::engine::{EngineSpec, Sampling as EngineSampling};
use crate::session::{Backend, EventChoice};
use crate::sys::Waker;

/// What an engine may have said before it is heard; then its windows grow longer.
const QUEUE: usize = 256;

/// An engine's number; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineId(pub u32);

/// All that targets of one engine have in common. Ways are the same that differ in limits alone: an engine keeps those that it began with.
#[derive(Clone, Debug)]
pub struct Way {
    /// What is sampled.
    pub sampling: Sampling,
    window: std::time::Duration,
    names: Names,
    limits: super::config::Limits,
}

impl PartialEq for Way {
    fn eq(&self, other: &Way) -> bool {
        (&self.sampling, self.window, self.names) == (&other.sampling, other.window, other.names)
    }
}

impl Way {
    /// This sampling under this configuration.
    pub fn new(sampling: Sampling, config: &Config) -> Way {
        Way {
            sampling,
            window: config.window,
            names: config.names,
            limits: config.limits,
        }
    }

    /// Length of its windows.
    pub fn window(&self) -> std::time::Duration {
        self.window
    }
}

/// What an engine said.
#[derive(Debug)]
pub enum Heard {
    /// Something.
    Event(EngineEvent),
    /// Its last word: it has ended as it was told, or without being told.
    Gone(Expected),
}

/// Whether somebody wanted it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Its last target had left.
    Yes,
    /// It broke off.
    No,
}

#[derive(Debug)]
struct Running {
    id: EngineId,
    way: Way,
    /// `None` while it drains.
    engine: Option<Engine>,
    /// How it was when that began, until it has given its last account: totals do not fall meanwhile.
    drains: Option<EngineStats>,
    events: Receiver<EngineEvent>,
    /// The events as they are sampled; none until it is open.
    sampled: Vec<String>,
    /// Targets that it has or was given.
    n_targets: usize,
}

impl Running {
    /// Nothing more is given to it: it drains and ends. Whether that is new.
    fn drain(&mut self) -> bool {
        match self.engine.take() {
            Some(engine) => {
                self.drains = Some(engine.stats());
                true
            }
            None => false,
        }
    }
}

/// A sampling of the configuration as an engine takes it.
pub fn engine_sampling(sampling: &Sampling) -> EngineSampling {
    EngineSampling {
        events: match sampling.events.is_empty() {
            true => EventChoice::Default,
            false => EventChoice::Asked(sampling.events.clone()),
        },
        rate: Rate::Frequency(sampling.frequency),
        python: sampling.python,
    }
}

/// The engines that run.
#[derive(Debug)]
pub struct Engines {
    settings: Arc<Settings>,
    waker: Waker,
    running: Vec<Running>,
    next: u32,
}

impl Engines {
    /// None yet. They wake `waker` when they have said something.
    pub fn new(settings: Arc<Settings>, waker: Waker) -> Engines {
        Engines {
            settings,
            waker,
            running: Vec::new(),
            next: 1,
        }
    }

    /// The engine for a target of this way, started if there is none; and whether it was.
    ///
    /// # Errors
    /// There are as many as may be, or there is no thread for it.
    pub fn engine_for(&mut self, way: &Way) -> Result<(EngineId, bool), Fault> {
        let fits = |running: &&mut Running| running.engine.is_some() && running.way == *way;
        if let Some(running) = self.running.iter_mut().find(fits) {
            running.n_targets += 1;
            return Ok((running.id, false));
        }
        let alive = self
            .running
            .iter()
            .filter(|running| running.engine.is_some());
        let (n_alive, most) = (alive.count(), way.limits.engines);
        if n_alive >= most {
            let what =
                format!("{n_alive} different samplings are in use; limits.engines is {most}");
            return Err(Fault::new(FaultClass::Limit, what)
                .hint("try: the events, frequency and python of a target that is there"));
        }
        let (sender, events) = bounded(QUEUE);
        let spec = self.spec(way);
        // What cannot be opened is said later, of each target.
        let engine = Engine::start(spec, sender, self.waker.clone())
            .map_err(|error| Fault::new(FaultClass::System, format!("{error:#}")))?;
        let id = EngineId(self.next);
        self.next += 1;
        self.running.push(Running {
            id,
            way: way.clone(),
            sampled: Vec::new(),
            engine: Some(engine),
            drains: None,
            events,
            n_targets: 1,
        });
        Ok((id, true))
    }

    fn spec(&self, way: &Way) -> EngineSpec {
        EngineSpec {
            sampling: engine_sampling(&way.sampling),
            naming: self.settings.naming(way.names),
            backend: Backend::Auto,
            parsing: self.settings.parsing.clone(),
            interval: way.window,
            ring_pages: None,
            table_budget: way.limits.tables,
            limits: Limits {
                targets: way.limits.targets.saturating_mul(2),
                processes: way.limits.processes,
                ..Limits::default()
            },
            roots: self.settings.roots.clone(),
        }
    }

    /// Gives a target to an engine. It answers with an event.
    pub fn attach(&self, engine: EngineId, target: TargetId, member: Member, authority: Authority) {
        if let Some(engine) = self.get(engine) {
            engine.attach(target, member, authority);
        }
    }

    /// The events of an engine, as they are sampled; none until it is open, which is before it has taken in any target.
    pub fn events(&self, engine: EngineId) -> Vec<String> {
        let mut running = self.running.iter();
        let running = running.find(|running| running.id == engine);
        running
            .map(|running| running.sampled.clone())
            .unwrap_or_default()
    }

    /// Ends a target of an engine.
    pub fn detach(&self, engine: EngineId, target: TargetId) {
        if let Some(engine) = self.get(engine) {
            engine.detach(target);
        }
    }

    /// Closes a target's window.
    pub fn cut(&self, engine: EngineId, target: TargetId, token: u64) {
        if let Some(engine) = self.get(engine) {
            engine.cut(target, token);
        }
    }

    /// A target of an engine has ended; without targets it drains and ends. Whether it does.
    pub fn leave(&mut self, engine: EngineId) -> bool {
        let mut running = self.running.iter_mut();
        let Some(running) = running.find(|running| running.id == engine) else {
            return false;
        };
        running.n_targets = running.n_targets.saturating_sub(1);
        running.n_targets == 0 && running.drain()
    }

    /// The next thing that any of them has said.
    pub fn next_event(&mut self) -> Option<(EngineId, Heard)> {
        for at in 0..self.running.len() {
            let running = &mut self.running[at];
            let mut said = running.events.try_recv();
            if let Ok(EngineEvent::Opened(events)) = said {
                running.sampled = events.iter().map(|event| event.spec.to_string()).collect();
                said = running.events.try_recv();
            }
            if let Ok(EngineEvent::Finished(_)) = said {
                running.drains = None;
            }
            match said {
                Ok(event) => return Some((running.id, Heard::Event(event))),
                Err(TryRecvError::Empty) => (),
                Err(TryRecvError::Disconnected) => {
                    let gone = self.running.remove(at);
                    let expected = match gone.engine {
                        None => Expected::Yes,
                        Some(_) => Expected::No,
                    };
                    return Some((gone.id, Heard::Gone(expected)));
                }
            }
        }
        None
    }

    /// An engine has failed: nothing more is given to it.
    pub fn give_up(&mut self, engine: EngineId) {
        let mut running = self.running.iter_mut();
        if let Some(running) = running.find(|running| running.id == engine) {
            running.drain();
        }
    }

    /// Whether all have ended.
    pub fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// How those are that have not given their last account.
    pub fn stats(&self) -> Vec<(EngineId, &Way, EngineStats)> {
        let of = |running: &'_ Running| {
            let stats = running.engine.as_ref().map(Engine::stats);
            Some((running.id, stats.or_else(|| running.drains.clone())?))
        };
        let running = self.running.iter();
        running
            .filter_map(|running| of(running).map(|(id, stats)| (id, &running.way, stats)))
            .collect()
    }

    fn get(&self, engine: EngineId) -> Option<&Engine> {
        let mut running = self.running.iter();
        running
            .find(|running| running.id == engine)?
            .engine
            .as_ref()
    }
}
