//! `perfd attach --daemon`: the daemon samples, this process writes the outputs, as it does for what it samples itself.
//!
//! Windows come as pprof, which holds all of a profile, and go to the ordinary sinks. So the profile is written with the rights of the user, and looks as if
//! perfd had been allowed to take it.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Exit;
use super::args::{BackendChoice, SamplingArgs, WeightUnit};
use super::daemon_client::{self, Proof};
use super::profile::{self, Terminal};
use crate::aggregate::merge;
use crate::control::client::Connection;
use crate::control::{
    Attach, Attached, Detach, Detached, EndReason, Event, Request, Tail, TailFormat, Tailing,
    TargetChoice, Window, WindowBody,
};
use crate::model::{
    AskedEvent, CallGraph, EventIdx, Fault, FaultClass, MonoNs, Pid, Profile, Rate, RunInfo,
    SampledEvent, parse_events,
};
use crate::procfs::{SysRoots, sysctl};
use crate::session::{Observer, Outcome, OutputReport};
use crate::sink::pprof::{self, Limits};
use crate::sink::{Measure, OpenContext, Sink, SinkSpec, WriteError};
use crate::sys::signals::Signals;
use crate::sys::{self, Poller, Ticker, Wakeup};

const DAEMON: Wakeup = Wakeup(0);
const SIGNALS: Wakeup = Wakeup(1);
const TIMER: Wakeup = Wakeup(2);

/// How long an output may take nothing.
const SINK_TIMEOUT: Duration = Duration::from_secs(10);

/// Profiles processes by the daemon.
pub(super) fn run(
    args: &SamplingArgs,
    pids: &[Pid],
    tree: bool,
    socket: &Path,
) -> anyhow::Result<Exit> {
    refuse_what_the_daemon_decides(args)?;
    let specs = profile::sinks(args, "-")?;
    let mut terminal = Terminal::new(args.quiet);
    let signals = Signals::block()?;
    let mut connection = daemon_client::connect(socket)?;
    let mut targets = BTreeSet::new();
    let mut attached = None;
    for pid in pids {
        let ok = attach(&mut connection, args, *pid, tree, socket)?;
        ok.notes.iter().for_each(|note| terminal.note(note));
        targets.insert(ok.target);
        attached.get_or_insert(ok);
    }
    let events = attached.map(|ok| ok.events).unwrap_or_default();
    let run = Arc::new(describe(args, pids, &events)?);
    let mut outputs = Outputs::open(args, &specs, &run)?;

    let started = sys::now();
    let poller = Poller::new()?;
    poller.add(&connection, DAEMON)?;
    poller.add(&signals, SIGNALS)?;
    let timer = args.duration.map(Ticker::every).transpose()?;
    if let Some(timer) = &timer {
        poller.add(timer, TIMER)?;
    }
    let mut windows = Windows::new(args.interval, run);
    let mut ended_by_daemon = None;
    let mut is_ending = false;
    let mut ready = Vec::new();
    while !targets.is_empty() {
        if !connection.has_event() {
            poller.wait(&mut ready)?;
            let is_asked = ready.contains(&SIGNALS) && signals.next()?.is_some();
            let is_over = ready.contains(&TIMER) || outputs.are_closed();
            if let (true, Some(timer)) = (ready.contains(&TIMER), &timer) {
                timer.acknowledge();
            }
            if (is_asked || is_over) && !is_ending {
                is_ending = true;
                for target in &targets {
                    detach(&mut connection, *target, socket)?;
                }
            } else if is_asked {
                // Whoever asks twice does not want to wait for the last window.
                break;
            }
            if !ready.contains(&DAEMON) && !connection.has_event() {
                continue;
            }
        }
        let event = connection
            .event()
            .map_err(|error| daemon_client::fault(error, socket))?;
        match event {
            Event::Window(window) => {
                if let Some(closed) = windows.take_in(&window)? {
                    outputs.write(&closed);
                }
            }
            Event::Gap(gap) => terminal.note(&format!(
                "windows {} to {} of the daemon are missing: they were too large, or this process too slow",
                gap.from, gap.to
            )),
            Event::End(end) => {
                targets.remove(&end.target);
                ended_by_daemon = said_of(end.reason).or(ended_by_daemon);
            }
            Event::Heartbeat(_) | Event::Farewell(_) => (),
        }
    }
    if let Some(said) = ended_by_daemon {
        terminal.note(said);
    }
    let elapsed = sys::now().since(started);
    let last = Arc::new(windows.end());
    outputs.write(&last);
    let outcome = Outcome {
        last: Some(last),
        elapsed,
        status: None,
        outputs: outputs.finish(),
        notes: Vec::new(),
    };
    terminal.summary(&specs, &outcome);
    profile::conclude(args, &outcome)
}

