//! Windows are cut where somebody asks: for a phase that begins, and for what there is until now.
//!
//! ```text
//! mark ──────▶ cut ──▶ its moment: answered ──▶ windows until then ──▶ the phase begins
//! snapshot ──▶ cut ─────────────────────────▶ windows until then ──▶ answered
//! ```
//!
//! Of one target there is one cut for snapshots at a time: who asks meanwhile is answered by the next one, which all of them share. Names of much that is new
//! can take minutes, beside compilers on all CPUs; a snapshot waits for them for some seconds, and is then made of what is there.

use std::sync::Arc;
use std::time::Duration;

use super::super::kept::Sum;
use super::super::pending_cut::{PendingCut, PendingMark, PendingSnapshot};
use super::super::target::{State, Target, Ticket};
use super::{Registry, Said, no_such};
use crate::control::Since;
use crate::model::{Fault, FaultClass, MonoNs, TargetId};
use crate::sys;

/// Cuts of a target that may wait for their windows.
const MOST: usize = 64;
/// How long a snapshot waits for what was sampled last, if there is something without it.
const PATIENCE: Duration = Duration::from_secs(5);

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
        target.snapshots.push(PendingSnapshot {
            since,
            ticket,
            asked_at: sys::now(),
        });
        match target.state {
            State::With { .. } if target.ending.is_none() => {
                if target.cuts.is_empty() {
                    self.cut(id, None);
                }
            }
            // It has no open window, or the last one is on its way and nobody can say how long it takes.
            State::With { .. } | State::Waiting { .. } => {
                let waiting = std::mem::take(&mut target.snapshots);
                let said = waiting
                    .iter()
                    .map(|snapshot| so_far(target, snapshot, Awaited::Come));
                self.said.extend(said);
            }
        }
        Ok(())
    }

    /// Answers who has waited for too long, with what there is.
    pub(super) fn answer_late_snapshots(&mut self, now: MonoNs) {
        for target in self.targets.values_mut() {
            let late = take_late(target, now);
            let said = late.iter();
            self.said
                .extend(said.map(|snapshot| so_far(target, snapshot, Awaited::GivenUp)));
        }
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
            let said = Said::Marked {
                target: id,
                ticket: mark.ticket,
                phase: mark.phase.clone(),
                sequence,
            };
            self.say(said);
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
            let said = waiting
                .iter()
                .map(|snapshot| so_far(target, snapshot, Awaited::Come));
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
            let said = cut.snapshots.iter();
            self.said
                .extend(said.map(|snapshot| so_far(target, snapshot, Awaited::Come)));
            let Some(mark) = cut.mark else {
                continue;
            };
            target.phase = mark.phase;
            target.kept.mark();
            if mark.sequence.is_none() {
                self.said.push_back(Said::Marked {
                    target: id,
                    ticket: mark.ticket,
                    phase: target.phase.clone(),
                    sequence: target.sequence,
                });
            }
        }
    }
}

/// Whether all has come that a snapshot waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Come,
    GivenUp,
}

/// What there is now, for who wants it.
fn so_far(target: &Target, snapshot: &PendingSnapshot, awaited: Awaited) -> Said {
    let (sum, phase) = match snapshot.since {
        Since::Start => (target.kept.since_start(), None),
        Since::Mark => (target.kept.since_mark(), target.phase.clone()),
    };
    let lacks = |sum: &Arc<Sum>| snapshot.asked_at.since(sum.profile.span.end);
    Said::SoFar {
        target: target.id,
        ticket: snapshot.ticket,
        lacks: match awaited {
            Awaited::Come => None,
            Awaited::GivenUp => sum.map(lacks),
        },
        sum: sum.cloned(),
        phase,
    }
}

