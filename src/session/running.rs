//! The loop of a run: waits, drains, closes windows, until something ends it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use super::attach::{self, Attached};
use super::names::{Finished, Names};
use super::outcome::{Observer, Outcome};
use super::overhead::Overhead;
use super::progress;
use super::spec::{Spec, Target};
use super::stages::Stages;
use super::window::Windows;
use crate::model::MonoNs;
use crate::sampler::{CopySize, SamplePlan, StackSource};
use crate::sys::signals::{Asked, EndSignal, Signals};
use crate::sys::spawn::Child;
use crate::sys::{self, Poller, Ticker, Waker, Wakeup};

/// How often the rings are drained when nothing wakes perfd earlier.
const DRAIN_EVERY: Duration = Duration::from_millis(25);
/// The same while nothing comes through the rings, as in the long run where stacks are walked in the kernel: to be woken takes more time
/// than to look.
const QUIET_EVERY: Duration = Duration::from_millis(100);
/// How often what was walked in the kernel is taken in: to look through its maps takes the same time for one count as for thousands,
/// and what finds them full goes through the rings.
const WALKED_EVERY: Duration = Duration::from_millis(250);
/// Or when so many samples wait: a quarter of what the maps hold if each has a stack of its own.
const MANY_WALKED: u64 = 4096;
/// Records younger than this stay in the rings: one that is older may still be on its way into another CPU's ring.
pub(super) const SETTLE: Duration = Duration::from_millis(2);

const SIGNALS: Wakeup = Wakeup(0);
const TICK: Wakeup = Wakeup(1);
const WORKERS: Wakeup = Wakeup(2);
const RINGS: Wakeup = Wakeup(3);
const TARGETS: Wakeup = Wakeup(4);

/// Why the sampling ended.
pub(super) enum Ended {
    TargetsGone,
    Duration,
    OutputsClosed,
    Signal(EndSignal),
    /// perfd cannot go on; the error is somebody else's to tell.
    Failed,
}

/// A run whose sampling has begun.
pub(super) struct Running<'a> {
    spec: &'a Spec,
    stages: Stages,
    windows: Windows,
    names: Names,
    targets: Vec<Attached>,
    child: Option<Child>,
    open_outputs: Arc<AtomicUsize>,
    poller: Poller,
    ticker: Ticker,
    /// How often it ticks.
    period: Duration,
    /// Whether the next tick was brought forward.
    is_awaited: bool,
    waker: Waker,
    signals: Signals,
    started: MonoNs,
    /// When that was last taken in that was walked in the kernel.
    walked_at: MonoNs,
    /// When the events have to be enabled, unless the command's exec does it.
    enable_at: Option<MonoNs>,
    end_at: Option<MonoNs>,
    overhead: Option<Overhead>,
}

