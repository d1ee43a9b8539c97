//! A run from its spec to its end: opens everything in order, then waits and drains.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;

use super::attach::{self, Attached};
use super::events;
use super::names::Names;
use super::outputs::Outputs;
use super::pipeline::Pipeline;
use super::progress;
use super::spec::{Spec, Target};
use super::tables::Tables;
use super::window::Windows;
use crate::model::{
    CallGraph, Cpu, EventIdx, EventSource, EventSpec, Fault, FaultClass, MonoNs, Profile, RunInfo,
    SampledEvent,
};
use crate::procfs::{cpus, sysctl};
use crate::sampler::counters::{Children, Counters, Plan, Request, Scope};
use crate::sampler::{CopySize, SamplePlan, Sampling, StackSource};
use crate::sink::{OpenContext, Sink};
use crate::sys::signals::{EndSignal, Signals};
use crate::sys::spawn::{Child, Prepared, StartError, Status, Stdout};
use crate::sys::{self, Poller, Ticker, Waker, Wakeup, limits};
use crate::target::{self, FindError, Processes, Selection};

/// How often the rings are drained when nothing wakes perfd earlier.
const DRAIN_EVERY: Duration = Duration::from_millis(25);
/// Records younger than this stay in the rings: one that is older may still be on its way into another CPU's ring.
const SETTLE: Duration = Duration::from_millis(2);
/// How long a reader of a socket may take nothing.
const SINK_TIMEOUT: Duration = Duration::from_secs(10);

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// The last window, with the account of the whole run; `None` only if the names thread never made one.
    pub last: Option<Arc<Profile>>,
    /// From the first moment to the last in which samples were taken.
    pub elapsed: Duration,
    /// How the command ended, if the run had one.
    pub status: Option<Status>,
    /// What could not be written, and where it went instead.
    pub output_failures: Vec<String>,
}

/// Who is told.
pub trait Observer {
    /// Something the user should know, before the first sample.
    fn note(&mut self, note: &str);
    /// How far the run is; called at every drain.
    fn progress(&mut self, status: progress::Status);
    /// The sampling is over; what follows are the last window and the outputs.
    fn sampling_ended(&mut self);
}

const SIGNALS: Wakeup = Wakeup(0);
const TICK: Wakeup = Wakeup(1);
const WORKERS: Wakeup = Wakeup(2);
const RINGS: Wakeup = Wakeup(3);
const TARGETS: Wakeup = Wakeup(4);

/// Does a run.
pub fn run(spec: &Spec, observer: &mut impl Observer) -> anyhow::Result<Outcome> {
    let signals = Signals::block().context("block the signals that end a run")?;
    // A soft limit below the hard one is only a default; running short says so itself.
    let _ = limits::raise_open_files();
    let (events, mut notes) = events::choose(spec)?;
    let selection = match &spec.target {
        Target::Running(selection) => selection.clone(),
        Target::Command {
            whole_host: true, ..
        } => Selection::Host,
        Target::Command { .. } => Selection::Processes {
            pids: Vec::new(),
            with_tree: false,
        },
    };
    let found = target::find(&spec.roots.proc, &selection).map_err(find_fault)?;
    let cpus = cpus::online(&spec.roots).context("list the CPUs")?;
    let copy_size = copy_size(spec);
    let plan = SamplePlan {
        events,
        stack_source: stack_source(spec.call_graph, &copy_size),
        inherit: spec.inherit,
    };
    let mut sampling = Sampling::new(plan, &cpus, spec.ring_pages)?;
    notes.extend(ring_note(spec, &sampling));
    let mut counters = open_counters(spec, &sampling, &selection, &cpus)?;

    let run_info = Arc::new(describe(spec, &sampling, notes));
    run_info.notes.iter().for_each(|note| observer.note(note));
    let sinks = open_sinks(spec, &run_info)?;
    let prepared = prepare_command(spec)?;

    let poller = Poller::new().context("create an epoll set")?;
    let waker = Waker::new().context("create an eventfd")?;
    let tables = Tables::start(&spec.roots.proc, &waker).context("start the table workers")?;
    let mut pipeline = Pipeline::new(
        Processes::new(spec.roots.proc.clone()),
        tables,
        sampling.plan().events.len(),
        sampling.plan().stack_source,
        copy_size,
        spec.labels,
        selection == Selection::Host,
    );
    let mut targets = Vec::with_capacity(found.len());
    for (pid, threads) in found {
        let open = attach::attach_process(
            spec,
            &mut sampling,
            &mut counters,
            &mut pipeline,
            pid,
            threads,
        );
        targets.push(open?);
    }
    if selection == Selection::Host {
        attach::attach_host(spec, &mut sampling, &mut counters, &mut pipeline, &cpus)?;
    } else if let Some(prepared) = &prepared {
        let comm = command_name(spec);
        attach::attach_command(
            spec,
            &mut sampling,
            &mut counters,
            &mut pipeline,
            prepared,
            &comm,
        )?;
    }

    let outputs = Outputs::start(sinks, &waker).context("start the output threads")?;
    let open_outputs = outputs.open_count();
    let names = Names::start(run_info, spec.inline, spec.roots.proc.clone(), outputs)
        .context("start the names thread")?;
    let ticker = Ticker::every(DRAIN_EVERY).context("create a timer")?;
    poller.add(&signals, SIGNALS)?;
    poller.add(&ticker, TICK)?;
    poller.add(&waker, WORKERS)?;
    for ring in sampling.descriptors() {
        poller.add_edge(ring, RINGS)?;
    }
    for target in &targets {
        poller.add(&target.pidfd, TARGETS)?;
    }

    let child = prepared
        .map(Prepared::start)
        .transpose()
        .map_err(start_fault)?;
    if let Some(child) = &child {
        poller.add(child.pidfd(), TARGETS)?;
    }
    let started = sys::now();
    let mut running = Running {
        spec,
        sampling,
        counters,
        pipeline,
        windows: Windows::new(started, spec.interval),
        names,
        targets,
        child,
        open_outputs,
        n_outputs_at_start: spec.sinks.len(),
        started,
        enable_at: enable_at(spec, started),
        end_at: spec
            .duration
            .map(|duration| started.plus(spec.delay).plus(duration)),
        reopened_gap_ns: 0,
    };
    running.enable_when_due(started)?;
    let ended = running.until_end(&poller, &ticker, &waker, &signals, observer)?;
    observer.sampling_ended();
    // From here on a second Ctrl-C ends perfd at once.
    signals.release().context("unblock signals")?;
    running.finish(ended)
}

