//! One measurement: open, start, wait, read.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::super::refused::refused;
use super::output::{Output, Reader};
use super::run::online_cpus;
use super::spec::{Form, Over, StatSpec};
use super::{json, text};
use crate::model::{Fault, FaultClass, Pid, ProcessCounts};
use crate::procfs::tasks;
use crate::sampler::counters::{AttachError, Counters, Plan, attach, minus};
use crate::sys::pidfd::PidFd;
use crate::sys::signals::Signals;
use crate::sys::spawn::{Child, Prepared, Status, Stdout};
use crate::sys::{Poller, Ticker, Wakeup, limits};
use crate::target::{Found, Selection, find};

/// What one measurement gave.
#[derive(Clone, Debug)]
pub(super) struct Measured {
    /// From the start of the command, or of counting, to the end.
    pub elapsed: Duration,
    /// One entry for each target.
    pub processes: Vec<ProcessCounts>,
    /// How the command ended, if there was one.
    pub status: Option<Status>,
    /// A signal ended it: there shall be no further run.
    pub interrupted: bool,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// What is there before the first count.
struct Ready {
    counters: Counters,
    prepared: Option<Prepared>,
    /// Processes that were running before; the measurement ends with the last of them.
    held: Vec<PidFd>,
    notes: Vec<String>,
}

/// Counts once, and tells the intervals as they pass.
pub(super) fn measure(
    spec: &StatSpec,
    plan: &Plan,
    signals: &Signals,
    number: u32,
    output: &mut Output<'_>,
) -> anyhow::Result<Measured> {
    let mut ready = make_ready(spec, plan)?;
    ready.counters.enable().context("start counting")?;
    let start = Instant::now();
    let child = ready
        .prepared
        .take()
        .map(Prepared::start)
        .transpose()
        .map_err(|error| error.fault())?;
    // Not before: what could not be started has no use for them. Not again: each run has the same events.
    for note in plan.notes().filter(|_| number == 1) {
        output.say(&format!("perfd: {note}\n"));
    }
    for note in &ready.notes {
        output.say(&format!("perfd: {note}\n"));
    }
    let mut watch = Watch {
        spec,
        signals,
        number,
        start,
        child,
        told: Told {
            at: Duration::ZERO,
            counts: Vec::new(),
        },
        counters: ready.counters,
    };
    let end = watch.until_the_end(&ready.held, output)?;
    let processes = watch.counters.read().context("read the counts")?;
    if spec.interval.is_some() && end.elapsed > watch.told.at {
        // The last one is shorter; whoever reads it is about to be told the end anyway.
        let _: Reader = watch.tell_interval(end.elapsed, processes.clone(), output)?;
    }
    let status = watch.child.as_mut().map(Child::wait).transpose();
    Ok(Measured {
        elapsed: end.elapsed,
        processes,
        status: status.context("wait for the command")?,
        interrupted: end.interrupted,
        notes: plan.notes().chain(&ready.notes).cloned().collect(),
    })
}

fn make_ready(spec: &StatSpec, plan: &Plan) -> anyhow::Result<Ready> {
    let mut ready = Ready {
        counters: Counters::new(plan.clone(), spec.children),
        // Forked before limits are raised, which it would inherit.
        prepared: spec
            .over
            .command()
            .map(|command| fork(command, spec.form))
            .transpose()?,
        held: Vec::new(),
        notes: Vec::new(),
    };
    match (&spec.over, &ready.prepared) {
        (Over::Processes { pids, with_tree }, _) => {
            // Not raised is not fatal: a target with few threads does not need it.
            let _ = limits::raise_open_files();
            let selection = Selection::Processes {
                pids: pids.clone(),
                with_tree: *with_tree,
            };
            for Found { pid, .. } in
                find(&spec.roots.proc, &selection).map_err(|error| error.fault())?
            {
                attach_to(spec, pid, &mut ready)?;
            }
        }
        (Over::Host(_), _) => {
            let _ = limits::raise_open_files();
            let added = ready.counters.add_host(&online_cpus(spec)?);
            added.map_err(|error| refused(&spec.roots, &error))?;
        }
        (Over::Command(command), Some(prepared)) => {
            let added = ready
                .counters
                .add_prepared(prepared.pid(), &name_of(command));
            added.map_err(|error| refused(&spec.roots, &error))?;
        }
        (Over::Command(_), None) => unreachable!("a command is forked above"),
    }
    Ok(ready)
}

fn fork(command: &[OsString], form: Form) -> anyhow::Result<Prepared> {
    let stdout = match form {
        Form::Text => Stdout::Inherit,
        Form::Json => Stdout::ToStderr,
    };
    Prepared::fork(command, stdout).with_context(|| format!("fork for {}", name_of(command)))
}

/// The program without its folder, as the kernel names the process after `exec`.
fn name_of(command: &[OsString]) -> String {
    let program = command.first().map(Path::new).and_then(Path::file_name);
    program.map_or(String::new(), |name| name.to_string_lossy().into_owned())
}

fn attach_to(spec: &StatSpec, pid: Pid, ready: &mut Ready) -> anyhow::Result<()> {
    let gone = || Fault::new(FaultClass::NoSuchTarget, AttachError::Gone(pid).to_string());
    let held = match PidFd::open(pid) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Err(gone().into()),
        other => other.with_context(|| format!("take hold of pid {pid}"))?,
    };
    let comm = tasks::comm(&spec.roots.proc, pid, pid.main_thread()).unwrap_or_default();
    let comm = String::from_utf8_lossy(&comm);
    let attached = attach(&mut ready.counters, pid, &comm, || {
        tasks::threads(&spec.roots.proc, pid)
    });
    let attached = match attached {
        Ok(attached) => attached,
        Err(AttachError::Open(error)) => return Err(refused(&spec.roots, &error).into()),
        Err(AttachError::Gone(_)) => return Err(gone().into()),
        Err(AttachError::List { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => {
            return Err(gone().into());
        }
        Err(error) => return Err(error.into()),
    };
    // The number may have gone to another process meanwhile, which must not be counted.
    if !held.is_alive().context("ask for the target's end")? {
        return Err(gone().into());
    }
    if attached.unsettled > 0 {
        ready.notes.push(format!(
            "pid {pid} creates threads faster than they can be listed: {} of those alive at the start may be missing from its counts",
            attached.unsettled
        ));
    }
    ready.held.push(held);
    Ok(())
}

/// How a measurement ended.
struct End {
    elapsed: Duration,
    interrupted: bool,
}

/// The intervals told so far.
struct Told {
    at: Duration,
    counts: Vec<ProcessCounts>,
}

/// A running measurement.
struct Watch<'a> {
    spec: &'a StatSpec,
    signals: &'a Signals,
    number: u32,
    start: Instant,
    child: Option<Child>,
    told: Told,
    counters: Counters,
}

const SIGNAL: Wakeup = Wakeup(0);
const INTERVAL: Wakeup = Wakeup(1);
const DURATION: Wakeup = Wakeup(2);
/// And all above it: a process that the measurement ends with.
const FIRST_PROCESS: u64 = 3;

impl Watch<'_> {
    /// Waits for the end of all processes, of the time, or a signal.
    fn until_the_end(&mut self, held: &[PidFd], output: &mut Output<'_>) -> anyhow::Result<End> {
        let command = self.child.as_ref().map(|child| child.pidfd().try_clone());
        let command = command.transpose().context("watch the command")?;
        let processes: Vec<&PidFd> = held.iter().chain(&command).collect();
        let poller = Poller::new().context("make an epoll set")?;
        poller.add(self.signals, SIGNAL).context("watch signals")?;
        let interval = timer(&poller, self.spec.interval, INTERVAL)?;
        let duration = timer(&poller, self.spec.duration, DURATION)?;
        for (wakeup, process) in (FIRST_PROCESS..).zip(&processes) {
            let added = poller.add(*process, Wakeup(wakeup));
            added.context("watch a process")?;
        }
        let mut n_alive = processes.len();
        let mut n_signals = 0;
        let mut ready = Vec::new();
        loop {
            poller.wait(&mut ready).context("wait")?;
            let elapsed = self.start.elapsed();
            let mut over = false;
            for &wakeup in &ready {
                match wakeup {
                    SIGNAL => {
                        over |= self.pass_signal_on(&mut n_signals)?;
                    }
                    INTERVAL => {
                        interval.iter().for_each(Ticker::acknowledge);
                        let counts = self.counters.read().context("read the counts")?;
                        over |= self.tell_interval(elapsed, counts, output)? == Reader::Gone
                            && self.child.is_none();
                    }
                    DURATION => {
                        duration.iter().for_each(Ticker::acknowledge);
                        over |= self.end_of_time()?;
                    }
                    Wakeup(process) => {
                        let index = usize::try_from(process - FIRST_PROCESS).unwrap_or(usize::MAX);
                        if let Some(process) = processes.get(index) {
                            poller.remove(*process).context("forget a process")?;
                        }
                        n_alive -= 1;
                        over |= n_alive == 0;
                    }
                }
            }
            if over {
                return Ok(End {
                    elapsed,
                    interrupted: n_signals > 0,
                });
            }
        }
    }

