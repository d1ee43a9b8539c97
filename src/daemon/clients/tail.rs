//! What waits for one client that follows one target.
//!
//! Windows of one phase that wait are one window; phases are kept apart. So what waits grows with its distinct stacks and not with time; where there is no
//! room even for those, the oldest are dropped, and told as a gap.

use std::collections::VecDeque;
use std::sync::Arc;

use super::encoding::{self, Around};
use super::{PhasedWindow, TailSpec};
use crate::aggregate::{merge_into, profile_bytes};
use crate::control::{ClientFigures, EndReason, Ended, Event, Gap, GapReason, Heartbeat, Phase};
use crate::model::{MonoNs, Profile};

/// Phases that may wait; beyond that the oldest are dropped, and told as a gap.
const MAX_WAITING: usize = 16;

/// A followed target.
#[derive(Debug)]
pub(super) struct Tail {
    pub spec: TailSpec,
    waiting: VecDeque<Waiting>,
    end: Option<EndReason>,
    last_sent: Option<u64>,
    last_sign: MonoNs,
}

/// Something that will be a line.
#[derive(Debug)]
enum Waiting {
    Window {
        from: u64,
        to: u64,
        phase: Option<Phase>,
        profile: Arc<Profile>,
        /// Of memory, as estimated.
        bytes: u64,
    },
    Gap {
        from: u64,
        to: u64,
        reason: GapReason,
    },
}

/// What [`Tail::next_line`] gives.
pub(super) enum Next {
    Line(Vec<u8>),
    /// The last line of this tail.
    Last(Vec<u8>),
    Nothing,
}

impl Waiting {
    fn bytes(&self) -> u64 {
        match self {
            Waiting::Window { bytes, .. } => *bytes,
            Waiting::Gap { .. } => 0,
        }
    }
}

impl Tail {
    pub(super) fn new(spec: TailSpec, now: MonoNs) -> Tail {
        Tail {
            spec,
            waiting: VecDeque::new(),
            end: None,
            last_sent: None,
            last_sign: now,
        }
    }

    /// Bytes of memory that wait, as estimated.
    pub(super) fn bytes(&self) -> u64 {
        self.waiting.iter().map(Waiting::bytes).sum()
    }

    /// Whether something would still wait if the oldest window were dropped.
    pub(super) fn may_drop(&self) -> bool {
        let windows = self
            .waiting
            .iter()
            .filter(|waiting| matches!(waiting, Waiting::Window { .. }));
        windows.count() > 1
    }

    /// Takes in a window of the target. There are `room` bytes of memory for what is made of it and of what waits already.
    pub(super) fn add(&mut self, window: &PhasedWindow, room: u64, figures: &mut ClientFigures) {
        let sequence = window.profile.span.sequence;
        let n_bytes = profile_bytes(&window.profile);
        if let Some(Waiting::Window {
            to,
            phase,
            profile,
            bytes,
            ..
        }) = self.waiting.back_mut()
            && *phase == window.phase
            && n_bytes <= room
        {
            merge_into(Arc::make_mut(profile), &window.profile);
            *bytes = profile_bytes(profile);
            *to = sequence;
            figures.windows_merged += 1;
            return;
        }
        self.waiting.push_back(Waiting::Window {
            from: sequence,
            to: sequence,
            phase: window.phase.clone(),
            profile: Arc::clone(&window.profile),
            bytes: n_bytes,
        });
        if self.waiting.len() > MAX_WAITING {
            self.drop_oldest(figures);
        }
    }

    /// The oldest window becomes a gap, or part of the one before it.
    pub(super) fn drop_oldest(&mut self, figures: &mut ClientFigures) {
        let start = match self.waiting.front() {
            Some(Waiting::Gap { from, .. }) => Some(*from),
            _ => None,
        };
        if start.is_some() {
            self.waiting.pop_front();
        }
        if let Some(Waiting::Window { from, to, .. }) = self.waiting.pop_front() {
            figures.windows_dropped += to - from + 1;
            self.waiting.push_front(Waiting::Gap {
                from: start.unwrap_or(from),
                to,
                reason: GapReason::TooSlow,
            });
        }
    }

    /// There will be no more windows.
    pub(super) fn end(&mut self, reason: EndReason) {
        self.end.get_or_insert(reason);
    }

    /// The next line of at most `most` bytes.
    pub(super) fn next_line(
        &mut self,
        most: usize,
        now: MonoNs,
        figures: &mut ClientFigures,
    ) -> Next {
        let target = self.spec.target;
        let Some(waiting) = self.waiting.pop_front() else {
            return match self.end {
                Some(reason) => Next::Last(Event::End(Ended { target, reason }).line()),
                None => Next::Nothing,
            };
        };
        self.last_sign = now;
        let gap = |from, to, reason| {
            Event::Gap(Gap {
                target,
                from,
                to,
                reason,
            })
            .line()
        };
        Next::Line(match waiting {
            Waiting::Gap { from, to, reason } => gap(from, to, reason),
            Waiting::Window {
                from,
                to,
                phase,
                profile,
                ..
            } => {
                let around = Around {
                    target,
                    from,
                    to,
                    phase: phase.as_ref(),
                };
                let spec = &self.spec;
                match encoding::line(&around, &profile, spec.format, spec.view, most) {
                    Some(line) => {
                        self.last_sent = Some(to);
                        figures.windows_sent += 1;
                        line
                    }
                    None => {
                        figures.windows_dropped += to - from + 1;
                        gap(from, to, GapReason::TooLarge)
                    }
                }
            }
        })
    }

    /// A sign of life, if it is time for one and nothing else waits.
    pub(super) fn heartbeat(
        &mut self,
        now: MonoNs,
        figures: &mut ClientFigures,
    ) -> Option<Vec<u8>> {
        let every = self.spec.heartbeat?;
        if !self.waiting.is_empty() || self.end.is_some() || now.since(self.last_sign) < every {
            return None;
        }
        self.last_sign = now;
        figures.heartbeats += 1;
        let heartbeat = Heartbeat {
            target: self.spec.target,
            sequence: self.last_sent,
        };
        Some(Event::Heartbeat(heartbeat).line())
    }
}
