//! From the user's words to open events: a running process is never stopped, and none of its threads is taken twice.
//!
//! ```text
//! pidfd ─▶ side-band event, then sampled events (disabled) on every thread, until two listings show no new one
//!       ─▶ mappings from /proc/PID/maps ─▶ is it still the same process? ─▶ enable
//! ```

use std::collections::BTreeSet;
use std::io;

use anyhow::Context;

use super::count_process::count_process;
use super::pump::SETTLE;
use super::refused::{gone, gone_or, refused, unreadable};
use super::spec::Spec;
use super::stages::Stages;
use crate::model::{Cpu, FaultClass, MonoNs, Pid, RateChange, Tid};
use crate::procfs::tasks;
use crate::sampler::counters::{self, Counters};
use crate::sampler::{Reach, SamplePlan, Sampling};
use crate::sys::event_error::OpenEventError;
use crate::sys::pidfd::PidFd;
use crate::sys::spawn::Prepared;
use crate::sys::{self, Poller, Start, Ticker, Wakeup};
use crate::target::{Found, Processes};

/// How often the threads of a process that creates them all the time are listed.
const MOST_PASSES: usize = 50;

/// A process that is profiled.
pub(super) struct Attached {
    pub(super) pid: Pid,
    pub(super) pidfd: PidFd,
    /// The threads that are meant; `None` for all.
    threads: Option<Vec<Tid>>,
}

/// What the events of targets are opened in.
pub(super) struct Opened<'a> {
    pub(super) spec: &'a Spec,
    pub(super) stages: &'a mut Stages,
}

impl Opened<'_> {
    /// Opens everything on one running process.
    pub(super) fn process(&mut self, found: Found) -> anyhow::Result<Attached> {
        let Found { pid, threads } = found;
        let pidfd = PidFd::open(pid).map_err(|error| gone_or(pid, error))?;
        let attached = Attached {
            pid,
            pidfd,
            threads,
        };
        let proc_root = &self.spec.roots.proc;
        let comm = tasks::comm(proc_root, pid, pid.main_thread()).unwrap_or_default();
        let comm = String::from_utf8_lossy(&comm).into_owned();
        if self.stages.sampling.plan().reach == Reach::Threads {
            attached.open_threads(self.spec, &mut self.stages.sampling)?;
        }
        attached.count(self.spec, &mut self.stages.counters, &comm)?;
        let modules = self
            .stages
            .pipeline
            .processes
            .add_running(pid, sys::now())
            .map_err(|error| unreadable(pid, error))?;
        modules
            .into_iter()
            .for_each(|module| self.stages.pipeline.want(module));
        self.stages.pipeline.found_mapped(pid);
        if !attached.pidfd.is_alive().unwrap_or(false) {
            return Err(gone(pid).into());
        }
        Ok(attached)
    }

    /// Opens everything on a command that waits before its exec.
    pub(super) fn command(&mut self, prepared: &Prepared, comm: &str) -> anyhow::Result<()> {
        let pid = prepared.pid();
        let thread = Some((pid, pid.main_thread()));
        let start = if self.spec.delay.is_zero() {
            Start::OnExec
        } else {
            Start::Disabled
        };
        self.stages
            .sampling
            .open_side_band(thread, Start::Enabled)
            .and_then(|()| self.stages.sampling.open(thread, start))
            .and_then(|()| self.stages.counters.add_prepared(pid, comm))
            .map_err(|error| refused(&self.spec.roots, &error))?;
        // Its mappings are still perfd's own: they go away with the exec, and no sample is taken before that.
        self.stages
            .pipeline
            .processes
            .add_empty(pid, comm.as_bytes(), sys::now());
        self.foresee(prepared);
        Ok(())
    }

    /// Asks for the tables that a command will most likely need from its first instruction on.
    fn foresee(&mut self, prepared: &Prepared) {
        let pipeline = &mut self.stages.pipeline;
        let modules = pipeline
            .processes
            .foresee(prepared.pid(), prepared.file())
            .unwrap_or_default();
        modules.into_iter().for_each(|module| pipeline.want(module));
    }

    /// Opens the events of all CPUs.
    pub(super) fn cpus(&mut self) -> anyhow::Result<()> {
        let sampling = &mut self.stages.sampling;
        sampling
            .open_side_band(None, Start::Enabled)
            .and_then(|()| sampling.open(None, Start::Disabled))
            .map_err(|error| refused(&self.spec.roots, &error))?;
        if let Some(kernel_walk) = sampling.kernel_walk_mut() {
            let since = sys::now();
            kernel_walk
                .forks_are_known_since(since)
                .context("tell the kernel's walk what is a target")?;
        }
        Ok(())
    }

    /// Takes in everything that runs.
    pub(super) fn host(&mut self, cpus: &[Cpu]) -> anyhow::Result<()> {
        self.stages
            .counters
            .add_host(cpus)
            .map_err(|error| refused(&self.spec.roots, &error))?;
        let since: MonoNs = sys::now();
        for pid in tasks::processes(&self.spec.roots.proc).unwrap_or_default() {
            // Those that end now, and kernel threads, have nothing mapped.
            let _ = self.stages.pipeline.processes.add_running(pid, since);
            self.stages.pipeline.found_mapped(pid);
        }
        Ok(())
    }
}

