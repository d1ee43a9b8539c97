//! The loop of an engine: takes in what is asked of it and what was sampled, and closes windows.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::closing::{self, Now, Windows};
use super::handle::Command;
use super::held_target::{Closing, HeldTarget, Whom};
use super::membership::Membership;
use super::renewing::{self, Past, Wear};
use super::voice::{Answers, Voice};
use super::{EngineEvent, EngineSpec, EngineStats, TargetEnd};
use crate::model::{Cpu, Fault, FaultClass, MonoNs, Pid, RunInfo, SampledEvent, TargetId};
use crate::procfs::cgroups::Cgroups;
use crate::sampler::counters::Plan;
use crate::session::foundation::Foundation;
use crate::session::names::{Message, Names};
use crate::session::pump::{Drained, OTHERS, PATIENCE, Pace, Pump};
use crate::session::told::Told;
use crate::session::window::next_due;
use crate::session::{Spec, opening};
use crate::sys::{self, Waker, Wakeup};
use crate::target::Domains;

pub(super) const COMMANDS: Wakeup = Wakeup(OTHERS);
pub(super) const TARGETS: Wakeup = Wakeup(OTHERS + 1);

/// Nobody waits for what an engine samples but for the end of a window, which brings it forward.
pub(super) const PACE: Pace = Pace {
    drain: Duration::from_millis(25),
    quiet: Duration::from_millis(250),
    walked: Duration::from_secs(1),
};

/// So many commands are taken before what was sampled is looked at again.
const MOST_COMMANDS: usize = 16;

/// Sets of targets that are known; more are looked through, and those given up that nobody is in.
const MOST_GROUPS: usize = 4096;

/// An engine whose sampling has begun.
pub(super) struct Looping {
    pub(super) spec: EngineSpec,
    pub(super) run: Spec,
    pub(super) pump: Pump,
    pub(super) cpus: Vec<Cpu>,
    /// What is counted in processes, and everywhere.
    pub(super) plan: Plan,
    pub(super) host_plan: Option<Plan>,
    pub(super) targets: BTreeMap<TargetId, HeldTarget>,
    pub(super) names: Names<Voice>,
    pub(super) told: Told,
    pub(super) answers: Answers,
    commands: Receiver<Command>,
    pub(super) waker: Waker,
    pub(super) notes: Vec<String>,
    stats: Arc<Mutex<EngineStats>>,
    /// When the open windows have lasted long enough.
    boundary: MonoNs,
    pub(super) looked_at: MonoNs,
    /// Processes that have ended: when that was noticed, and since when they had their numbers.
    pub(super) dead: VecDeque<(MonoNs, Pid, MonoNs)>,
    pub(super) past: Past,
    pub(super) wear: Wear,
}

/// What the loop is given by who holds the engine.
pub(super) struct Ends {
    pub(super) commands: Receiver<Command>,
    /// Woken for commands.
    pub(super) waker: Waker,
    pub(super) events: Sender<EngineEvent>,
    /// Woken for events.
    pub(super) heard: Waker,
    pub(super) stats: Arc<Mutex<EngineStats>>,
}

impl Looping {
    /// Opens everything and starts sampling, of nobody yet.
    pub(super) fn open(spec: EngineSpec, ends: Ends) -> anyhow::Result<Looping> {
        let run = spec.run();
        let domains = Cgroups::find(&spec.roots).ok().map(Domains::new);
        let membership = Membership::new(spec.roots.proc.clone(), spec.limits.processes, domains);
        let Foundation {
            stages,
            jit,
            begin,
            waker,
            cpus,
            notes,
        } = renewing::lay(&spec, &run, membership)?;
        let plan = stages.counters.plan().clone();
        let answers = Answers::new(ends.events, ends.heard);
        let names = renewing::names(&spec, &run, &stages, begin, jit, answers.voice())?;
        let now = sys::now();
        let pump = Pump::new(stages, waker, PACE, now)?;
        pump.watch(&ends.waker, COMMANDS)?;
        let mut looping = Looping {
            boundary: now.plus(spec.interval),
            run,
            pump,
            cpus,
            plan,
            host_plan: None,
            targets: BTreeMap::new(),
            names,
            told: Told::default(),
            answers,
            commands: ends.commands,
            waker: ends.waker,
            notes,
            stats: ends.stats,
            looked_at: now,
            dead: VecDeque::new(),
            past: Past::default(),
            wear: Wear::default(),
            spec,
        };
        looping.measure()?;
        Ok(looping)
    }

