//! What engines say, and what it means for targets.

use std::sync::Arc;

use super::super::engines::{EngineId, Expected, Heard};
use super::super::target::{Owner, State};
use super::{Registry, Said};
use crate::control::EndReason;
use crate::model::{Fault, FaultClass, TargetId};
use crate::session::engine::{EngineEvent, EngineStats, TargetEnd, TargetWindow};
use crate::sys;

/// Sets of events whose accounts are kept when their engines have ended.
const MAX_PAST: usize = 64;

impl Registry {
    /// Takes in the next thing that an engine has said; whether there was one. What follows from it is to be passed on before the next is taken: a window
    /// finds its target, also if the next thing is its end.
    pub fn hear(&mut self) -> bool {
        let next = self.engines.next_event();
        let is_there = next.is_some();
        if let Some((engine, heard)) = next {
            self.take(engine, heard);
        }
        is_there
    }

    fn take(&mut self, engine: EngineId, heard: Heard) {
        match heard {
            // Taken note of by `Engines`.
            Heard::Event(EngineEvent::Opened(_)) => (),
            Heard::Event(EngineEvent::Attached { target, notes }) => {
                let events = self.engines.events(engine);
                self.attached(target, events, notes);
            }
            Heard::Event(EngineEvent::Refused { target, fault }) => self.refused(target, fault),
            Heard::Event(EngineEvent::Cut {
                target,
                token,
                sequence,
            }) => self.was_cut(target, token, sequence),
            Heard::Event(EngineEvent::Window(window)) => self.window(window),
            Heard::Event(EngineEvent::Ended { target, why }) => self.part_ended(target, why),
            Heard::Event(EngineEvent::Failed(fault)) => self.failed(engine, Some(fault)),
            Heard::Event(EngineEvent::Finished(stats)) => self.finished(engine, *stats),
            Heard::Gone(Expected::Yes) => self.say(Said::EngineEnded(engine, None)),
            Heard::Gone(Expected::No) => self.failed(engine, None),
        }
    }

    /// Keeps an engine's last account: for each set of events there is one, so that they stay few.
    fn finished(&mut self, engine: EngineId, stats: EngineStats) {
        let events = self.engines.events(engine);
        if let Some(time) = stats.cost.bpf.and_then(|bpf| bpf.time) {
            *self.past_bpf_ns.get_or_insert(0) += time.total_ns();
        }
        if let Some(at) = self.past.iter().position(|(known, _)| *known == events) {
            let (_, sum) = &mut self.past[at];
            sum.ledger.merge(&stats.ledger);
            sum.cpu_ns += stats.cpu_ns;
        } else if self.past.len() < MAX_PAST {
            self.past.push((events, stats));
        }
    }

    fn attached(&mut self, part: TargetId, events: Vec<String>, notes: Vec<String>) {
        let Some(target) = self.target_of_part(part) else {
            return;
        };
        let id = target.id;
        let State::With {
            unanswered,
            is_attached,
            ..
        } = &mut target.state
        else {
            return;
        };
        *unanswered = unanswered.saturating_sub(1);
        let is_first = !std::mem::replace(is_attached, true);
        target.said = None;
        target.events = events;
        let ticket = target.asked.take();
        if is_first {
            self.say(Said::Attached {
                target: id,
                ticket,
                notes,
            });
        }
    }

    fn refused(&mut self, part: TargetId, fault: Fault) {
        let now = sys::now();
        let Some(target) = self.target_of_part(part) else {
            return;
        };
        let id = target.id;
        let State::With {
            engine,
            unanswered,
            is_attached,
            ..
        } = &mut target.state
        else {
            return;
        };
        let engine = *engine;
        *unanswered = unanswered.saturating_sub(1);
        if *unanswered > 0 || *is_attached {
            // Others of its processes are there, or may be.
            return;
        }
        let ticket = target.asked.take();
        let (owner, ending) = (target.owner, target.ending);
        self.parts.remove(&part);
        self.leave(engine);
        self.reach_all_cuts(id);
        match (ending, ticket, owner) {
            (Some(reason), _, _) => self.end(id, reason),
            (None, None, Owner::Configuration) => {
                if let Some(target) = self.targets.get_mut(&id) {
                    target.pause(now);
                }
                self.waits(id, Some(fault));
            }
            (None, ticket, _) => {
                self.targets.remove(&id);
                self.say(Said::Refused {
                    target: id,
                    ticket,
                    fault,
                });
            }
        }
    }

