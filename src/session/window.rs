//! Windows of time: when one is due, and what goes into it when it is closed.

use std::time::Duration;

use crossbeam_channel::TrySendError;

use super::account;
use super::names::{ClosedWindow, Message, Names};
use super::pipeline::Pipeline;
use super::stages::{Stages, Whole};
use crate::model::{JitLedger, Ledger, MonoNs, ProcessCounts, WindowSpan};
use crate::sampler::counters;
use crate::sys;

/// How long a window waits for tables that its samples need.
const PATIENCE: Duration = Duration::from_secs(2);
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
    sent_modules: usize,
    sent_comms: usize,
    sent_python: usize,
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
            sent_modules: 0,
            sent_comms: 0,
            sent_python: 0,
        }
    }

    /// When the open window will have lasted long enough, if it ends by time.
    pub(super) fn due(&self) -> Option<MonoNs> {
        self.due
    }

    /// Whether the open window has lasted long enough.
    pub(super) fn is_due(&self, now: MonoNs) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// Whether the open window should not wait for anything any more.
    pub(super) fn is_overdue(&self, now: MonoNs) -> bool {
        self.is_due(now.minus(PATIENCE))
    }

    /// Tells the names thread of new stacks, and of samples by themselves if many wait.
    pub(super) fn send_ready(&mut self, until: MonoNs, pipeline: &mut Pipeline, names: &Names) {
        if self.send_new(pipeline, names) && pipeline.timeline.is_some() {
            self.send_samples(pipeline.counted_until(until), BATCH, pipeline, names);
        }
    }

    /// Tells the names thread of new stacks; if it is behind, they wait here. `true` if all are sent.
    fn send_new(&mut self, pipeline: &mut Pipeline, names: &Names) -> bool {
        let Some(message) = self.new_stacks(pipeline) else {
            return true;
        };
        let (n_modules, n_python) = match &message {
            Message::New {
                modules, python, ..
            } => (modules.len(), python.len()),
            Message::Samples(_) | Message::Window(_) => (0, 0),
        };
        match names.messages.try_send(message) {
            Ok(()) => {
                self.sent_modules += n_modules;
                self.sent_python += n_python;
                self.sent_comms = pipeline.processes.comms.len();
                true
            }
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                if let Message::New { stacks, spans, .. } = message {
                    pipeline.counting.stacks.put_back(stacks);
                    pipeline.held.put_back_spans(&spans);
                }
                false
            }
        }
    }

    /// Hands samples from up to `until` to the names thread, as long as `least` or more wait: they go on in order of time. `false` if it is
    /// behind. All stacks must be sent before.
    fn send_samples(
        &self,
        until: MonoNs,
        least: usize,
        pipeline: &mut Pipeline,
        names: &Names,
    ) -> bool {
        let Some(timeline) = &mut pipeline.timeline else {
            return true;
        };
        while timeline.len() >= least {
            if names.messages.is_full() {
                return false;
            }
            let samples = timeline.take(until, BATCH);
            if samples.is_empty() {
                break;
            }
            // Only this thread sends, and there was room above.
            let _ = names.messages.send(Message::Samples(samples));
        }
        true
    }

    fn new_stacks(&self, pipeline: &mut Pipeline) -> Option<Message> {
        let stacks = pipeline.counting.stacks.take_new();
        let (modules, comms) = (&pipeline.processes.modules, &pipeline.processes.comms);
        let spans = pipeline.held.take_spans();
        let is_quiet = self.sent_comms == comms.len() && stacks.is_empty() && spans.is_empty();
        // Where a module is mapped may be learnt until a stack leads through it.
        let modules = match stacks.is_empty() {
            true => Vec::new(),
            false => modules.from(self.sent_modules).to_vec(),
        };
        let python = pipeline.python.as_ref();
        let python = python.and_then(|python| python.names.get(self.sent_python..));
        (!is_quiet).then(|| Message::New {
            modules,
            python: python.unwrap_or_default().to_vec(),
            comms: comms.from(self.sent_comms).to_vec(),
            stacks,
            spans,
        })
    }

    /// Closes the window at the time up to which samples were taken, unless the names thread is behind: then it grows,
    /// and nothing is lost.
    pub(super) fn close(
        &mut self,
        end: MonoNs,
        stages: &mut Stages,
        names: &Names,
    ) -> anyhow::Result<()> {
        let until = stages.pipeline.counted_until(end);
        if names.messages.is_full()
            || !self.send_new(&mut stages.pipeline, names)
            || !self.send_samples(until, 1, &mut stages.pipeline, names)
            || names.messages.is_full()
        {
            return Ok(());
        }
        let whole = stages.account()?;
        let window = self.window(end, &whole, &mut stages.pipeline, false);
        // Only this thread sends, and there was room above.
        let _ = names.messages.send(Message::Window(Box::new(window)));
        self.next(end, whole);
        Ok(())
    }

    /// Closes the run's last window.
    pub(super) fn close_last(
        &mut self,
        end: MonoNs,
        stages: &mut Stages,
        names: &Names,
    ) -> anyhow::Result<()> {
        if let Some(message) = self.new_stacks(&mut stages.pipeline) {
            let _ = names.messages.send(message);
        }
        if let Some(timeline) = &mut stages.pipeline.timeline {
            while !timeline.is_empty() {
                let samples = timeline.take(MonoNs(u64::MAX), BATCH);
                let _ = names.messages.send(Message::Samples(samples));
            }
        }
        let whole = stages.account()?;
        let mut window = self.window(end, &whole, &mut stages.pipeline, true);
        window.whole_run = Some((whole.counts, whole.ledger));
        let _ = names.messages.send(Message::Window(Box::new(window)));
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
fn next_due(due: MonoNs, interval: Duration, now: MonoNs) -> MonoNs {
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