    /// Samples until nobody holds the engine any more. Then the last windows follow, and the ends of all targets.
    pub(super) fn until_end(mut self) {
        let failed = self.work().err();
        let ended = self.end_all();
        let failed = failed.or(ended.err());
        let Looping {
            names,
            answers,
            stats,
            ..
        } = self;
        answers.finish();
        let failed = failed.map(|error| EngineEvent::Failed(as_fault(&error)));
        let stats = stats.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let finished = EngineEvent::Finished(Box::new(stats));
        for event in failed.into_iter().chain([finished]) {
            let _ = names.messages.send(Message::Say(event));
        }
        names.finish();
    }

    fn work(&mut self) -> anyhow::Result<()> {
        loop {
            self.pump.wait()?;
            if self.pump.is_ready(COMMANDS) {
                self.waker.acknowledge();
            }
            if !self.take_commands()? {
                return Ok(());
            }
            if self.pump.is_ready(TARGETS) {
                self.notice_ended_processes()?;
            }
            let now = sys::now();
            let due = self.due();
            let drained = self.pump.drain(now, Some(due))?;
            self.forget_dead(drained.settled);
            self.end_targets(now);
            self.make_cuts(drained.settled)?;
            self.close(drained)?;
            let due = self.due();
            self.pump.ask_held(now, Some(due));
            let pipeline = &mut self.pump.stages.pipeline;
            self.told.send_new(pipeline, &self.names.messages);
            let is_said = self.answers.feed();
            let soon = now.plus(self.pump.longest_tick());
            self.pump.tick(drained.is_quiet && is_said && due > soon)?;
        }
    }

