//! The handle of an engine: what can be asked of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::looping::{Ends, Looping, as_fault};
use super::voice::Answers;
use super::{Authority, EngineEvent, EngineSpec, EngineStats, Member};
use crate::model::{Fault, TargetId};
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
            .spawn(move || run(spec, ends))
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

    /// Cuts the target's open window now: all that was sampled before is in the window that bears the token, or in an earlier one, and what is
    /// sampled behind [`EngineEvent::Cut`] is in a later one. A target that has ended meanwhile is not cut.
    pub fn cut(&self, target: TargetId, token: u64) {
        self.ask(Command::Cut(target, token));
    }

    /// How it was at the last window, or at its start.
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

/// An engine from its beginning to its end.
fn run(spec: EngineSpec, ends: Ends) {
    let answers = Answers::new(ends.events.clone(), ends.heard.clone());
    let commands = ends.commands.clone();
    match Looping::open(spec, ends) {
        Ok(mut looping) => {
            let opened = EngineEvent::Opened(looping.sampled_events());
            looping.answers.push(opened);
            looping.until_end();
        }
        Err(error) => {
            let fault = Fault {
                what: format!("{error:#}"),
                ..as_fault(&error)
            };
            refuse_all(&fault, &commands, answers);
        }
    }
}

/// What an engine does that could not be opened, until nobody holds it any more.
fn refuse_all(fault: &Fault, commands: &Receiver<Command>, mut answers: Answers) {
    for command in commands {
        if let Command::Attach(target, ..) = command {
            let fault = fault.clone();
            answers.push(EngineEvent::Refused { target, fault });
        }
    }
    answers.finish();
}
