//! Windows of targets: when they are closed, and how what was counted is split between them.
//!
//! A cut has two moments. When all is taken in that was sampled until it was asked for, it is made: who asked is told, and what comes is of another era.
//! When all of its era is counted, its window is closed: who has to wait for tables are windows, and nobody who cuts them.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::held_target::{Cut, HeldTarget, Until};
use super::{EngineEvent, TargetEnd};
use crate::aggregate::WindowCounts;
use crate::model::{
    EventIdx, EventLedger, Ledger, LossReason, MonoNs, TargetId, Weight, WindowSpan, total,
};
use crate::sampler::counters;
use crate::sampler::{PlannedEvent, Totals};
use crate::session::account;
use crate::session::era::Era;
use crate::session::members::Whose;
use crate::session::names::{ClosedWindow, Message};
use crate::session::pipeline::Pipeline;
use crate::session::pump::PATIENCE;
use crate::session::window_of_target::OfTarget;
use crate::sys;

/// What a window of a target gets.
struct Part {
    counts: WindowCounts<Whose>,
    /// Samples that its user may not see, by event.
    in_kernel_mode: Vec<u64>,
}

impl Part {
    fn new(n_events: usize) -> Part {
        Part {
            counts: WindowCounts {
                rows: Vec::new(),
                weights: Vec::new(),
                n_events,
            },
            in_kernel_mode: vec![0; n_events],
        }
    }
}

/// The windows of a target that are closed together.
#[derive(Debug)]
struct Closed {
    /// Those that are cut, in the order of time.
    cuts: Vec<Cut>,
    /// What is behind them.
    rest: Rest,
}

/// What becomes of a target's window behind all cuts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// It stays open.
    Open,
    /// It is closed, and another one begins.
    Closed,
    /// It is the last.
    Last(TargetEnd),
}

impl Closed {
    fn parts(&self, n_events: usize) -> Vec<Part> {
        let n = self.cuts.len() + usize::from(self.rest != Rest::Open);
        std::iter::repeat_with(|| Part::new(n_events))
            .take(n)
            .collect()
    }

    /// Which of the windows a sample belongs to; `None` if that stays open.
    fn window_of(&self, era: Era) -> Option<usize> {
        let cut = self.cuts.iter().position(|cut| era.is_up_to(cut.era));
        cut.or((self.rest != Rest::Open).then_some(self.cuts.len()))
    }
}

/// Splits what was counted between the windows of these targets. What counts for others too, or for later windows, goes on counting for them; `left` are the eras
/// of the cuts whose windows stay open.
fn split(
    pipeline: &mut Pipeline,
    closing: &BTreeMap<TargetId, Closed>,
    left: &[Era],
) -> FxHashMap<TargetId, Vec<Part>> {
    let Pipeline {
        counting,
        members,
        taken,
        era: present,
        ..
    } = pipeline;
    let Some(membership) = members.of_targets() else {
        return FxHashMap::default();
    };
    let counts = counting.close_window();
    let n_events = counts.n_events;
    let mut parts: FxHashMap<TargetId, Vec<Part>> = closing
        .iter()
        .map(|(target, closed)| (*target, closed.parts(n_events)))
        .collect();
    for (key, weights) in counts.rows.iter().zip(counts.weights.chunks(n_events)) {
        let whose = key.task.comm;
        let mut rest = whose.group;
        let mut is_anybodys = false;
        for target in membership.targets(whose.group).to_vec() {
            is_anybodys |= membership.is_there(target);
            let of_target = closing.get(&target).zip(parts.get_mut(&target));
            let Some((closed, parts)) = of_target else {
                continue;
            };
            let Some(window) = closed.window_of(whose.era) else {
                continue;
            };
            rest = membership.without(rest, target);
            let part = &mut parts[window];
            if whose.in_kernel_mode && !membership.sees_kernel(target) {
                let lost = part.in_kernel_mode.iter_mut().zip(weights);
                lost.for_each(|(lost, weight)| *lost += weight.samples);
            } else {
                part.counts.rows.push(*key);
                part.counts.weights.extend_from_slice(weights);
            }
        }
        if !is_anybodys {
            // It waited for a table until its targets had gone.
            for (taken, weight) in taken.iter_mut().zip(weights) {
                taken.take_back(weight);
            }
        } else if membership
            .targets(rest)
            .iter()
            .any(|target| membership.is_there(*target))
        {
            let mut key = *key;
            key.task.comm.group = rest;
            key.task.comm.era = told_apart(whose.era, left, *present);
            counting.put_back(key, weights);
        }
    }
    parts
}