/// Opens the sampled events anew with a changed plan, and switches over; the time in which nothing was sampled is taken
/// down. If they cannot all be opened, everything stays as it is, and the answer is `false`: a plan that no longer fits is better than
/// threads that nobody samples.
pub(super) fn reopen(
    spec: &Spec,
    stages: &mut Stages,
    targets: &[Attached],
    change: impl FnOnce(&mut SamplePlan),
) -> anyhow::Result<bool> {
    let old = stages.sampling.next_generation(change);
    let opened = match stages.sampling.plan().reach {
        Reach::Threads => open_living(spec, stages, targets),
        Reach::Cpus => {
            let opened = stages.sampling.open(None, Start::Disabled);
            opened.map_err(anyhow::Error::new)
        }
    };
    if opened.is_err() {
        stages.sampling.keep(old);
        return Ok(false);
    }
    let gap = stages
        .sampling
        .retire(old)
        .context("switch to events that were opened anew")?;
    stages.reopened_gap_ns += u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
    Ok(true)
}

/// Opens all events anew at half their rate, because sampling took `used` of a CPU; nothing, if they have the lowest already.
pub(super) fn halve_rates(
    spec: &Spec,
    stages: &mut Stages,
    targets: &[Attached],
    used: f64,
    started: MonoNs,
) -> anyhow::Result<()> {
    let before = stages.sampling.plan().events.clone();
    if before.iter().all(|event| event.rate == event.rate.halved()) {
        return Ok(());
    }
    let halve = |plan: &mut SamplePlan| {
        for event in &mut plan.events {
            event.rate = event.rate.halved();
        }
    };
    if !reopen(spec, stages, targets, halve)? {
        return Ok(());
    }
    let at = sys::now();
    let events = &stages.sampling.plan().events;
    let change = RateChange {
        at,
        after: at.since(started),
        used,
        rates: events.iter().map(|event| event.rate).collect(),
    };
    stages.rates_changed(&before, change)
}

/// Opens the sampled events on every thread that is sampled: those of the targets, and what they have created.
///
/// ```text
/// repeat: wait until all records before this moment can be read → which threads live? → none new? done : open them
/// ```
///
/// What a thread creates after it was opened inherits; what it created before is known in the next round.
fn open_living(spec: &Spec, stages: &mut Stages, targets: &[Attached]) -> anyhow::Result<()> {
    let (poller, ticker) = (Poller::new()?, Ticker::every(SETTLE)?);
    poller.add(&ticker, Wakeup(0))?;
    let mut opened = BTreeSet::new();
    let mut ready = Vec::new();
    for _ in 0..MOST_PASSES {
        let now = sys::now();
        ticker.set(SETTLE)?;
        poller.wait(&mut ready)?;
        stages.take(now)?;
        // The targets that have ended meanwhile cannot be listed.
        let listed = targets.iter().filter_map(|target| {
            let threads = target.list(spec).ok()?;
            Some(threads.into_iter().map(|tid| (target.pid, tid)))
        });
        let living: BTreeSet<(Pid, Tid)> = listed
            .flatten()
            .chain(stages.pipeline.processes.new_threads())
            .collect();
        let new: Vec<(Pid, Tid)> = living.difference(&opened).copied().collect();
        if new.is_empty() {
            return Ok(());
        }
        for (pid, tid) in new {
            open_thread(&mut stages.sampling, pid, tid, Open::SampledOnly)?;
            opened.insert((pid, tid));
        }
    }
    anyhow::bail!("threads come up faster than they can be opened")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    All,
    SampledOnly,
}

impl Attached {
    /// Whether single threads of the process are meant.
    pub(super) fn is_single_threads(&self) -> bool {
        self.threads.is_some()
    }

    /// Whether the process, and if single threads are meant one of those, has not ended.
    pub(super) fn is_alive(&self, processes: &Processes) -> bool {
        let lives = |tid: &Tid| processes.task(*tid).is_some();
        self.pidfd.is_alive().unwrap_or(false)
            && self
                .threads
                .as_ref()
                .is_none_or(|threads| threads.iter().any(lives))
    }

    fn open_threads(&self, spec: &Spec, sampling: &mut Sampling) -> anyhow::Result<()> {
        let mut opened = BTreeSet::new();
        let mut quiet_passes = 0;
        for _ in 0..MOST_PASSES {
            let listed = self.list(spec).map_err(|error| gone_or(self.pid, error))?;
            let new: Vec<Tid> = listed.difference(&opened).copied().collect();
            quiet_passes = if new.is_empty() { quiet_passes + 1 } else { 0 };
            // Two passes: a thread may be created between the listing and the opening of its creator.
            if quiet_passes == 2 {
                break;
            }
            for tid in new {
                open_thread(sampling, self.pid, tid, Open::All)
                    .map_err(|error| refused(&spec.roots, &error))?;
                opened.insert(tid);
            }
        }
        Ok(())
    }

    fn list(&self, spec: &Spec) -> io::Result<BTreeSet<Tid>> {
        let living = tasks::threads(&spec.roots.proc, self.pid)?;
        Ok(match &self.threads {
            None => living,
            Some(wanted) => wanted
                .iter()
                .copied()
                .filter(|tid| living.contains(tid))
                .collect(),
        })
    }

    fn count(&self, spec: &Spec, counters: &mut Counters, comm: &str) -> anyhow::Result<()> {
        match count_process(counters, 0, self.pid, comm, || self.list(spec)) {
            Ok(()) => Ok(()),
            Err(counters::AttachError::Open(error)) => Err(refused(&spec.roots, &error).into()),
            Err(counters::AttachError::Gone(pid)) => Err(gone(pid).into()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Passes over a thread that has ended meanwhile.
fn open_thread(
    sampling: &mut Sampling,
    pid: Pid,
    tid: Tid,
    what: Open,
) -> Result<(), OpenEventError> {
    let thread = Some((pid, tid));
    let side_band = match what {
        Open::All => sampling.open_side_band(thread, Start::Enabled),
        Open::SampledOnly => Ok(()),
    };
    match side_band.and_then(|()| sampling.open(thread, Start::Disabled)) {
        Err(error) if error.class() == FaultClass::NoSuchTarget => Ok(()),
        opened => opened,
    }
}