/// What cannot be had from the daemon is an error, never silently something else.
fn refuse_what_the_daemon_decides(args: &SamplingArgs) -> Result<(), Fault> {
    let flags = [
        (args.whole_host, "--all-cpus"),
        (args.call_graph != CallGraph::Auto, "--call-graph"),
        (args.backend != BackendChoice::Auto, "--backend"),
        (args.no_inherit, "--no-inherit"),
        (args.delay.is_some(), "--delay"),
        (args.timestamps, "--timestamps"),
        (args.jit, "--jit"),
        (args.ring_pages.is_some(), "--mmap-pages"),
        (args.max_overhead.is_some(), "--max-overhead"),
        (args.no_inline, "--no-inline"),
        (args.srcline, "--srcline"),
        (args.fold_suffixes, "--fold-suffixes"),
        (args.debuginfod.is_some(), "--debuginfod"),
        (matches!(args.rate(), Rate::Period(_)), "--count"),
    ];
    match flags.iter().find(|(is_given, _)| *is_given) {
        None => Ok(()),
        Some((_, flag)) => Err(Fault::new(
            FaultClass::Usage,
            format!(
                "{flag} cannot be used with --daemon, which samples all its targets in its own way"
            ),
        )),
    }
}

fn attach(
    connection: &mut Connection,
    args: &SamplingArgs,
    pid: Pid,
    tree: bool,
    socket: &Path,
) -> anyhow::Result<Attached> {
    let events = args.events()?;
    let request = Attach {
        events: events.map(|events| events.iter().map(AskedEvent::to_string).collect()),
        // As often as without a daemon, whatever that does by itself.
        frequency: match args.rate() {
            Rate::Frequency(hz) => Some(hz.0),
            Rate::Period(_) => None,
        },
        python: args.python,
        tree,
        ..Attach::to(TargetChoice::Pid(pid.0))
    };
    let proof = Proof::of(pid)?;
    let ok: Attached = connection
        .ask(Request::Attach(request), &proof.descriptors())
        .map_err(|error| daemon_client::fault(error, socket))?;
    let tail = Tail {
        target: ok.target,
        format: TailFormat::Pprof,
        show: None,
        heartbeat: None,
    };
    let _: Tailing = connection
        .ask(Request::Tail(tail), &[])
        .map_err(|error| daemon_client::fault(error, socket))?;
    Ok(ok)
}

/// A target that has just ended by itself is as good as detached.
fn detach(connection: &mut Connection, target: u32, socket: &Path) -> anyhow::Result<()> {
    let asked: Result<Detached, _> = connection.ask(Request::Detach(Detach { target }), &[]);
    match asked.map_err(|error| daemon_client::fault(error, socket)) {
        Ok(_) => Ok(()),
        Err(error) => match error.downcast_ref::<Fault>() {
            Some(fault) if fault.class == FaultClass::NoSuchTarget => Ok(()),
            _ => Err(error),
        },
    }
}

fn said_of(reason: EndReason) -> Option<&'static str> {
    match reason {
        EndReason::Exited
        | EndReason::Detached
        | EndReason::OwnerLeft
        | EndReason::Unconfigured => None,
        EndReason::Elevated => {
            Some("the target has executed a program that its user may not profile")
        }
        EndReason::Stopping => Some("the daemon ends"),
        EndReason::Failed | EndReason::Other => {
            Some("the target ended by a fault of the daemon; see its log")
        }
    }
}

/// The run as the outputs are told of it before the first window comes.
fn describe(args: &SamplingArgs, pids: &[Pid], events: &[String]) -> anyhow::Result<RunInfo> {
    let rate = args.rate();
    let sampled = |text: &String| -> anyhow::Result<SampledEvent> {
        let asked: AskedEvent = parse_events(text)?.remove(0);
        Ok(SampledEvent {
            modes: asked.spec.modes,
            rate: asked.rate.unwrap_or(rate),
            spec: asked.spec,
        })
    };
    let pids: Vec<String> = pids.iter().map(Pid::to_string).collect();
    Ok(RunInfo {
        perfd_version: env!("CARGO_PKG_VERSION").into(),
        hostname: nix::unistd::gethostname()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        kernel: sysctl::kernel_release(&SysRoots::default()).unwrap_or_default(),
        target: format!("pid {}", pids.join(", ")),
        events: events.iter().map(sampled).collect::<anyhow::Result<_>>()?,
        notes: Vec::new(),
    })
}

/// The daemon's windows, put together to those of this run.
struct Windows {
    interval: Option<Duration>,
    run: Arc<RunInfo>,
    open: Option<Profile>,
    /// Counts and ledgers of all windows; no stacks.
    account: Option<Profile>,
    next: u64,
}