    /// A signal ends the measurement; if there is a command, by ending the command. Gives whether it is over already.
    fn pass_signal_on(&self, n_signals: &mut u32) -> anyhow::Result<bool> {
        while let Some(signal) = self.signals.next().context("read a signal")? {
            *n_signals += 1;
            let Some(child) = &self.child else {
                return Ok(true);
            };
            let passed_on = match (*n_signals, signal.from_terminal) {
                (1, true) => Ok(()),
                (1, false) => child.signal(signal.request.signal()),
                _ => child.signal(nix::sys::signal::Signal::SIGKILL),
            };
            passed_on.context("signal the command")?;
        }
        Ok(false)
    }

    /// The time is up. Gives whether it is over already.
    fn end_of_time(&self) -> anyhow::Result<bool> {
        let Some(child) = &self.child else {
            return Ok(true);
        };
        let sent = child.signal(nix::sys::signal::Signal::SIGTERM);
        sent.context("end the command")?;
        Ok(false)
    }

    fn tell_interval(
        &mut self,
        elapsed: Duration,
        counts: Vec<ProcessCounts>,
        output: &mut Output<'_>,
    ) -> anyhow::Result<Reader> {
        let counted = minus(&counts, &self.told.counts);
        let since = std::mem::replace(&mut self.told.at, elapsed);
        self.told.counts = counts;
        match self.spec.form {
            Form::Json => output.line(&json::of_interval(self.number, since, elapsed, &counted)),
            Form::Text => {
                output.say(&text::interval(since, elapsed, &counted));
                Ok(Reader::There)
            }
        }
    }
}

fn timer(
    poller: &Poller,
    period: Option<Duration>,
    wakeup: Wakeup,
) -> anyhow::Result<Option<Ticker>> {
    let Some(period) = period else {
        return Ok(None);
    };
    let ticker = Ticker::every(period).context("start a timer")?;
    poller.add(&ticker, wakeup).context("watch a timer")?;
    Ok(Some(ticker))
}
