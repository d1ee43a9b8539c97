//! What a run opens before its first sample, and the words for what cannot be opened.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::refused::not_planned;
use super::spec::{Spec, Target};
use crate::model::{
    CallGraph, Cpu, EventIdx, EventSource, EventSpec, Fault, FaultClass, Pid, RunInfo, SampledEvent,
};
use crate::parser::{Begin, Code, Parsing, Source};
use crate::procfs::sysctl;
use crate::sampler::counters::{Children, Counters, Plan, Request, Scope};
use crate::sampler::{CopySize, RingsError, Sampling, StackSource};
use crate::sink::{OpenContext, Sink};
use crate::symbolize::jit::{Codes, Jit};
use crate::sys::limits;
use crate::sys::spawn::{Prepared, Stdout};
use crate::target::Selection;

/// How long a reader of a socket may take nothing.
const SINK_TIMEOUT: Duration = Duration::from_secs(10);

/// Which running processes are targets; none for a command.
pub(super) fn selection(spec: &Spec) -> Selection {
    match &spec.target {
        Target::Running(selection) => selection.clone(),
        Target::Command {
            whole_host: true, ..
        } => Selection::Host,
        Target::Command { .. } => Selection::Processes {
            pids: Vec::new(),
            with_tree: false,
        },
    }
}

/// What the children begin with that read foreign files, if such do.
pub(super) fn children(spec: &Spec) -> Option<Begin> {
    match &spec.parsing {
        Parsing::Here => None,
        Parsing::InChild(limits) => Some(Begin {
            limits: limits.clone(),
            config: spec.naming.clone(),
            tally: Arc::default(),
        }),
    }
}

/// Who reads what runtimes write of the code that they make.
pub(super) fn codes(spec: &Spec, begin: Option<&Begin>) -> Arc<dyn Codes> {
    match begin {
        None => Arc::new(Jit::new(&spec.roots.proc)),
        Some(begin) => Arc::new(Code::new(begin.clone(), Source::Program)),
    }
}

pub(super) fn copy_size(spec: &Spec) -> CopySize {
    match (spec.call_graph, &spec.target) {
        (CallGraph::Dwarf { bytes: Some(bytes) }, _) => CopySize::fixed(bytes),
        // A change of size has a gap, which a command is to be spared; the host's many processes have no depth in
        // common.
        (
            CallGraph::Auto | CallGraph::Dwarf { bytes: None },
            Target::Running(Selection::Processes { .. } | Selection::Threads(_)),
        ) if spec.inherit => CopySize::adaptive(),
        _ => CopySize::fixed(CallGraph::MAX_COPY),
    }
}

pub(super) fn stack_source(call_graph: CallGraph, copy_size: &CopySize) -> StackSource {
    match call_graph {
        CallGraph::Auto | CallGraph::Dwarf { .. } => StackSource::Copy(copy_size.bytes()),
        CallGraph::FramePointer => StackSource::FramePointer,
        CallGraph::None => StackSource::None,
    }
}

pub(super) fn ring_note(spec: &Spec, sampling: &Sampling) -> Option<String> {
    let (got, asked) = (sampling.ring_pages(), sampling.asked_pages());
    if got >= asked {
        return None;
    }
    let of_user = sysctl::Sysctls::read(&spec.roots)
        .perf_event_mlock_kb
        .unwrap_or(0);
    let of_process = match limits::locked_memory() {
        Ok(Some(bytes)) => (bytes / 1024).to_string(),
        Ok(None) => "unlimited".to_owned(),
        Err(_) => "unknown".to_owned(),
    };
    Some(format!(
        "rings of {got} pages per CPU instead of {asked}: the locked-memory limit does not allow more \
         (kernel.perf_event_mlock_kb is {of_user}, ulimit -l is {of_process}; CAP_IPC_LOCK lifts both)"
    ))
}

