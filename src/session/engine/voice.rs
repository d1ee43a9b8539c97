//! What an engine says, on its way to who holds it: from the names thread in order, and answers straight from the loop.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use super::{EngineEvent, TargetWindow};
use crate::model::{NamedSample, Profile};
use crate::session::names::{Destination, Names};
use crate::session::window_of_target::OfTarget;
use crate::sys::Waker;

/// The names thread's end: it waits where nobody takes what it says.
pub(super) struct Voice {
    events: Sender<EngineEvent>,
    waker: Waker,
    /// Who has spoken before, and may have something left to say.
    before: Option<Receiver<Names<Voice>>>,
}

impl Voice {
    pub(super) fn new(
        events: Sender<EngineEvent>,
        waker: Waker,
        before: Option<Receiver<Names<Voice>>>,
    ) -> Voice {
        Voice {
            events,
            waker,
            before,
        }
    }

    fn send(&mut self, event: EngineEvent) {
        if let Some(before) = self.before.take()
            && let Ok(before) = before.recv()
        {
            before.finish();
        }
        // Fails when nobody wants to know any more.
        let _ = self.events.send(event);
        self.waker.wake();
    }
}

impl Destination for Voice {
    fn samples(&mut self, _samples: Vec<NamedSample>) {
        unreachable!("an engine has no samples by themselves");
    }

    fn window(&mut self, profile: Arc<Profile>, of: Option<OfTarget>) {
        if let Some(of) = of {
            self.send(EngineEvent::Window(TargetWindow {
                target: of.target,
                profile,
                cut: of.cut,
            }));
        }
    }

    fn say(&mut self, event: EngineEvent) {
        self.send(event);
    }
}

/// The loop's end, which never waits: what finds no room stays here.
pub(super) struct Answers {
    events: Sender<EngineEvent>,
    waker: Waker,
    waiting: VecDeque<EngineEvent>,
}

impl Answers {
    pub(super) fn new(events: Sender<EngineEvent>, waker: Waker) -> Answers {
        Answers {
            events,
            waker,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, event: EngineEvent) {
        self.waiting.push_back(event);
        self.feed();
    }

    /// Sends what there is room for; `true` if nothing waits any more.
    pub(super) fn feed(&mut self) -> bool {
        while let Some(event) = self.waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => self.waker.wake(),
                Err(TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return false;
                }
                // Nobody wants to know any more.
                Err(TrySendError::Disconnected(_)) => self.waiting.clear(),
            }
        }
        true
    }

    /// The ends of what is said, for a names thread.
    pub(super) fn voice(&self) -> Voice {
        Voice::new(self.events.clone(), self.waker.clone(), None)
    }

    /// The same for one that takes the place of another, which it is to be given: what that one has to say comes first.
    pub(super) fn voice_behind_another(&self) -> (Voice, Sender<Names<Voice>>) {
        let (sender, before) = bounded(1);
        let voice = Voice::new(self.events.clone(), self.waker.clone(), Some(before));
        (voice, sender)
    }

    /// Waits until all is sent.
    pub(super) fn finish(mut self) {
        for event in std::mem::take(&mut self.waiting) {
            let _ = self.events.send(event);
            self.waker.wake();
        }
    }
}
