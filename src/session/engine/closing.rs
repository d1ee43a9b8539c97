//! Windows of targets: when they are closed, and how what was counted is split between them.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::held_target::{Closing, HeldTarget};
use super::{EngineEvent, TargetEnd};
use crate::aggregate::WindowCounts;
use crate::model::{EventLedger, Ledger, LossReason, MonoNs, TargetId, Weight, WindowSpan, total};
use crate::sampler::counters;
use crate::sampler::{PlannedEvent, Totals};
use crate::session::account;
use crate::session::members::Whose;
use crate::session::names::{ClosedWindow, Message};
use crate::session::pipeline::Pipeline;
use crate::session::window_of_target::OfTarget;
use crate::sys;

/// What a target gets of a closed window.
struct Part {
    counts: WindowCounts<Whose>,
    /// Samples that its user may not see, by event.
    in_kernel_mode: Vec<u64>,
}

/// Splits what was counted between these targets. What counts for others too goes on counting for them, in the window that is open.
fn split(pipeline: &mut Pipeline, closing: &[TargetId]) -> FxHashMap<TargetId, Part> {
    let Pipeline {
        counting,
        members,
        taken,
        ..
    } = pipeline;
    let Some(membership) = members.of_targets() else {
        return FxHashMap::default();
    };
    let counts = counting.close_window();
    let n_events = counts.n_events;
    let new = || Part {
        counts: WindowCounts {
            rows: Vec::new(),
            weights: Vec::new(),
            n_events,
        },
        in_kernel_mode: vec![0; n_events],
    };
    let mut parts: FxHashMap<TargetId, Part> =
        closing.iter().map(|target| (*target, new())).collect();
    for (key, weights) in counts.rows.iter().zip(counts.weights.chunks(n_events)) {
        let group = key.task.comm.group;
        let mut rest = group;
        let mut is_anybodys = false;
        for target in membership.targets(group).to_vec() {
            is_anybodys |= membership.is_there(target);
            let Some(part) = parts.get_mut(&target) else {
                continue;
            };
            rest = membership.without(rest, target);
            if key.task.comm.in_kernel_mode && !membership.sees_kernel(target) {
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
            counting.put_back(key, weights);
        }
    }
    parts
}

/// Closes windows of targets: at `boundary` those of all of them, and those that something else asks for. Gives what the names thread is to be
/// told, and the targets that have ended with it.
pub(super) fn close(
    targets: &mut BTreeMap<TargetId, HeldTarget>,
    pipeline: &mut Pipeline,
    events: &[PlannedEvent],
    now: &Now,
) -> anyhow::Result<(Vec<Message>, Vec<TargetId>)> {
    let is_due = |target: &HeldTarget| {
        let is_asked_for = target.due().is_some_and(|due| due <= now.end);
        now.is_boundary || is_asked_for
    };
    let closing: Vec<TargetId> = targets
        .iter()
        .filter(|(_, target)| is_due(target))
        .map(|(id, _)| *id)
        .collect();
    if closing.is_empty() {
        return Ok((Vec::new(), Vec::new()));
    }
    let mut parts = split(pipeline, &closing);
    let (mut messages, mut ended) = (Vec::new(), Vec::new());
    let oldest_open = targets
        .iter()
        .filter(|(id, _)| !closing.contains(id))
        .map(|(_, target)| target.start)
        .min();
    for id in closing {
        let (Some(target), Some(part)) = (targets.get_mut(&id), parts.remove(&id)) else {
            continue;
        };
        let Some(membership) = pipeline.members.of_targets() else {
            continue;
        };
        let mut part = Some(part);
        loop {
            let closed_by = match target.due() {
                Some(due) if due <= now.end => target.closings.pop_front(),
                _ => None,
            };
            let cut = match closed_by {
                Some((_, Closing::Cut(token))) => Some(token),
                _ => None,
            };
            let end = match closed_by {
                Some((_, Closing::End(why))) => Some(why),
                _ => None,
            };
            let counts = part.take().unwrap_or_else(|| Part {
                counts: WindowCounts {
                    rows: Vec::new(),
                    weights: Vec::new(),
                    n_events: events.len(),
                },
                in_kernel_mode: vec![0; events.len()],
            });
            let of = OfTarget {
                target: id,
                run: target.run.clone(),
                cut,
                oldest_open: oldest_open.unwrap_or(now.end),
            };
            let lost = membership.take_lost(id);
            let window = window(target, counts, &lost, events, of, now, end.is_some())?;
            messages.push(Message::Window(Box::new(window)));
            if let Some(why) = end {
                messages.push(ended_message(id, why));
                ended.push(id);
                break;
            }
            if target.due().is_none_or(|due| due > now.end) {
                break;
            }
        }
    }
    Ok((messages, ended))
}

/// At which moment windows are closed, and why.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) end: MonoNs,
    /// Whether those of all targets have lasted long enough.
    pub(super) is_boundary: bool,
    /// Side-band records that the engine has lost.
    pub(super) side_band_lost: u64,
}

fn ended_message(target: TargetId, why: TargetEnd) -> Message {
    Message::Say(EngineEvent::Ended { target, why })
}

fn window(
    target: &mut HeldTarget,
    part: Part,
    lost: &[(crate::model::EventIdx, LossReason, u64)],
    events: &[PlannedEvent],
    of: OfTarget,
    now: &Now,
    is_last: bool,
) -> anyhow::Result<ClosedWindow> {
    let counts = target.counters.read()?;
    let processes = counters::minus(&counts, &target.counts_before);
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
        end: now.end,
        start_unix_ns: sys::unix_ns_at(target.start),
        is_last,
    };
    let ledger = Ledger {
        events: ledgers,
        side_band_lost: now.side_band_lost - target.side_band_before,
        ..Ledger::default()
    };
    target.counts_before = counts;
    target.side_band_before = now.side_band_lost;
    target.sequence += 1;
    target.start = now.end;
    Ok(ClosedWindow {
        span,
        counts: part.counts,
        processes,
        ledger,
        whole_run: None,
        of: Some(of),
    })
}