/// Takes out the snapshots that have waited for too long, if there is something of what they ask for.
fn take_late(target: &mut Target, now: MonoNs) -> Vec<PendingSnapshot> {
    let has_windows = target.kept.since_start().is_some();
    let has_of_phase = target.kept.since_mark().is_some();
    // Whether the windows of the present phase are those of the one in which it was asked for.
    let mut is_in_phase = true;
    let is_late = |snapshot: &PendingSnapshot, is_in_phase: bool| {
        snapshot.asked_at.plus(PATIENCE) <= now
            && match snapshot.since {
                Since::Start => has_windows,
                Since::Mark => has_of_phase && is_in_phase,
            }
    };
    let mut late = Vec::new();
    for cut in &mut target.cuts {
        let waiting = &mut cut.snapshots;
        late.extend(waiting.extract_if(.., |snapshot| is_late(snapshot, is_in_phase)));
        is_in_phase &= cut.mark.is_none();
    }
    let waiting = &mut target.snapshots;
    late.extend(waiting.extract_if(.., |snapshot| is_late(snapshot, is_in_phase)));
    late
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::clients::test_window;
    use crate::daemon::config::Config;
    use crate::daemon::kept::Kept;
    use crate::daemon::selector::Selector;
    use crate::daemon::target::Owner;
    use crate::session::engine::Authority;

    fn target() -> Target {
        let mut target = Target::waiting(
            TargetId(1),
            "all".to_owned(),
            Selector::Host,
            Config::default().sampling,
            Owner::Configuration,
            Authority::Everything,
            Kept::new(1 << 20),
        );
        target.kept.add(&test_window(0, None, 1).profile);
        target
    }

    fn pending(since: Since, ticket: u64, asked_at: MonoNs) -> PendingSnapshot {
        PendingSnapshot {
            since,
            ticket: Ticket(ticket),
            asked_at,
        }
    }

    fn tickets(late: &[PendingSnapshot]) -> Vec<u64> {
        late.iter().map(|snapshot| snapshot.ticket.0).collect()
    }

    #[test]
    fn a_snapshot_that_has_waited_long_enough_is_made_of_what_there_is() {
        let mut target = target();
        let asked_at = MonoNs(1_000_000_000);
        target.cuts.push_back(PendingCut {
            token: 1,
            snapshots: vec![pending(Since::Start, 1, asked_at)],
            mark: None,
        });
        target.snapshots = vec![pending(Since::Start, 2, asked_at.plus(PATIENCE))];
        assert!(take_late(&mut target, asked_at).is_empty());
        let late = take_late(&mut target, asked_at.plus(PATIENCE));
        assert_eq!(tickets(&late), [1]);
        let said = so_far(&target, &late[0], Awaited::GivenUp);
        let Said::SoFar { sum, lacks, .. } = said else {
            panic!("{said:?}");
        };
        let end = sum.expect("a window").profile.span.end;
        assert_eq!(lacks, Some(asked_at.since(end)));
        assert_eq!(target.cuts.len(), 1);
        assert_eq!(target.snapshots.len(), 1);
    }

    #[test]
    fn of_a_phase_whose_windows_are_not_there_nothing_else_is_given() {
        let mut target = target();
        let asked_at = MonoNs(0);
        let mark = PendingMark {
            phase: Some("measure".to_owned()),
            ticket: Ticket(9),
            sequence: Some(1),
        };
        target.cuts.push_back(PendingCut {
            token: 1,
            snapshots: vec![pending(Since::Mark, 1, asked_at)],
            mark: Some(mark),
        });
        target.snapshots = vec![
            pending(Since::Mark, 2, asked_at),
            pending(Since::Start, 3, asked_at),
        ];
        let late = take_late(&mut target, asked_at.plus(PATIENCE));
        assert_eq!(tickets(&late), [1, 3]);
        // Nor is there anything right behind the mark.
        target.cuts.clear();
        target.kept.mark();
        let late = take_late(&mut target, asked_at.plus(PATIENCE));
        assert!(late.is_empty());
    }
}