/// The latest era that lies between the same cuts: what nobody tells apart any more is one row, however often others are cut.
fn told_apart(era: Era, cuts: &[Era], present: Era) -> Era {
    let behind = cuts.iter().copied().filter(|cut| era.is_up_to(*cut));
    let next = behind.reduce(|one, other| match one.is_up_to(other) {
        true => one,
        false => other,
    });
    next.unwrap_or(present)
}

/// Makes the cuts that were asked for until `settled`, up to when all was taken in. Gives what is to be said of them.
pub(super) fn cut(
    targets: &mut BTreeMap<TargetId, HeldTarget>,
    pipeline: &mut Pipeline,
    settled: MonoNs,
    side_band_lost: u64,
) -> anyhow::Result<Vec<EngineEvent>> {
    let mut said = Vec::new();
    for (id, target) in targets {
        while let Some((token, asked_at)) = target.take_asked(settled) {
            let cut = Cut {
                token,
                asked_at,
                era: pipeline.era,
                until: target.until(settled, side_band_lost)?,
            };
            target.cuts.push_back(cut);
            said.push(EngineEvent::Cut {
                target: *id,
                token,
                sequence: target.sequence + target.cuts.len() as u64,
            });
        }
    }
    if !said.is_empty() {
        pipeline.era = pipeline.era.next();
    }
    Ok(said)
}

/// Whether windows that were cut can be closed at `settled`, up to when all was taken in.
pub(super) fn is_a_cut_closable(
    targets: &BTreeMap<TargetId, HeldTarget>,
    pipeline: &Pipeline,
    settled: MonoNs,
) -> bool {
    let mut cuts = targets.values().filter_map(|target| target.cuts.front());
    cuts.any(|cut| is_closable(cut, pipeline, settled))
}

fn is_closable(cut: &Cut, pipeline: &Pipeline, settled: MonoNs) -> bool {
    let is_overdue = cut.asked_at.plus(PATIENCE) <= settled;
    is_overdue || pipeline.is_counted_up_to(cut.era)
}

/// Closes windows of targets: those of which [`Now`] says so, and those that were cut. Gives what the names thread is to be told, and the targets that have
/// ended with it.
pub(super) fn close(
    targets: &mut BTreeMap<TargetId, HeldTarget>,
    pipeline: &mut Pipeline,
    events: &[PlannedEvent],
    now: &Now,
) -> anyhow::Result<(Vec<Message>, Vec<TargetId>)> {
    let mut closing = BTreeMap::new();
    let mut oldest_open = now.end;
    for (id, target) in &mut *targets {
        let closed = due(target, pipeline, now);
        // When the window begins, or began, that is open then.
        let opened_at = match (closed.rest, closed.cuts.last()) {
            (Rest::Closed | Rest::Last(_), _) => now.end,
            (Rest::Open, Some(cut)) => cut.until.end,
            (Rest::Open, None) => target.start,
        };
        oldest_open = oldest_open.min(opened_at);
        if !closed.cuts.is_empty() || closed.rest != Rest::Open {
            closing.insert(*id, closed);
        }
    }
    if closing.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let left: Vec<Era> = targets
        .values()
        .flat_map(|target| target.cuts.iter().map(|cut| cut.era))
        .collect();
    let mut parts = split(pipeline, &closing, &left);
    let (mut messages, mut ended) = (Vec::new(), Vec::new());
    for (id, closed) in closing {
        let (Some(target), Some(parts)) = (targets.get_mut(&id), parts.remove(&id)) else {
            continue;
        };
        let Some(membership) = pipeline.members.of_targets() else {
            continue;
        };
        let mut ends = Vec::with_capacity(parts.len());
        let cuts = closed.cuts.into_iter();
        ends.extend(cuts.map(|cut| (Some(cut.token), cut.until)));
        if closed.rest != Rest::Open {
            ends.push((None, target.until(now.end, now.side_band_lost)?));
        }
        let n_windows = ends.len();
        for (at, (part, (cut, until))) in parts.into_iter().zip(ends).enumerate() {
            let of = OfTarget {
                target: id,
                run: target.run.clone(),
                cut,
                oldest_open,
            };
            let is_last = at + 1 == n_windows && matches!(closed.rest, Rest::Last(_));
            let lost = membership.take_lost(id);
            let window = window(target, part, &lost, events, of, until, is_last);
            messages.push(Message::Window(Box::new(window)));
        }
        if let Rest::Last(why) = closed.rest {
            messages.push(Message::Say(EngineEvent::Ended { target: id, why }));
            ended.push(id);
        }
    }
    Ok((messages, ended))
}