impl<'a> Running<'a> {
    #[expect(
        clippy::too_many_arguments,
        reason = "everything that was opened, once, from one place"
    )]
    pub(super) fn new(
        spec: &'a Spec,
        started: MonoNs,
        stages: Stages,
        names: Names,
        targets: Vec<Attached>,
        child: Option<Child>,
        open_outputs: Arc<AtomicUsize>,
        waker: Waker,
        signals: Signals,
    ) -> anyhow::Result<Running<'a>> {
        let mut running = Running {
            spec,
            stages,
            windows: Windows::new(started, spec.interval),
            names,
            targets,
            child,
            open_outputs,
            poller: Poller::new().context("create an epoll set")?,
            ticker: Ticker::every(DRAIN_EVERY).context("create a timer")?,
            period: DRAIN_EVERY,
            is_awaited: false,
            waker,
            signals,
            started,
            walked_at: started,
            enable_at: enable_at(spec, started),
            end_at: spec
                .duration
                .map(|duration| started.plus(spec.delay).plus(duration)),
            overhead: spec.max_overhead.map(Overhead::new),
        };
        running.watch().context("watch the rings and the targets")?;
        running.enable_when_due(started)?;
        Ok(running)
    }

    fn watch(&self) -> io::Result<()> {
        self.poller.add(&self.signals, SIGNALS)?;
        self.poller.add(&self.ticker, TICK)?;
        self.poller.add(&self.waker, WORKERS)?;
        for ring in self.stages.sampling.descriptors() {
            self.poller.add_edge(ring, RINGS)?;
        }
        for target in &self.targets {
            self.poller.add(&target.pidfd, TARGETS)?;
        }
        self.child
            .iter()
            .try_for_each(|child| self.poller.add(child.pidfd(), TARGETS))
    }

    /// Samples until something ends it.
    pub(super) fn until_end(&mut self, observer: &mut impl Observer) -> anyhow::Result<Ended> {
        let mut ready = Vec::new();
        loop {
            self.poller.wait(&mut ready).context("wait for events")?;
            if ready.contains(&SIGNALS)
                && let Some(signal) = self.signals.next().context("read a signal")?
            {
                return Ok(Ended::Signal(signal));
            }
            if ready.contains(&TICK) {
                self.ticker.acknowledge();
                self.is_awaited = false;
            }
            if ready.contains(&RINGS) && !self.is_awaited {
                // A sample came through the ring because the kernel does not know a mapping or a table: it is told as soon as the
                // records before that sample can be read.
                self.ticker
                    .set_next(SETTLE, DRAIN_EVERY)
                    .context("set a timer")?;
                self.period = DRAIN_EVERY;
                self.is_awaited = true;
            }
            if ready.contains(&WORKERS) {
                self.waker.acknowledge();
            }
            let now = sys::now();
            let is_quiet = self.drain(now)?;
            if ready.contains(&TICK) {
                self.tick(is_quiet && !self.is_due_within(QUIET_EVERY, now))?;
            }
            observer.progress(self.progress(now));
            if (ready.contains(&TARGETS) || self.has_single_threads()) && self.all_targets_gone() {
                return Ok(Ended::TargetsGone);
            }
            if self.end_at.is_some_and(|end| end <= now) {
                return Ok(Ended::Duration);
            }
            if self.open_outputs.load(Ordering::Relaxed) == 0 {
                return Ok(Ended::OutputsClosed);
            }
            self.enable_when_due(now)?;
        }
    }

    /// Ticks slowly or not.
    fn tick(&mut self, slowly: bool) -> anyhow::Result<()> {
        let period = match slowly {
            true => QUIET_EVERY,
            false => DRAIN_EVERY,
        };
        if period != self.period {
            self.ticker.set(period).context("set a timer")?;
            self.period = period;
        }
        Ok(())
    }

    /// Whether something has its time before then.
    fn is_due_within(&self, time: Duration, now: MonoNs) -> bool {
        let then = now.plus(time);
        let ends = [self.enable_at, self.end_at].into_iter().flatten();
        ends.chain(self.windows.due()).any(|at| at <= then)
    }

    /// Takes in what the rings and the table workers have, and closes the window if its time has come. `true` if there was little of it.
    fn drain(&mut self, now: MonoNs) -> anyhow::Result<bool> {
        self.stages.pipeline.collect_tables();
        self.stages.pipeline.collect_held();
        let settled = now.minus(SETTLE);
        // Before anything new is taken, which waits again.
        let is_answered = self
            .stages
            .pipeline
            .held
            .is_answered_since(self.windows.due());
        let n_taken = self.stages.take(settled);
        let n_walked = self.stages.sampling.n_walked_waiting()?;
        let is_quiet = n_taken == 0
            && self.stages.sampling.is_walked_in_kernel()
            && self.stages.pipeline.is_settled()
            && n_walked < MANY_WALKED / 4;
        if self.windows.is_due(settled)
            || self.walked_at.plus(WALKED_EVERY) <= now
            || n_walked >= MANY_WALKED
        {
            self.stages.take_walked()?;
            self.walked_at = now;
        }
        let is_due = self.windows.is_due(settled);
        let is_overdue = self.windows.is_overdue(settled);
        if is_overdue {
            self.stages.pipeline.count_held_at_once();
        }
        if is_due && (self.stages.pipeline.is_settled_but_for(is_answered) || is_overdue) {
            self.windows.close(settled, &mut self.stages, &self.names)?;
        }
        let is_due = self.windows.is_due(settled);
        self.stages.pipeline.held.ask(now, is_due);
        // What is walked in the kernel is known up to when it was last taken in.
        let until = self.walked_at.minus(SETTLE);
        self.windows
            .send_ready(until, &mut self.stages.pipeline, &self.names);
        self.resize_copy()?;
        self.bound_overhead(now)?;
        Ok(is_quiet)
    }

    /// Opens the events anew if the stack copy should have another size.
    fn resize_copy(&mut self) -> anyhow::Result<()> {
        let Some(bytes) = self.stages.pipeline.wanted_copy.take() else {
            return Ok(());
        };
        let before = self.stages.sampling.plan().stack_source;
        let resize = |plan: &mut SamplePlan| plan.stack_source = StackSource::Copy(bytes);
        let is_done = attach::reopen(self.spec, &mut self.stages, &self.targets, resize)?;
        if let (false, StackSource::Copy(bytes)) = (is_done, before) {
            self.stages.pipeline.copy_size = CopySize::fixed(bytes);
        }
        Ok(())
    }

    /// Lowers the rate if the samples have taken more than they may.
    fn bound_overhead(&mut self, now: MonoNs) -> anyhow::Result<()> {
        let Some(overhead) = self
            .overhead
            .as_mut()
            .filter(|overhead| self.enable_at.is_none() && overhead.is_due(now))
        else {
            return Ok(());
        };
        let used_ns = self.stages.meter.of_sampling_ns(&self.stages.sampling);
        match overhead.observe(now, used_ns) {
            Some(used) => attach::halve_rates(
                self.spec,
                &mut self.stages,
                &self.targets,
                used,
                self.started,
            ),
            None => Ok(()),
        }
    }

    fn enable_when_due(&mut self, now: MonoNs) -> anyhow::Result<()> {
        if self.enable_at.is_some_and(|at| at <= now) {
            // The kernel's walk is told of the targets before their first samples, not behind them.
            self.stages.take(now.minus(SETTLE));
            self.stages.enable()?;
            self.enable_at = None;
        }
        Ok(())
    }

    /// The end of a single thread wakes nobody: it is learnt from its exit record.
    fn has_single_threads(&self) -> bool {
        self.targets.iter().any(Attached::is_single_threads)
    }

    fn all_targets_gone(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            return matches!(child.try_wait(), Ok(Some(_)) | Err(_));
        }
        // Descriptors of the dead would wake the poller forever; closing one takes it out of the set.
        let processes = &self.stages.pipeline.processes;
        self.targets.retain(|target| target.is_alive(processes));
        self.targets.is_empty()
    }

    fn progress(&self, now: MonoNs) -> progress::Status {
        let taken = &self.stages.pipeline.taken;
        progress::Status {
            elapsed: now.since(self.started),
            samples: taken.iter().map(|taken| taken.delivered.samples).sum(),
            lost: self.stages.sampling.lost_records()
                + taken.iter().map(|taken| taken.queue_full).sum::<u64>(),
        }
    }

    /// Ends the sampling, takes in what is left, and waits for names and outputs.
    pub(super) fn finish(mut self, ended: Ended) -> anyhow::Result<Outcome> {
        let asked = match ended {
            Ended::Signal(_) => Asked::Once,
            Ended::TargetsGone | Ended::Duration | Ended::OutputsClosed | Ended::Failed => {
                Asked::NotYet
            }
        };
        self.signals.release(asked).context("unblock signals")?;
        self.stages
            .sampling
            .disable()
            .context("disable the sampled events")?;
        // What is still to be done takes its time, in which nothing is to be counted.
        self.stages
            .counters
            .disable()
            .context("disable the counters")?;
        let end = sys::now();
        self.stages.meter.stop(&self.stages.sampling);
        if let Some(child) = &self.child {
            ask_to_end(child, &ended)?;
        }
        self.stages.take(MonoNs(u64::MAX));
        self.stages.take_walked()?;
        while !self.stages.pipeline.resume() && self.stages.pipeline.wait_for_table() {}
        self.stages.pipeline.give_up();
        self.stages.pipeline.count_held_at_end(end);
        self.windows
            .close_last(end, &mut self.stages, &self.names)?;
        let Finished {
            outputs,
            last,
            notes,
        } = self.names.finish();
        let outputs = outputs.finish();
        let status = match &mut self.child {
            None => None,
            Some(child) => Some(child.wait().context("wait for the command")?),
        };
        Ok(Outcome {
            last,
            elapsed: end.since(self.started),
            status,
            outputs,
            notes,
        })
    }
}

/// A signal that reached perfd alone is passed on; when the time is over, or nobody reads the profile any more, the
/// command is asked to end, as `perfd stat` does.
fn ask_to_end(child: &Child, ended: &Ended) -> anyhow::Result<()> {
    let signal = match ended {
        Ended::Signal(signal) if !signal.from_terminal => signal.request.signal(),
        Ended::OutputsClosed | Ended::Duration | Ended::Failed => Signal::SIGTERM,
        Ended::Signal(_) | Ended::TargetsGone => return Ok(()),
    };
    child
        .signal(signal)
        .context("pass the signal on to the command")
}

fn enable_at(spec: &Spec, started: MonoNs) -> Option<MonoNs> {
    let by_exec = matches!(
        spec.target,
        Target::Command {
            whole_host: false,
            ..
        }
    );
    (!by_exec || !spec.delay.is_zero()).then(|| started.plus(spec.delay))
}