impl Windows {
    fn new(interval: Option<Duration>, run: Arc<RunInfo>) -> Windows {
        Windows {
            interval,
            run,
            open: None,
            account: None,
            next: 0,
        }
    }

    /// Takes in a window; gives one that is as long as the interval asks for.
    fn take_in(&mut self, window: &Window) -> anyhow::Result<Option<Arc<Profile>>> {
        let WindowBody::Pprof(text) = &window.body else {
            return Ok(None);
        };
        let profile = pprof::decode(&STANDARD.decode(text)?, &Limits::default())?.profile;
        let account = Profile {
            rows: Vec::new(),
            ..profile.clone()
        };
        self.account = Some(put_together(self.account.take(), account));
        let open = put_together(self.open.take(), profile);
        let length = open.span.end.since(open.span.start);
        if self.interval.is_some_and(|interval| length >= interval) {
            return Ok(Some(Arc::new(self.numbered(open))));
        }
        self.open = Some(open);
        Ok(None)
    }

    /// The last window, with the account of the whole run.
    fn end(mut self) -> Profile {
        let now = sys::now();
        let open = self.open.take();
        let open = open.unwrap_or_else(|| self.empty(now));
        let mut last = self.numbered(open);
        last.span.is_last = true;
        let account = self.account.take().unwrap_or_else(|| self.empty(now));
        last.whole_run = Some(Box::new((account.processes, account.ledger)));
        last
    }

    fn numbered(&mut self, mut profile: Profile) -> Profile {
        profile.span.sequence = self.next;
        profile.span.is_last = false;
        self.next += 1;
        profile
    }

    fn empty(&self, now: MonoNs) -> Profile {
        let run = match &self.account {
            Some(account) => account.run.clone(),
            None => self.run.clone(),
        };
        let mut ledger = crate::model::Ledger::default();
        ledger
            .events
            .resize_with(run.events.len(), Default::default);
        Profile {
            run,
            span: crate::model::WindowSpan {
                sequence: 0,
                start: now,
                end: now,
                start_unix_ns: sys::unix_ns_at(now),
                is_last: true,
            },
            rows: Vec::new(),
            processes: Vec::new(),
            ledger,
            whole_run: None,
        }
    }
}

fn put_together(earlier: Option<Profile>, later: Profile) -> Profile {
    match earlier {
        None => later,
        Some(earlier) => {
            let both = [Arc::new(earlier), Arc::new(later)];
            merge(&both).expect("two windows are not none")
        }
    }
}

/// The open outputs. They are written by this thread: while one is slow the daemon merges windows.
struct Outputs {
    lanes: Vec<(Option<Sink>, OutputReport)>,
}

impl Outputs {
    fn open(
        args: &SamplingArgs,
        specs: &[SinkSpec],
        run: &Arc<RunInfo>,
    ) -> anyhow::Result<Outputs> {
        let context = OpenContext {
            run: run.clone(),
            shown: profile::shown(args)?.map(EventIdx),
            measure: match args.unit {
                WeightUnit::Weight => Measure::Weight,
                WeightUnit::Samples => Measure::Samples,
            },
            timeout: SINK_TIMEOUT,
        };
        let open = |spec: &SinkSpec| {
            let sink = Sink::open(spec, &context).map_err(|error| {
                let class = match error.is_denied() {
                    true => FaultClass::Permission,
                    false => FaultClass::CannotCreate,
                };
                let text = error.to_string();
                let mut lines = text.lines();
                let fault = Fault::new(class, lines.next().unwrap_or_default());
                lines.fold(fault, |fault, line| fault.hint(line.trim_start()))
            })?;
            let report = OutputReport {
                places: sink.places().map(str::to_owned).collect(),
                failures: Vec::new(),
            };
            Ok((Some(sink), report))
        };
        let lanes = specs.iter().map(open).collect::<anyhow::Result<_>>()?;
        Ok(Outputs { lanes })
    }

    fn are_closed(&self) -> bool {
        self.lanes.iter().all(|(sink, _)| sink.is_none())
    }

    fn write(&mut self, window: &Profile) {
        for (sink, report) in &mut self.lanes {
            let written = sink.as_mut().map_or(Ok(()), |sink| sink.write(window));
            if let Err(error) = written {
                *sink = None;
                if !error.is_closed() {
                    report.failures.push(in_words(error));
                }
            }
        }
    }

    fn finish(self) -> Vec<OutputReport> {
        let finish = |(sink, mut report): (Option<Sink>, OutputReport)| {
            if let Some(Err(error)) = sink.map(Sink::finish)
                && !error.is_closed()
            {
                report.failures.push(in_words(error));
            }
            report
        };
        self.lanes.into_iter().map(finish).collect()
    }
}

fn in_words(error: WriteError) -> String {
    format!("{:#}", anyhow::Error::new(error))
}