pub(super) fn counters(
    spec: &Spec,
    sampling: &Sampling,
    selection: &Selection,
    cpus: &[Cpu],
    notes: &mut Vec<String>,
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
    let plan = Plan::make(&spec.roots, &Request::Beside(sampled.collect()), scope)
        .map_err(|error| not_planned(&spec.roots, error))?;
    notes.extend(plan.turns().cloned());
    let children = if spec.inherit {
        Children::Counted
    } else {
        Children::Left
    };
    Ok(Counters::new(plan, children))
}

/// What an engine counts on the whole host, beside what it samples.
pub(super) fn host_plan(spec: &Spec, sampling: &Sampling, cpus: &[Cpu]) -> anyhow::Result<Plan> {
    let counters = counters(spec, sampling, &Selection::Host, cpus, &mut Vec::new())?;
    Ok(counters.plan().clone())
}

pub(super) fn describe(
    spec: &Spec,
    sampling: &Sampling,
    target: String,
    notes: Vec<String>,
) -> RunInfo {
    let hostname = nix::unistd::gethostname().unwrap_or_default();
    let events = sampling.plan().events.iter();
    RunInfo {
        perfd_version: env!("CARGO_PKG_VERSION").into(),
        hostname: hostname.to_string_lossy().into_owned(),
        kernel: sysctl::kernel_release(&spec.roots).unwrap_or_default(),
        target,
        events: events
            .map(|event| SampledEvent {
                spec: event.spec.clone(),
                rate: event.rate,
                modes: event.modes,
            })
            .collect(),
        notes,
    }
}

pub(super) fn target_text(target: &Target) -> String {
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

pub(super) fn command_name(spec: &Spec) -> String {
    let Target::Command { argv, .. } = &spec.target else {
        return String::new();
    };
    let program = argv.first().map(PathBuf::from).unwrap_or_default();
    program
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub(super) fn sinks(spec: &Spec, run: &Arc<RunInfo>) -> anyhow::Result<Vec<Sink>> {
    let context = OpenContext {
        run: run.clone(),
        shown: spec.show.map(EventIdx),
        measure: spec.measure,
        timeout: SINK_TIMEOUT,
    };
    let mut sinks = Vec::with_capacity(spec.sinks.len());
    for sink in &spec.sinks {
        sinks.push(Sink::open(sink, &context).map_err(|error| {
            if error.is_out_of_descriptors() {
                return anyhow::Error::new(error);
            }
            let class = if error.is_denied() {
                FaultClass::Permission
            } else {
                FaultClass::CannotCreate
            };
            with_hints(class, &format!("{:#}", anyhow::Error::new(error))).into()
        })?);
    }
    Ok(sinks)
}

/// Whether the user has named the process, rather than one that it descends from.
pub(super) fn is_named(selection: &Selection, pid: Pid) -> bool {
    match selection {
        Selection::Processes { pids, .. } => pids.contains(&pid),
        Selection::Threads(_) | Selection::Host => true,
    }
}

/// Whether the error is that a process is not there any more.
pub(super) fn is_gone(error: &anyhow::Error) -> bool {
    let fault = error.downcast_ref::<Fault>();
    fault.is_some_and(|fault| fault.class == FaultClass::NoSuchTarget)
}

/// Not even a ring of one page: the memory that a user may lock is taken.
pub(super) fn ring_fault(error: RingsError) -> anyhow::Error {
    let is_limit = matches!(&error, RingsError::Map { source, .. } if source.raw_os_error() == Some(libc::EPERM));
    if !is_limit {
        return error.into();
    }
    let what = format!("{:#}", anyhow::Error::new(error));
    Fault::new(FaultClass::Permission, what)
        .hint("the memory that this user may lock is used up, perhaps by another profiler (ulimit -l, kernel.perf_event_mlock_kb)")
        .hint("try: end the other profiler, or: sudo sysctl kernel.perf_event_mlock_kb=2048")
        .into()
}

/// The first line is the message, the others are hints.
fn with_hints(class: FaultClass, text: &str) -> Fault {
    let mut lines = text.lines();
    let fault = Fault::new(class, lines.next().unwrap_or_default());
    lines.fold(fault, |fault, line| fault.hint(line.trim_start()))
}

pub(super) fn prepare_command(spec: &Spec) -> anyhow::Result<Option<Prepared>> {
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
