//! The handle of an engine: what can be asked of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context;
use crossbeam_channel::{Sender, bounded};

use super::looping::{Ends, Looping};
use super::{Authority, EngineEvent, EngineSpec, EngineStats, Member};
use crate::model::TargetId;
use crate::sys::Waker;

/// What may be asked before the engine has taken note; who asks for more waits.
const QUEUE: usize = 256;

/// What is asked of an engine.
#[derive(Debug)]
pub(super) enum Command {
    Attach(TargetId, Member, Authority),
    Detach(TargetId),
    Cut(TargetId, u64),
}

/// An engine at work. Dropping it ends it, without waiting: the last windows of all targets follow, then their ends, and when all that is over
/// its sender of events is dropped.
#[derive(Debug)]
pub struct Engine {
    /// `None` while it is dropped.
    commands: Option<Sender<Command>>,
    waker: Waker,
    stats: Arc<Mutex<EngineStats>>,
}

impl Engine {
    /// Starts the engine's thread, which opens everything: that takes some 0.1 s, in which targets can be attached to already. What it has to
    /// say comes through `events`, and `waker` is woken for it.
    ///
    /// What cannot be opened on this host is said of each target, as the fault with which it is refused.
    /// Where `events` is full, windows grow longer and answers wait; sampling goes on.
    ///
    /// # Errors
    /// There is no thread or no descriptor for it.
    pub fn start(
        spec: EngineSpec,
        events: Sender<EngineEvent>,
        waker: Waker,
    ) -> anyhow::Result<Engine> {
        let (commands, inbox) = bounded(QUEUE);
        let own_waker = Waker::new().context("create an eventfd")?;
        let stats = Arc::new(Mutex::new(EngineStats::default()));
        let ends = Ends {
            commands: inbox,
            waker: own_waker.clone(),
            events,
            heard: waker,
            stats: stats.clone(),
        };
        thread::Builder::new()
            .name("perfd-engine".to_owned())
            .spawn(move || Looping::run(spec, ends))
            .context("start the engine's thread")?;
        Ok(Engine {
            commands: Some(commands),
            waker: own_waker,
            stats,
        })
    }

    /// Takes a target in; or one more process, into a target of processes that the engine has. The answer is [`EngineEvent::Attached`] or [`EngineEvent::Refused`].
    pub fn attach(&self, target: TargetId, member: Member, authority: Authority) {
        self.ask(Command::Attach(target, member, authority));
    }

    /// Ends a target: its last window follows, and then [`EngineEvent::Ended`].
    pub fn detach(&self, target: TargetId) {
        self.ask(Command::Detach(target));
    }

    /// Closes the target's open window now: all that was sampled before is in the window that bears the token, or in an earlier one.
    pub fn cut(&self, target: TargetId, token: u64) {
        self.ask(Command::Cut(target, token));
    }

    /// How it was at the last window.
    pub fn stats(&self) -> EngineStats {
        let stats = self.stats.lock();
        stats.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // Fails when the engine has failed, and has said so.
            let _ = commands.send(command);
            self.waker.wake();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.commands.take());
        self.waker.wake();
    }
}
