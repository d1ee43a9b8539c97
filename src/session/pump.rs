//! What a run does over and over while it samples: waits for rings, tables and time, and takes in what there is.
//!
//! It knows no target and closes no window: it says when one may be closed. Two go on from here, `running.rs` for a run and
//! `engine/looping.rs` for an engine.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context;

use super::stages::Stages;
use crate::model::MonoNs;
use crate::sys::pidfd::PidFd;
use crate::sys::{self, Poller, Ticker, Waker, Wakeup};

/// Records younger than this stay in the rings: one that is older may still be on its way into another CPU's ring.
pub(super) const SETTLE: Duration = Duration::from_millis(2);
/// How long a window waits for tables that its samples need.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// When so many samples wait in the kernel they are taken in: a quarter of what its maps hold if each has a stack of its own.
const MANY_WALKED: u64 = 4096;

const TICK: Wakeup = Wakeup(0);
const WORKERS: Wakeup = Wakeup(1);
const RINGS: Wakeup = Wakeup(2);
/// The first number that is free for others.
pub(super) const OTHERS: u64 = 3;

/// How often something is done when nothing asks for it earlier.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The rings are drained.
    pub(super) drain: Duration,
    /// The same while nothing comes through them, as in the long run where stacks are walked in the kernel: to be woken takes more time than
    /// to look.
    pub(super) quiet: Duration,
    /// What was walked in the kernel is taken in: to look through its maps takes the same time for one count as for thousands, and what finds
    /// them full goes through the rings.
    pub(super) walked: Duration,
}

impl Pace {
    /// Of a run: what it shows is young.
    pub(super) const RUN: Pace = Pace {
        drain: Duration::from_millis(25),
        quiet: Duration::from_millis(100),
        walked: Duration::from_millis(250),
    };
}

/// The stages of a run and what wakes them.
pub(super) struct Pump {
    pub(super) stages: Stages,
    pub(super) poller: Poller,
    pace: Pace,
    ticker: Ticker,
    /// How often it ticks.
    period: Duration,
    /// Whether the next tick was brought forward.
    is_awaited: bool,
    has_ticked: bool,
    waker: Waker,
    /// When that was last taken in that was walked in the kernel.
    walked_at: MonoNs,
    ready: Vec<Wakeup>,
}

/// What has been taken in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drained {
    /// All up to then.
    pub(super) settled: MonoNs,
    /// It was little.
    pub(super) is_quiet: bool,
    /// What is due by then may be closed: nothing that belongs into it waits any more, or has waited too long.
    pub(super) is_closable: bool,
}

impl Pump {
    /// `waker` is woken by the workers of the stages.
    pub(super) fn new(
        stages: Stages,
        waker: Waker,
        pace: Pace,
        started: MonoNs,
    ) -> anyhow::Result<Pump> {
        let pump = Pump {
            stages,
            poller: Poller::new().context("create an epoll set")?,
            pace,
            ticker: Ticker::every(pace.drain).context("create a timer")?,
            period: pace.drain,
            is_awaited: false,
            has_ticked: false,
            waker,
            walked_at: started,
            ready: Vec::new(),
        };
        pump.watch_all().context("watch the rings")?;
        Ok(pump)
    }

    fn watch_all(&self) -> std::io::Result<()> {
        self.poller.add(&self.ticker, TICK)?;
        self.poller.add(&self.waker, WORKERS)?;
        let mut rings = self.stages.sampling.descriptors();
        rings.try_for_each(|ring| self.poller.add_edge(ring, RINGS))
    }

    /// Wakes with a number of [`OTHERS`] or above when `fd` can be read.
    pub(super) fn watch(&self, fd: impl AsFd, wakeup: Wakeup) -> anyhow::Result<()> {
        self.poller.add(fd, wakeup).context("watch a descriptor")
    }

    /// Wakes once when the process has ended. Also if others hold the same descriptor, and keep it among what is waited for longer than we do.
    pub(super) fn watch_end(&self, process: &PidFd, wakeup: Wakeup) -> anyhow::Result<()> {
        let watched = self.poller.add_edge(process, wakeup);
        watched.context("watch a process")
    }

    /// Does not wait for that any more. Closing does not suffice: see above.
    pub(super) fn unwatch(&self, process: &PidFd) {
        // It was watched, so that this does not fail; if it did, it would wake once too often.
        let _ = self.poller.remove(process);
    }