/// Why the sampling ended.
enum Ended {
    TargetsGone,
    Duration,
    OutputsClosed,
    Signal(EndSignal),
}

struct Running<'a> {
    spec: &'a Spec,
    sampling: Sampling,
    counters: Counters,
    pipeline: Pipeline,
    windows: Windows,
    names: Names,
    targets: Vec<Attached>,
    child: Option<Child>,
    open_outputs: Arc<AtomicUsize>,
    n_outputs_at_start: usize,
    started: MonoNs,
    /// When the events have to be enabled, unless the command's exec does it.
    enable_at: Option<MonoNs>,
    end_at: Option<MonoNs>,
    reopened_gap_ns: u64,
}

impl Running<'_> {
    fn until_end(
        &mut self,
        poller: &Poller,
        ticker: &Ticker,
        waker: &Waker,
        signals: &Signals,
        observer: &mut impl Observer,
    ) -> anyhow::Result<Ended> {
        let mut ready = Vec::new();
        loop {
            poller.wait(&mut ready).context("wait for events")?;
            for wakeup in &ready {
                match *wakeup {
                    SIGNALS => {
                        if let Some(signal) = signals.next().context("read a signal")? {
                            return Ok(Ended::Signal(signal));
                        }
                    }
                    TICK => ticker.acknowledge(),
                    WORKERS => waker.acknowledge(),
                    _ => (),
                }
            }
            let now = sys::now();
            self.drain(now)?;
            observer.progress(self.progress(now));
            if ready.contains(&TARGETS) && self.all_targets_gone() {
                return Ok(Ended::TargetsGone);
            }
            if self.end_at.is_some_and(|end| end <= now) {
                return Ok(Ended::Duration);
            }
            if self.n_outputs_at_start > 0 && self.open_outputs.load(Ordering::Relaxed) == 0 {
                return Ok(Ended::OutputsClosed);
            }
            self.enable_when_due(now)?;
        }
    }

    /// Takes in what the rings and the table workers have, and closes the window if its time has come.
    fn drain(&mut self, now: MonoNs) -> anyhow::Result<()> {
        if self.pipeline.tables.collect() {
            self.pipeline.resume();
        }
        let settled = now.minus(SETTLE);
        if let Some(end) = self.windows.due(settled) {
            self.take(end);
            if self.pipeline.is_settled() || self.windows.is_overdue(settled) {
                self.windows.close(
                    end,
                    &mut self.sampling,
                    &mut self.counters,
                    &mut self.pipeline,
                    self.reopened_gap_ns,
                    &self.names,
                )?;
            }
        }
        self.take(settled);
        self.windows.send_new(&mut self.pipeline, &self.names);
        if let Some(bytes) = self.pipeline.wanted_copy.take() {
            self.reopened_gap_ns +=
                attach::reopen(self.spec, &mut self.sampling, &self.targets, bytes)?;
        }
        Ok(())
    }

    fn take(&mut self, horizon: MonoNs) {
        let Running {
            sampling, pipeline, ..
        } = self;
        sampling.drain(horizon, |item| pipeline.take(&item));
    }

    fn enable_when_due(&mut self, now: MonoNs) -> anyhow::Result<()> {
        if self.enable_at.is_some_and(|at| at <= now) {
            self.sampling
                .enable()
                .context("enable the sampled events")?;
            if self.child.is_none() || self.is_whole_host() {
                self.counters.enable().context("enable the counters")?;
            }
            self.enable_at = None;
        }
        Ok(())
    }

    fn is_whole_host(&self) -> bool {
        matches!(
            self.spec.target,
            Target::Command {
                whole_host: true,
                ..
            }
        )
    }

    fn all_targets_gone(&mut self) -> bool {
        if let Some(child) = &mut self.child {
            return matches!(child.try_wait(), Ok(Some(_)) | Err(_));
        }
        // Descriptors of the dead would wake the poller forever; closing one takes it out of the set.
        self.targets
            .retain(|target| target.pidfd.is_alive().unwrap_or(false));
        self.targets.is_empty()
    }

    fn progress(&self, now: MonoNs) -> progress::Status {
        let taken = &self.pipeline.taken;
        progress::Status {
            elapsed: now.since(self.started),
            samples: taken.iter().map(|taken| taken.delivered.samples).sum(),
            lost: self.sampling.lost_records()
                + taken.iter().map(|taken| taken.queue_full).sum::<u64>(),
        }
    }

    fn finish(mut self, ended: Ended) -> anyhow::Result<Outcome> {
        self.sampling
            .disable()
            .context("disable the sampled events")?;
        let end = sys::now();
        self.take(MonoNs(u64::MAX));
        while !self.pipeline.resume() && self.pipeline.tables.wait() {}
        self.windows.close_last(
            end,
            &mut self.sampling,
            &mut self.counters,
            &mut self.pipeline,
            self.reopened_gap_ns,
            &self.names,
        )?;
        let (outputs, last) = self.names.finish();
        let reports = outputs.finish();
        let status = match &mut self.child {
            None => None,
            Some(child) => Some(end_child(child, &ended)?),
        };
        let output_failures = reports
            .into_iter()
            .flat_map(|report| report.failures)
            .collect();
        Ok(Outcome {
            last,
            elapsed: end.since(self.started),
            status,
            output_failures,
        })
    }
}