    /// `false`: nobody holds the engine any more.
    fn take_commands(&mut self) -> anyhow::Result<bool> {
        for _ in 0..MOST_COMMANDS {
            match self.commands.try_recv() {
                Ok(Command::Attach(id, member, authority)) => {
                    let is_new = !self.targets.contains_key(&id);
                    let answer = match self.take_in(id, member, authority) {
                        Ok(notes) => EngineEvent::Attached { target: id, notes },
                        Err(error) => EngineEvent::Refused {
                            target: id,
                            fault: as_fault(&error),
                        },
                    };
                    self.note_targets();
                    self.answers.push(answer);
                    // Of a target that gets one more process, the first is watched already.
                    if is_new {
                        self.watch_target(id)?;
                    }
                }
                Ok(Command::Detach(id)) => {
                    let now = sys::now();
                    if let Some(target) = self.targets.get_mut(&id) {
                        target.end(now, TargetEnd::Detached);
                        self.pump.tick_soon()?;
                    }
                }
                Ok(Command::Cut(id, token)) => {
                    let now = sys::now();
                    if let Some(target) = self.targets.get_mut(&id).filter(|of| !of.is_ending()) {
                        target.closings.push_back((now, Closing::Cut(token)));
                        self.pump.tick_soon()?;
                    }
                }
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
        // There may be more.
        self.waker.wake();
        Ok(true)
    }

    /// When the next window is to be closed.
    fn due(&self) -> MonoNs {
        let asked = self.targets.values().filter_map(HeldTarget::due).min();
        asked.map_or(self.boundary, |asked| asked.min(self.boundary))
    }

    /// Makes the cuts that were asked for until `settled`. All is taken in that was sampled by then.
    fn make_cuts(&mut self, settled: MonoNs) -> anyhow::Result<()> {
        let side_band_lost = self.lost_side_band();
        let pipeline = &mut self.pump.stages.pipeline;
        let said = closing::cut(&mut self.targets, pipeline, settled, side_band_lost)?;
        said.into_iter().for_each(|cut| self.answers.push(cut));
        Ok(())
    }

    /// Closes what is due, unless who is to be told is behind: then windows grow, and nothing is lost.
    fn close(&mut self, drained: Drained) -> anyhow::Result<()> {
        let end = drained.settled;
        let pipeline = &self.pump.stages.pipeline;
        let windows = match drained.is_closable {
            true if self.boundary <= end => Windows::All,
            true => Windows::Ending,
            false if closing::is_a_cut_closable(&self.targets, pipeline, end) => Windows::Cut,
            false => return Ok(()),
        };
        let messages = &self.names.messages;
        let pipeline = &mut self.pump.stages.pipeline;
        let is_behind = !self.answers.feed() || messages.is_full();
        if is_behind || !self.told.send_new(pipeline, messages) || messages.is_full() {
            return Ok(());
        }
        let is_boundary = windows == Windows::All;
        // Before the windows are closed: what is not known by then is not in them.
        let left = match is_boundary {
            true => self.pump.stages.pipeline.take_left(),
            false => Vec::new(),
        };
        let by = sys::now();
        let mut windows = self.close_windows(end, windows)?;
        if !left.is_empty() {
            windows.push(Message::Left(left, by));
        }
        // Who has got a window finds figures that are not older.
        if is_boundary {
            self.measure()?;
        }
        // Only this thread sends, and there was room above.
        let _ = self.names.messages.send(Message::Several(windows));
        if is_boundary {
            self.boundary = next_due(self.boundary, self.spec.interval, end);
            self.forget_what_is_not_needed();
            self.renew_if_worn()?;
        }
        Ok(())
    }

    fn close_windows(&mut self, end: MonoNs, windows: Windows) -> anyhow::Result<Vec<Message>> {
        let side_band_lost = self.lost_side_band();
        let stages = &mut self.pump.stages;
        let now = Now {
            end,
            windows,
            side_band_lost,
        };
        let events = stages.sampling.plan().events.clone();
        let (windows, ended) =
            closing::close(&mut self.targets, &mut stages.pipeline, &events, &now)?;
        let mut was_host = false;
        for id in ended {
            let target = self.targets.remove(&id);
            if let Some(Whom::Process {
                pidfd: Some(pidfd), ..
            }) = target.as_ref().map(|target| &target.whom)
            {
                self.pump.unwatch(pidfd);
            }
            was_host |= target.is_some_and(|target| matches!(target.whom, Whom::Host));
            let domain = self.membership().own_domain(id);
            self.membership().remove_target(id);
            if let (Some(domain), Some(kernel_walk)) =
                (domain, self.pump.stages.sampling.kernel_walk_mut())
            {
                kernel_walk
                    .remove_domain(domain)
                    .context("tell the kernel's walk what is a target")?;
            }
        }
        if was_host {
            self.follow_everybody()?;
        }
        Ok(windows)
    }

    /// Tables that only grow begin anew where nothing that is still to come bears their numbers.
    fn forget_what_is_not_needed(&mut self) {
        let pipeline = &mut self.pump.stages.pipeline;
        pipeline.give_back_tables();
        let is_settled = pipeline.is_settled();
        let counting = &mut pipeline.counting;
        if counting.is_empty() && counting.stacks.is_nearly_full() && !self.names.messages.is_full()
        {
            counting.stacks.forget();
            let _ = self.names.messages.send(Message::Forget);
        }
        let is_counted = is_settled && counting.is_empty();
        let membership = self.membership();
        if is_counted && membership.n_groups() > MOST_GROUPS {
            membership.compact();
        }
    }

    /// Tells the programs whether there is a target that everybody is in.
    pub(super) fn follow_everybody(&mut self) -> anyhow::Result<()> {
        let everybody = self.membership().takes_everybody();
        match self.pump.stages.sampling.kernel_walk_mut() {
            Some(kernel_walk) => kernel_walk
                .follow_everybody(everybody)
                .context("tell the kernel's walk what is a target"),
            None => Ok(()),
        }
    }

    /// Says how many targets there are before the next account does.
    fn note_targets(&self) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.targets = self.targets.len();
        stats.processes = self.pump.stages.pipeline.processes.len();
    }

    /// Draws up the account.
    pub(super) fn measure(&mut self) -> anyhow::Result<()> {
        let stages = &mut self.pump.stages;
        let mut ledger = stages.account()?.ledger;
        self.past.add_to(&mut ledger);
        let stats = EngineStats {
            cpu_ns: sys::cpu_time_of_thread(),
            cost: ledger.cost.clone().unwrap_or_default(),
            ring_bytes: (stages.sampling.ring_pages() * sys::page_size() * self.cpus.len()) as u64,
            targets: self.targets.len(),
            processes: stages.pipeline.processes.len(),
            stacks: stages.pipeline.counting.stacks.len(),
            modules: stages.pipeline.processes.modules.len(),
            refused_processes: self.membership().refused(),
            renewals: self.past.renewals,
            ledger,
        };
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner) = stats;
        Ok(())
    }