    /// Waits until something happens.
    pub(super) fn wait(&mut self) -> anyhow::Result<()> {
        self.poller
            .wait(&mut self.ready)
            .context("wait for events")?;
        self.has_ticked = self.is_ready(TICK);
        if self.has_ticked {
            self.ticker.acknowledge();
            self.is_awaited = false;
        }
        if self.is_ready(RINGS) && !self.is_awaited {
            // A sample came through the ring because the kernel does not know a mapping or a table: it is told as soon as the records before
            // that sample can be read.
            self.tick_soon()?;
        }
        if self.is_ready(WORKERS) {
            self.waker.acknowledge();
        }
        Ok(())
    }

    /// Whether this has woken it.
    pub(super) fn is_ready(&self, wakeup: Wakeup) -> bool {
        self.ready.contains(&wakeup)
    }

    /// Ticks next when what happens now can be read.
    pub(super) fn tick_soon(&mut self) -> anyhow::Result<()> {
        self.ticker
            .set_next(SETTLE, self.pace.drain)
            .context("set a timer")?;
        self.period = self.pace.drain;
        self.is_awaited = true;
        Ok(())
    }

    /// Ticks slowly or not, from the next tick on.
    pub(super) fn tick(&mut self, slowly: bool) -> anyhow::Result<()> {
        let period = match slowly {
            true => self.pace.quiet,
            false => self.pace.drain,
        };
        if self.has_ticked && period != self.period {
            self.ticker.set(period).context("set a timer")?;
            self.period = period;
        }
        Ok(())
    }

    /// How long it may be until the next tick.
    pub(super) fn longest_tick(&self) -> Duration {
        self.pace.quiet
    }

    /// Takes in what the rings and the table workers have, and what the kernel has walked if it is time for that. `due`: when the next
    /// window has lasted long enough.
    pub(super) fn drain(&mut self, now: MonoNs, due: Option<MonoNs>) -> anyhow::Result<Drained> {
        let Stages { pipeline, .. } = &mut self.stages;
        pipeline.collect_tables();
        pipeline.collect_interpreters();
        pipeline.collect_held();
        let settled = now.minus(SETTLE);
        // Before anything new is taken, which waits again.
        let is_answered = pipeline.held.is_answered_since(due);
        let n_taken = self.stages.take(settled)?;
        let n_walked = self.stages.sampling.n_walked_waiting()?;
        let is_quiet = n_taken == 0
            && self.stages.sampling.is_walked_in_kernel()
            && self.stages.pipeline.is_settled()
            && n_walked < MANY_WALKED / 4;
        let is_due = is_due(due, settled);
        if is_due || self.walked_at.plus(self.pace.walked) <= now || n_walked >= MANY_WALKED {
            self.stages.take_walked()?;
            self.walked_at = now;
        }
        let is_overdue = is_overdue(due, settled);
        if is_overdue {
            self.stages.pipeline.count_held_at_once();
        }
        let is_closable =
            is_due && (self.stages.pipeline.is_settled_but_for(is_answered) || is_overdue);
        Ok(Drained {
            settled,
            is_quiet,
            is_closable,
        })
    }

    /// Asks what became of code made at run time; at once, if a window waits for the answer.
    pub(super) fn ask_held(&mut self, now: MonoNs, due: Option<MonoNs>) {
        let is_due = is_due(due, now.minus(SETTLE));
        self.stages.pipeline.held.ask(now, is_due);
    }

    /// The time up to which all is known that was walked in the kernel.
    pub(super) fn walked_until(&self) -> MonoNs {
        self.walked_at.minus(SETTLE)
    }

    /// Takes in all that is left, when nothing is sampled any more. What cannot be walked by then is lost, and what waits for tables longer than
    /// `patience`; `None`: as long as there comes one.
    pub(super) fn drain_to_end(
        &mut self,
        end: MonoNs,
        patience: Option<Duration>,
    ) -> anyhow::Result<()> {
        self.stages.take(MonoNs(u64::MAX))?;
        self.stages.take_walked()?;
        let pipeline = &mut self.stages.pipeline;
        let until = patience.map(|patience| sys::now().plus(patience));
        let left = || until.map(|until| until.since(sys::now()));
        while !pipeline.resume()
            && left() != Some(Duration::ZERO)
            && pipeline.wait_for_table(left())
        {}
        pipeline.give_up();
        pipeline.count_held_at_end(end);
        Ok(())
    }
}

/// Whether the open window has lasted long enough.
fn is_due(due: Option<MonoNs>, now: MonoNs) -> bool {
    due.is_some_and(|due| due <= now)
}

/// Whether the open window should not wait for anything any more.
fn is_overdue(due: Option<MonoNs>, now: MonoNs) -> bool {
    is_due(due, now.minus(PATIENCE))
}

/// The moment up to which everything can be read of what happens now.
pub(super) fn settled_now() -> MonoNs {
    sys::now().minus(SETTLE)
}