    fn window(&mut self, window: TargetWindow) {
        let Some(target) = self.target_of_part(window.target) else {
            return;
        };
        let id = target.id;
        let mut profile = window.profile;
        let numbered = Arc::make_mut(&mut profile);
        // A target that was there before goes on counting its windows.
        numbered.span.sequence = target.sequence;
        let run = Arc::make_mut(&mut numbered.run);
        run.target.clone_from(&target.name);
        let phase = target.phase.clone();
        target.count(&profile);
        self.say(Said::Window {
            target: id,
            phase,
            profile,
        });
        if let Some(token) = window.cut {
            self.reach_cut(id, token);
        }
    }

    fn part_ended(&mut self, part: TargetId, why: TargetEnd) {
        let now = sys::now();
        let Some(target) = self.target_of_part(part) else {
            return;
        };
        let id = target.id;
        let sequence = target.sequence;
        let State::With {
            engine,
            unanswered,
            is_attached,
            first_window,
            ..
        } = &mut target.state
        else {
            return;
        };
        let engine = *engine;
        if *unanswered > 0 && why == TargetEnd::Exited {
            // Its processes have ended while it was given another, which the engine takes for a new target, whose windows begin with 0.
            *is_attached = false;
            *first_window = sequence;
            return self.reach_all_cuts(id);
        }
        let (owner, ending, ticket) = (target.owner, target.ending, target.asked.take());
        self.parts.remove(&part);
        self.leave(engine);
        self.reach_all_cuts(id);
        let may_return = self
            .targets
            .get(&id)
            .is_some_and(|target| target.selector.may_return());
        let reason = match (ending, why) {
            (Some(reason), _) => reason,
            (None, TargetEnd::Exited) if owner == Owner::Configuration && may_return => {
                if let Some(target) = self.targets.get_mut(&id) {
                    target.wait(now);
                }
                return self.waits(id, None);
            }
            (None, TargetEnd::EngineEnded) => {
                // The engine's own last word says why; the target is taken up again.
                if let Some(target) = self.targets.get_mut(&id) {
                    target.asked = ticket;
                    target.pause(now);
                }
                return;
            }
            (None, TargetEnd::Exited) => EndReason::Exited,
            (None, TargetEnd::Elevated) => EndReason::Elevated,
            (None, TargetEnd::Detached) => EndReason::Detached,
        };
        self.end(id, reason);
    }

    /// An engine has failed: its targets are taken up again after a pause.
    fn failed(&mut self, engine: EngineId, fault: Option<Fault>) {
        let now = sys::now();
        self.engines.give_up(engine);
        let has_it =
            |state: &State| matches!(state, State::With { engine: with, .. } if *with == engine);
        let lost: Vec<TargetId> = self
            .targets
            .values()
            .filter(|target| has_it(&target.state))
            .map(|target| target.id)
            .collect();
        self.parts.retain(|_, target| !lost.contains(target));
        for id in lost {
            self.reach_all_cuts(id);
            match self.targets.get(&id).and_then(|target| target.ending) {
                Some(reason) => self.end(id, reason),
                None => {
                    if let Some(target) = self.targets.get_mut(&id) {
                        target.pause(now);
                    }
                }
            }
        }
        let fault = fault.unwrap_or_else(|| {
            Fault::new(
                FaultClass::Internal,
                "the engine broke off, and did not say why",
            )
        });
        self.say(Said::EngineEnded(engine, Some(fault)));
    }

    /// A target ends for good.
    pub(super) fn end(&mut self, id: TargetId, reason: EndReason) {
        self.reach_all_cuts(id);
        if let Some(target) = self.targets.remove(&id) {
            self.parts.retain(|_, of| *of != id);
            self.say(Said::Ended {
                target: Box::new(target),
                reason,
            });
        }
    }

    /// Says once that a target waits, and why.
    pub(super) fn waits(&mut self, id: TargetId, why: Option<Fault>) {
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        let text = why.as_ref().map_or(String::new(), ToString::to_string);
        if target.said.as_ref() != Some(&text) {
            target.said = Some(text);
            self.say(Said::Waits { target: id, why });
        }
    }

    fn leave(&mut self, engine: EngineId) {
        self.engines.leave(engine);
    }

    pub(super) fn target_of_part(&mut self, part: TargetId) -> Option<&mut super::Target> {
        let id = self.parts.get(&part)?;
        self.targets.get_mut(id)
    }
}