    /// Ends the sampling, and closes the last windows of all targets.
    fn end_all(&mut self) -> anyhow::Result<()> {
        let now = sys::now();
        for target in self.targets.values_mut() {
            target.end(now, TargetEnd::EngineEnded);
        }
        // For tables no longer than any window.
        self.close_all(sys::now(), PATIENCE)?;
        self.measure()
    }

    /// Ends the sampling, takes in what is left, and closes all windows, whoever has to wait for that. What waits for a table longer than
    /// `patience` is lost.
    pub(super) fn close_all(&mut self, now: MonoNs, patience: Duration) -> anyhow::Result<()> {
        let stages = &mut self.pump.stages;
        stages
            .sampling
            .disable()
            .context("disable the sampled events")?;
        self.pump.drain_to_end(now, Some(patience))?;
        let new = self.told.new_stacks(&mut self.pump.stages.pipeline);
        self.make_cuts(now)?;
        let windows = self.close_windows(now, Windows::All)?;
        for message in new.into_iter().chain([Message::Several(windows)]) {
            let _ = self.names.messages.send(message);
        }
        Ok(())
    }

    /// Side-band records that were lost since the engine began.
    pub(super) fn lost_side_band(&self) -> u64 {
        self.past.side_band_lost + self.pump.stages.side_band_lost
    }

    /// The events, as they are sampled.
    pub(super) fn sampled_events(&self) -> Vec<SampledEvent> {
        self.describe(&Whom::Host, Vec::new()).events
    }

    pub(super) fn describe(&self, whom: &Whom, notes: Vec<String>) -> RunInfo {
        let text = match whom {
            Whom::Process { pid, .. } => format!("pid {pid}"),
            Whom::Cgroup { path, .. } => format!("cgroup {}", path.display()),
            Whom::Host => "the whole host".to_owned(),
        };
        let sampling = &self.pump.stages.sampling;
        opening::describe(&self.run, sampling, text, notes)
    }

    pub(super) fn membership(&mut self) -> &mut Membership {
        let members = self.pump.stages.pipeline.members.of_targets();
        members.expect("an engine is laid with the members of targets")
    }
}

/// The error, as somebody else may tell it.
pub(super) fn as_fault(error: &anyhow::Error) -> Fault {
    match error.downcast_ref::<Fault>() {
        Some(fault) => fault.clone(),
        None => Fault::new(FaultClass::System, format!("{error:#}")),
    }
}