/// The command outlives `-d`; a signal that reached perfd alone is passed on; a closed output ends it as a closed pipe
/// ends any writer.
fn end_child(child: &mut Child, ended: &Ended) -> anyhow::Result<Status> {
    let signal = match ended {
        Ended::Signal(signal) if !signal.from_terminal => Some(signal.request.signal()),
        Ended::OutputsClosed => Some(nix::sys::signal::Signal::SIGTERM),
        Ended::Signal(_) | Ended::TargetsGone | Ended::Duration => None,
    };
    if let Some(signal) = signal {
        child
            .signal(signal)
            .context("pass the signal on to the command")?;
    }
    child.wait().context("wait for the command")
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

fn copy_size(spec: &Spec) -> CopySize {
    match (spec.call_graph, &spec.target) {
        (CallGraph::Dwarf { bytes: Some(bytes) }, _) => CopySize::fixed(bytes),
        // Attaching to single threads or processes can open their events anew; a command's children cannot be
        // listed safely, and the host's many processes have no depth in common.
        (_, Target::Running(Selection::Processes { .. } | Selection::Threads(_)))
            if spec.inherit =>
        {
            CopySize::adaptive()
        }
        _ => CopySize::fixed(CallGraph::MAX_COPY),
    }
}

fn stack_source(call_graph: CallGraph, copy_size: &CopySize) -> StackSource {
    match call_graph {
        CallGraph::Auto | CallGraph::Dwarf { .. } => StackSource::Copy(copy_size.bytes()),
        CallGraph::FramePointer => StackSource::FramePointer,
        CallGraph::None => StackSource::None,
    }
}

fn ring_note(spec: &Spec, sampling: &Sampling) -> Option<String> {
    let (got, asked) = (sampling.ring_pages(), sampling.asked_pages());
    let kb = sysctl::Sysctls::read(&spec.roots)
        .perf_event_mlock_kb
        .unwrap_or(0);
    (got < asked).then(|| {
        format!(
            "rings of {got} pages per CPU instead of {asked}: the locked-memory limit does not allow more \
             (kernel.perf_event_mlock_kb is {kb}; ulimit -l)"
        )
    })
}

fn open_counters(
    spec: &Spec,
    sampling: &Sampling,
    selection: &Selection,
    cpus: &[Cpu],
) -> anyhow::Result<Counters> {
    let scope = match (selection, cpus.first()) {
        (Selection::Host, Some(cpu)) => Scope::Host(*cpu),
        _ => Scope::Processes,
    };
    // A breakpoint takes one of four registers; it is counted by the event that samples it.
    let countable = |event: &EventSpec| !matches!(event.source, EventSource::Breakpoint { .. });
    let sampled = sampling
        .plan()
        .events
        .iter()
        .map(|event| event.spec.clone())
        .filter(countable);
    let plan = Plan::make(&spec.roots, &Request::Beside(sampled.collect()), scope)?;
    let children = if spec.inherit {
        Children::Counted
    } else {
        Children::Left
    };
    Ok(Counters::new(plan, children))
}

fn describe(spec: &Spec, sampling: &Sampling, notes: Vec<String>) -> RunInfo {
    let hostname = nix::unistd::gethostname().unwrap_or_default();
    let events = sampling.plan().events.iter();
    RunInfo {
        perfd_version: env!("CARGO_PKG_VERSION"),
        hostname: hostname.to_string_lossy().into_owned(),
        kernel: sysctl::kernel_release(&spec.roots).unwrap_or_default(),
        target: target_text(&spec.target),
        events: events
            .map(|event| SampledEvent {
                spec: event.spec.clone(),
                rate: event.rate,
            })
            .collect(),
        notes,
    }
}

fn target_text(target: &Target) -> String {
    let list = |numbers: Vec<String>| numbers.join(", ");
    match target {
        Target::Running(Selection::Host) => "the whole host".to_owned(),
        Target::Running(Selection::Processes { pids, .. }) => {
            format!(
                "pid {}",
                list(pids.iter().map(ToString::to_string).collect())
            )
        }
        Target::Running(Selection::Threads(tids)) => {
            format!(
                "thread {}",
                list(tids.iter().map(ToString::to_string).collect())
            )
        }
        Target::Command { argv, .. } => {
            let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
            words.join(" ")
        }
    }
}

fn command_name(spec: &Spec) -> String {
    let Target::Command { argv, .. } = &spec.target else {
        return String::new();
    };
    let program = argv
        .first()
        .map(std::path::PathBuf::from)
        .unwrap_or_default();
    program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn open_sinks(spec: &Spec, run: &Arc<RunInfo>) -> anyhow::Result<Vec<Sink>> {
    let context = OpenContext {
        run: run.clone(),
        shown: spec.show.map(EventIdx),
        measure: spec.measure,
        timeout: SINK_TIMEOUT,
    };
    let mut sinks = Vec::with_capacity(spec.sinks.len());
    for sink in &spec.sinks {
        sinks.push(Sink::open(sink, &context).map_err(|error| {
            let class = if error.is_denied() {
                FaultClass::Permission
            } else {
                FaultClass::CannotCreate
            };
            with_hints(class, &format!("{:#}", anyhow::Error::new(error)))
        })?);
    }
    Ok(sinks)
}

/// The first line is the message, the others are hints.
fn with_hints(class: FaultClass, text: &str) -> Fault {
    let mut lines = text.lines();
    let fault = Fault::new(class, lines.next().unwrap_or_default());
    lines.fold(fault, |fault, line| fault.hint(line.trim_start()))
}

fn prepare_command(spec: &Spec) -> anyhow::Result<Option<Prepared>> {
    let Target::Command {
        argv,
        stdout_to_stderr,
        ..
    } = &spec.target
    else {
        return Ok(None);
    };
    let stdout = if *stdout_to_stderr {
        Stdout::ToStderr
    } else {
        Stdout::Inherit
    };
    Ok(Some(
        Prepared::fork(argv, stdout).context("fork the command")?,
    ))
}

fn start_fault(error: StartError) -> anyhow::Error {
    let class = error.class();
    Fault::new(class, format!("{:#}", anyhow::Error::new(error))).into()
}

fn find_fault(error: FindError) -> anyhow::Error {
    let class = match &error {
        FindError::Unreadable { source, .. }
            if source.kind() == std::io::ErrorKind::PermissionDenied =>
        {
            FaultClass::Permission
        }
        _ => FaultClass::NoSuchTarget,
    };
    let fault = Fault::new(class, format!("attach: {:#}", anyhow::Error::new(error)));
    fault
        .hint("try: ps -e   for the processes there are")
        .into()
}
