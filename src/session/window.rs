//! Windows of time: when one is due, and what goes into it when it is closed.

use std::time::Duration;

use crossbeam_channel::TrySendError;

use super::account;
use super::names::{ClosedWindow, Message, Names};
use super::pipeline::Pipeline;
use super::stages::{Stages, Whole};
use crate::model::{Ledger, MonoNs, ProcessCounts, WindowSpan};
use crate::sampler::counters;
use crate::sys;

/// How long a window waits for tables that its samples need.
const PATIENCE: Duration = Duration::from_secs(2);

/// The sequence of windows, and what has been told to the names thread.
pub(super) struct Windows {
    interval: Option<Duration>,
    sequence: u64,
    start: MonoNs,
    /// The account of the run as of the last window.
    before: Ledger,
    counts_before: Vec<ProcessCounts>,
    sent_modules: usize,
    sent_comms: usize,
}

impl Windows {
    pub(super) fn new(start: MonoNs, interval: Option<Duration>) -> Windows {
        Windows {
            interval,
            sequence: 0,
            start,
            before: Ledger::default(),
            counts_before: Vec::new(),
            sent_modules: 0,
            sent_comms: 0,
        }
    }

    /// The end of the open window, if it has come.
    pub(super) fn due(&self, now: MonoNs) -> Option<MonoNs> {
        let end = self.start.plus(self.interval?);
        (end <= now).then_some(end)
    }

    /// Whether the open window should not wait for anything any more.
    pub(super) fn is_overdue(&self, now: MonoNs) -> bool {
        self.due(now.minus(PATIENCE)).is_some()
    }

    /// Tells the names thread of new stacks; if it is behind, they wait here. `true` if all are sent.
    pub(super) fn send_new(&mut self, pipeline: &mut Pipeline, names: &Names) -> bool {
        self.new_stacks(pipeline)
            .is_none_or(|message| match names.messages.try_send(message) {
                Ok(()) => {
                    self.sent(pipeline);
                    true
                }
                Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                    if let Message::New { stacks, .. } = message {
                        pipeline.counting.stacks.put_back(stacks);
                    }
                    false
                }
            })
    }

    fn new_stacks(&self, pipeline: &mut Pipeline) -> Option<Message> {
        let stacks = pipeline.counting.stacks.take_new();
        let (modules, comms) = (&pipeline.processes.modules, &pipeline.processes.comms);
        let is_quiet = self.sent_comms == comms.len() && stacks.is_empty();
        (!is_quiet).then(|| Message::New {
            modules: modules.from(self.sent_modules).to_vec(),
            comms: comms.from(self.sent_comms).to_vec(),
            stacks,
        })
    }

    fn sent(&mut self, pipeline: &Pipeline) {
        self.sent_modules = pipeline.processes.modules.len();
        self.sent_comms = pipeline.processes.comms.len();
    }

    /// Closes the window, unless the names thread is behind: then it grows, and nothing is lost.
    pub(super) fn close(
        &mut self,
        end: MonoNs,
        stages: &mut Stages,
        names: &Names,
    ) -> anyhow::Result<()> {
        if names.messages.is_full()
            || !self.send_new(&mut stages.pipeline, names)
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
            },
            whole_run: None,
        }
    }

    fn next(&mut self, end: MonoNs, whole: Whole) {
        self.sequence += 1;
        self.start = end;
        self.before = whole.ledger;
        self.counts_before = whole.counts;
    }
}
