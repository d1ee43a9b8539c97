//! Windows are cut where somebody asks: for a phase that begins, and for what there is until now.
//!
//! ```text
//! mark ──────▶ cut ──▶ its moment: answered ──▶ windows until then ──▶ the phase begins
//! snapshot ──▶ cut ─────────────────────────▶ windows until then ──▶ answered
//! ```
//!
//! Of one target there is one cut for snapshots at a time: who asks meanwhile is answered by the next one, which all of them share.

use std::sync::Arc;

use super::super::pending_cut::{PendingCut, PendingMark, PendingSnapshot};
use super::super::target::{State, Target, Ticket};
use super::{Registry, Said, no_such};
use crate::control::Since;
use crate::model::{Fault, FaultClass, TargetId};

/// Cuts of a target that may wait for their windows.
const MOST: usize = 64;

impl Registry {
    /// Begins a phase. The answer is [`Said::Marked`].
    ///
    /// # Errors
    /// There is no target of this number, or it ends.
    pub fn mark(
        &mut self,
        id: TargetId,
        phase: Option<String>,
        ticket: Ticket,
    ) -> Result<(), Fault> {
        let target = self.targets.get_mut(&id).ok_or_else(|| no_such(id))?;
        if target.ending.is_some() {
            return Err(no_such(id));
        }
        if target.cuts.len() >= MOST {
            let what = format!("{MOST} marks of target {} wait for their windows", id.0);
            return Err(Fault::new(FaultClass::Limit, what));
        }
        let mark = PendingMark {
            phase,
            ticket,
            sequence: None,
        };
        self.cut(id, Some(mark));
        Ok(())
    }

    /// Asks for all that was sampled until now. The answer is [`Said::SoFar`].
    ///
    /// # Errors
    /// There is no target of this number.
    pub fn snapshot(&mut self, id: TargetId, since: Since, ticket: Ticket) -> Result<(), Fault> {
        let target = self.targets.get_mut(&id).ok_or_else(|| no_such(id))?;
        target.snapshots.push(PendingSnapshot { since, ticket });
        match target.state {
            State::With { .. } if target.ending.is_none() => {
                if target.cuts.is_empty() {
                    self.cut(id, None);
                }
            }
            // It has no open window, or the last one is on its way and nobody can say how long it takes.
            State::With { .. } | State::Waiting { .. } => {
                let waiting = std::mem::take(&mut target.snapshots);
                let said = so_far(target, &waiting);
                self.said.extend(said);
            }
        }
        Ok(())
    }

    /// Cuts the open window. Who waits for a cut is served by this one.
    fn cut(&mut self, id: TargetId, mark: Option<PendingMark>) {
        let token = self.next_token;
        self.next_token += 1;
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        let snapshots = std::mem::take(&mut target.snapshots);
        target.cuts.push_back(PendingCut {
            token,
            snapshots,
            mark,
        });
        match target.state {
            State::With { engine, part, .. } => self.engines.cut(engine, part, token),
            State::Waiting { .. } => self.reach_all_cuts(id),
        }
    }

    /// The moment of a cut has come: `sequence` is the engine's number of the first window behind it. Who has marked need not wait for names.
    pub(super) fn was_cut(&mut self, part: TargetId, token: u64, sequence: u64) {
        let Some(target) = self.target_of_part(part) else {
            return;
        };
        let State::With { first_window, .. } = target.state else {
            return;
        };
        let id = target.id;
        let cut = target.cuts.iter_mut().find(|cut| cut.token == token);
        if let Some(mark) = cut.and_then(|cut| cut.mark.as_mut()) {
            let sequence = first_window + sequence;
            mark.sequence = Some(sequence);
            let ticket = mark.ticket;
            self.say(Said::Marked {
                target: id,
                ticket,
                sequence,
            });
        }
    }

    /// All windows are there that are before the cut with this token.
    pub(super) fn reach_cut(&mut self, id: TargetId, token: u64) {
        self.reach(id, |cut| cut.token <= token);
        let is_next = |target: &Target| target.cuts.is_empty() && !target.snapshots.is_empty();
        if self.targets.get(&id).is_some_and(is_next) {
            self.cut(id, None);
        }
    }

    /// No more windows come before any cut, and nobody waits for one any more.
    pub(super) fn reach_all_cuts(&mut self, id: TargetId) {
        self.reach(id, |_| true);
        if let Some(target) = self.targets.get_mut(&id) {
            let waiting = std::mem::take(&mut target.snapshots);
            let said = so_far(target, &waiting);
            self.said.extend(said);
        }
    }

    fn reach(&mut self, id: TargetId, is_reached: impl Fn(&PendingCut) -> bool) {
        let Some(target) = self.targets.get_mut(&id) else {
            return;
        };
        while target.cuts.front().is_some_and(&is_reached)
            && let Some(cut) = target.cuts.pop_front()
        {
            self.said.extend(so_far(target, &cut.snapshots));
            let Some(mark) = cut.mark else {
                continue;
            };
            target.phase = mark.phase;
            target.kept.mark();
            if mark.sequence.is_none() {
                self.said.push_back(Said::Marked {
                    target: id,
                    ticket: mark.ticket,
                    sequence: target.sequence,
                });
            }
        }
    }
}

/// What there is now, for each who wants it.
fn so_far(target: &Target, waiting: &[PendingSnapshot]) -> Vec<Said> {
    let one = |snapshot: &PendingSnapshot| {
        let (sum, phase) = match snapshot.since {
            Since::Start => (target.kept.since_start(), None),
            Since::Mark => (target.kept.since_mark(), target.phase.clone()),
        };
        Said::SoFar {
            target: target.id,
            ticket: snapshot.ticket,
            sum: sum.map(Arc::clone),
            phase,
        }
    };
    waiting.iter().map(one).collect()
}
