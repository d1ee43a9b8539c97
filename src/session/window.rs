//! Windows of time: when one is due, and what goes into it when it is closed.

use std::time::Duration;

use crossbeam_channel::Sender;

use super::account;
use super::names::{ClosedWindow, Message};
use super::pipeline::Pipeline;
use super::stages::{Stages, Whole};
use super::told::Told;
use crate::model::{JitLedger, Ledger, MonoNs, ProcessCounts, WindowSpan};
use crate::sampler::counters;
use crate::sys;

/// Samples that are named and written at once, with `--timestamps`. What may wait for that, 64 messages of them and 16 more for each
/// output, is 50 MB.
const BATCH: usize = 8192;

/// The sequence of windows, and what has been told to the names thread.
pub(super) struct Windows {
    interval: Option<Duration>,
    sequence: u64,
    start: MonoNs,
    /// When the open window has lasted long enough; a multiple of the interval after the start of the run.
    due: Option<MonoNs>,
    /// The account of the run as of the last window.
    before: Ledger,
    counts_before: Vec<ProcessCounts>,
    told: Told,
}

impl Windows {
    pub(super) fn new(start: MonoNs, interval: Option<Duration>) -> Windows {
        Windows {
            interval,
            sequence: 0,
            start,
            due: interval.map(|interval| start.plus(interval)),
            before: Ledger::default(),
            counts_before: Vec::new(),
            told: Told::default(),
        }
    }

    /// When the open window will have lasted long enough, if it ends by time.
    pub(super) fn due(&self) -> Option<MonoNs> {
        self.due
    }

    /// Tells the names thread of new stacks, and of samples by themselves if many wait.
    pub(super) fn send_ready(
        &mut self,
        until: MonoNs,
        pipeline: &mut Pipeline,
        names: &Sender<Message>,
    ) {
        if self.told.send_new(pipeline, names) && pipeline.timeline.is_some() {
            self.send_samples(pipeline.counted_until(until), BATCH, pipeline, names);
        }
    }

    /// Hands samples from up to `until` to the names thread, as long as `least` or more wait: they go on in order of time. `false` if it is
    /// behind. All stacks must be sent before.
    fn send_samples(
        &self,
        until: MonoNs,
        least: usize,
        pipeline: &mut Pipeline,
        names: &Sender<Message>,
    ) -> bool {
        let Some(timeline) = &mut pipeline.timeline else {
            return true;
        };
        while timeline.len() >= least {
            if names.is_full() {
                return false;
            }
            let samples = timeline.take(until, BATCH);
            if samples.is_empty() {
                break;
            }
            // Only this thread sends, and there was room above.
            let _ = names.send(Message::Samples(samples));
        }
        true
    }

    /// Closes the window at the time up to which samples were taken, unless the names thread is behind: then it grows,
    /// and nothing is lost.
    pub(super) fn close(
        &mut self,
        end: MonoNs,
        stages: &mut Stages,
        names: &Sender<Message>,
    ) -> anyhow::Result<()> {
        let until = stages.pipeline.counted_until(end);
        if names.is_full()
            || !self.told.send_new(&mut stages.pipeline, names)
            || !self.send_samples(until, 1, &mut stages.pipeline, names)
            || names.is_full()
        {
            return Ok(());
        }
        let whole = stages.account()?;
        let (left, by) = (stages.pipeline.take_left(), sys::now());
        let window = self.window(end, &whole, &mut stages.pipeline, false);
        // Only this thread sends, and there was room above.
        let window = Message::Window(Box::new(window));
        let _ = names.send(Message::Several(vec![window, Message::Left(left, by)]));
        self.next(end, whole);
        Ok(())
    }

    /// Closes the run's last window.
    pub(super) fn close_last(
        &mut self,
        end: MonoNs,
        stages: &mut Stages,
        names: &Sender<Message>,
    ) -> anyhow::Result<()> {
        if let Some(message) = self.told.new_stacks(&mut stages.pipeline) {
            let _ = names.send(message);
        }
        if let Some(timeline) = &mut stages.pipeline.timeline {
            while !timeline.is_empty() {
                let samples = timeline.take(MonoNs(u64::MAX), BATCH);
                let _ = names.send(Message::Samples(samples));
            }
        }
        let whole = stages.account()?;
        let mut window = self.window(end, &whole, &mut stages.pipeline, true);
        window.whole_run = Some((whole.counts, whole.ledger));
        let _ = names.send(Message::Window(Box::new(window)));
        Ok(())
    }

    fn window(
        &self,
        end: MonoNs,
        whole: &Whole,
        pipeline: &mut Pipeline,
        is_last: bool,
    ) -> ClosedWindow {
        let events = whole.ledger.events.iter().enumerate();
        ClosedWindow {
            span: WindowSpan {
                sequence: self.sequence,
                start: self.start,
                end,
                start_unix_ns: sys::unix_ns_at(self.start),
                is_last,
            },
            counts: pipeline.counting.close_window(),
            processes: counters::minus(&whole.counts, &self.counts_before),
            ledger: Ledger {
                events: events
                    .map(|(idx, event)| account::between(self.before.events.get(idx), event))
                    .collect(),
                stacks: whole.ledger.stacks.since(&self.before.stacks),
                side_band_lost: whole.ledger.side_band_lost - self.before.side_band_lost,
                out_of_order: whole.ledger.out_of_order - self.before.out_of_order,
                records_left_out: whole.ledger.records_left_out - self.before.records_left_out,
                cost: whole.ledger.cost.as_ref().map(|cost| {
                    let before = self.before.cost.as_ref();
                    before.map_or_else(|| cost.clone(), |before| cost.since(before))
                }),
                python: whole.ledger.python.as_ref().map(|python| {
                    let before = self.before.python.as_ref();
                    before.map_or_else(|| python.clone(), |before| python.since(before))
                }),
                rate_changes: whole.ledger.rate_changes[self.before.rate_changes.len()..].to_vec(),
                jit: JitLedger::default(),
            },
            whole_run: None,
            of: None,
        }
    }

    fn next(&mut self, end: MonoNs, whole: Whole) {
        self.sequence += 1;
        self.start = end;
        if let (Some(due), Some(interval)) = (self.due, self.interval) {
            self.due = Some(next_due(due, interval, end));
        }
        self.before = whole.ledger;
        self.counts_before = whole.counts;
    }
}

/// The first moment after `now` that is whole intervals after `due`.
pub(super) fn next_due(due: MonoNs, interval: Duration, now: MonoNs) -> MonoNs {
    let passed = now.since(due).as_nanos() / interval.as_nanos().max(1) + 1;
    let nanos = passed.saturating_mul(interval.as_nanos());
    due.plus(Duration::from_nanos(
        u64::try_from(nanos).unwrap_or(u64::MAX),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_end_does_not_move_the_windows_that_follow() {
        let interval = Duration::from_nanos(100);
        for (now, expected) in [(200, 300), (223, 300), (299, 300), (300, 400), (757, 800)] {
            let next = next_due(MonoNs(200), interval, MonoNs(now));
            assert_eq!(next, MonoNs(expected), "{now}");
        }
    }
}