/// What is to be closed of a target.
fn due(target: &mut HeldTarget, pipeline: &Pipeline, now: &Now) -> Closed {
    let is_boundary = now.windows == Windows::All;
    let end = match now.windows {
        Windows::Cut => None,
        Windows::Ending | Windows::All => target.take_end(now.end),
    };
    let rest = match end {
        Some(why) => Rest::Last(why),
        None if is_boundary => Rest::Closed,
        None => Rest::Open,
    };
    let n_cuts = match rest {
        Rest::Open => target.closable_cuts(|cut| is_closable(cut, pipeline, now.end)),
        Rest::Closed | Rest::Last(_) => target.cuts.len(),
    };
    Closed {
        cuts: target.cuts.drain(..n_cuts).collect(),
        rest,
    }
}

/// At which moment windows are closed, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) end: MonoNs,
    pub(super) windows: Windows,
    /// Side-band records that the engine has lost.
    pub(super) side_band_lost: u64,
}

/// Which windows are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Windows {
    /// Those that were cut, if nothing is waited for any more that belongs into them.
    Cut,
    /// Those too of targets that end.
    Ending,
    /// Those of all targets: they have lasted long enough.
    All,
}

fn window(
    target: &mut HeldTarget,
    part: Part,
    lost: &[(EventIdx, LossReason, u64)],
    events: &[PlannedEvent],
    of: OfTarget,
    until: Until,
    is_last: bool,
) -> ClosedWindow {
    let processes = counters::minus(&until.counts, &target.counts_before);
    let sums = total(&processes);
    let mut ledgers: Vec<EventLedger> = Vec::with_capacity(events.len());
    for (idx, event) in events.iter().enumerate() {
        let totals = account::of_targets(event, &Totals::default(), &sums);
        let mut delivered = Weight::default();
        let weights = part.counts.weights.iter().skip(idx).step_by(events.len());
        weights.for_each(|weight| delivered.merge(weight));
        let mut ledger = account::of_target(event, &totals, &delivered);
        if target.counters.given_up().is_some() {
            ledger = account::uncounted(ledger);
        }
        ledger.lose(LossReason::KernelMode, part.in_kernel_mode[idx]);
        for (_, why, n) in lost.iter().filter(|(event, ..)| event.0 == idx) {
            ledger.lose(*why, *n);
        }
        ledgers.push(ledger);
    }
    let span = WindowSpan {
        sequence: target.sequence,
        start: target.start,
        end: until.end,
        start_unix_ns: sys::unix_ns_at(target.start),
        is_last,
    };
    let ledger = Ledger {
        events: ledgers,
        side_band_lost: until.side_band_lost - target.side_band_before,
        ..Ledger::default()
    };
    target.sequence += 1;
    target.start = until.end;
    target.side_band_before = until.side_band_lost;
    target.counts_before = until.counts;
    ClosedWindow {
        span,
        counts: part.counts,
        processes,
        ledger,
        whole_run: None,
        of: Some(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_cut_lies_between_is_of_one_era() {
        let eras: Vec<Era> = std::iter::successors(Some(Era::default()), |era| Some(era.next()))
            .take(6)
            .collect();
        let check = |cuts: &[usize], expected: [usize; 6]| {
            let cuts: Vec<Era> = cuts.iter().map(|at| eras[*at]).collect();
            let told = |era: &Era| told_apart(*era, &cuts, eras[5]);
            let told: Vec<Era> = eras.iter().map(told).collect();
            assert_eq!(told, expected.map(|at| eras[at]), "{cuts:?}");
        };
        check(&[], [5; 6]);
        check(&[2], [2, 2, 2, 5, 5, 5]);
        check(&[3, 1], [1, 1, 3, 3, 5, 5]);
    }
}
