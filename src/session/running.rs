//! The loop of a run: waits, drains, closes windows, until something ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::Signal;

use super::attach::{self, Attached};
use super::names::{Finished, Names};
use super::outcome::{Observer, Outcome};
use super::outputs::Outputs;
use super::overhead::Overhead;
use super::progress;
use super::pump::{OTHERS, Pace, Pump, SETTLE};
use super::spec::{Spec, Target};
use super::stages::Stages;
use super::window::Windows;
use crate::model::MonoNs;
use crate::sampler::{CopySize, SamplePlan, StackSource};
use crate::sys::signals::{Asked, EndSignal, Signals};
use crate::sys::spawn::Child;
use crate::sys::{self, Waker, Wakeup};

const SIGNALS: Wakeup = Wakeup(OTHERS);
const TARGETS: Wakeup = Wakeup(OTHERS + 1);

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
    pump: Pump,
    windows: Windows,
    names: Names<Outputs>,
    targets: Vec<Attached>,
    child: Option<Child>,
    open_outputs: Arc<AtomicUsize>,
    signals: Signals,
    started: MonoNs,
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
        names: Names<Outputs>,
        targets: Vec<Attached>,
        child: Option<Child>,
        open_outputs: Arc<AtomicUsize>,
        waker: Waker,
        signals: Signals,
    ) -> anyhow::Result<Running<'a>> {
        let mut running = Running {
            spec,
            pump: Pump::new(stages, waker, Pace::RUN, started)?,
            windows: Windows::new(started, spec.interval),
            names,
            targets,
            child,
            open_outputs,
            signals,
            started,
            enable_at: enable_at(spec, started),
            end_at: spec
                .duration
                .map(|duration| started.plus(spec.delay).plus(duration)),
            overhead: spec.max_overhead.map(Overhead::new),
        };
        running.watch()?;
        running.enable_when_due(started)?;
        Ok(running)
    }

    fn watch(&self) -> anyhow::Result<()> {
        self.pump.watch(&self.signals, SIGNALS)?;
        for target in &self.targets {
            self.pump.watch(&target.pidfd, TARGETS)?;
        }
        self.child
            .iter()
            .try_for_each(|child| self.pump.watch(child.pidfd(), TARGETS))
    }

    /// Samples until something ends it.
    pub(super) fn until_end(&mut self, observer: &mut impl Observer) -> anyhow::Result<Ended> {
        loop {
            self.pump.wait()?;
            if self.pump.is_ready(SIGNALS)
                && let Some(signal) = self.signals.next().context("read a signal")?
            {
                return Ok(Ended::Signal(signal));
            }
            let now = sys::now();
            let is_quiet = self.drain(now)?;
            let is_quiet = is_quiet && !self.is_due_within(self.pump.longest_tick(), now);
            self.pump.tick(is_quiet)?;
            observer.progress(self.progress(now));
            if (self.pump.is_ready(TARGETS) || self.has_single_threads()) && self.all_targets_gone()
            {
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

    /// Whether something has its time before then.
    fn is_due_within(&self, time: Duration, now: MonoNs) -> bool {
        let then = now.plus(time);
        let ends = [self.enable_at, self.end_at].into_iter().flatten();
        ends.chain(self.windows.due()).any(|at| at <= then)
    }

    /// Takes in what there is, and closes the window if its time has come. `true` if there was little of it.
    fn drain(&mut self, now: MonoNs) -> anyhow::Result<bool> {
        let drained = self.pump.drain(now, self.windows.due())?;
        if drained.is_closable {
            self.windows
                .close(drained.settled, &mut self.pump.stages, &self.names.messages)?;
        }
        self.pump.ask_held(now, self.windows.due());
        let until = self.pump.walked_until();
        self.windows
            .send_ready(until, &mut self.pump.stages.pipeline, &self.names.messages);
        self.resize_copy()?;
        self.bound_overhead(now)?;
        Ok(drained.is_quiet)
    }

    /// Opens the events anew if the stack copy should have another size.
    fn resize_copy(&mut self) -> anyhow::Result<()> {
        let Some(bytes) = self.pump.stages.pipeline.wanted_copy.take() else {
            return Ok(());
        };
        let before = self.pump.stages.sampling.plan().stack_source;
        let resize = |plan: &mut SamplePlan| plan.stack_source = StackSource::Copy(bytes);
        let is_done = attach::reopen(self.spec, &mut self.pump.stages, &self.targets, resize)?;
        if let (false, StackSource::Copy(bytes)) = (is_done, before) {
            self.pump.stages.pipeline.copy_size = CopySize::fixed(bytes);
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
        let used_ns = self
            .pump
            .stages
            .meter
            .of_sampling_ns(&self.pump.stages.sampling);
        match overhead.observe(now, used_ns) {
            Some(used) => attach::halve_rates(
                self.spec,
                &mut self.pump.stages,
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
            self.pump.stages.take(now.minus(SETTLE))?;
            self.pump.stages.enable()?;
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
        let processes = &self.pump.stages.pipeline.processes;
        self.targets.retain(|target| target.is_alive(processes));
        self.targets.is_empty()
    }

    fn progress(&self, now: MonoNs) -> progress::Status {
        let taken = &self.pump.stages.pipeline.taken;
        progress::Status {
            elapsed: now.since(self.started),
            samples: taken.iter().map(|taken| taken.delivered.samples).sum(),
            lost: self.pump.stages.sampling.lost_records()
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
        self.pump
            .stages
            .sampling
            .disable()
            .context("disable the sampled events")?;
        // What is still to be done takes its time, in which nothing is to be counted.
        self.pump
            .stages
            .counters
            .disable()
            .context("disable the counters")?;
        let end = sys::now();
        self.pump.stages.meter.stop(&self.pump.stages.sampling);
        if let Some(child) = &self.child {
            ask_to_end(child, &ended)?;
        }
        self.pump.drain_to_end(end, None)?;
        self.windows
            .close_last(end, &mut self.pump.stages, &self.names.messages)?;
        let Finished {
            destination,
            last,
            notes,
        } = self.names.finish();
        let outputs = destination.finish();
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
