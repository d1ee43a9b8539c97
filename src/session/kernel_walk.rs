//! Whether stacks are walked in the kernel, and if not, why.
//!
//! ```text
//! BPF, events on whole CPUs   running processes, the host: nothing to open on each thread, and no race with new threads
//! BPF, events on threads      a command: inherited from its exec on; exact periods and breakpoints
//! ring with stack copies      where BPF is not permitted or cannot be had; single threads
//! frame pointers, none        as asked for
//! ```

use std::fs;
use std::hash::{BuildHasher, RandomState};

use super::spec::{Backend, Spec, Target};
use crate::arch::host;
use crate::bpf::{CountEach, KernelWalk, MAX_EVENTS, Python, Room};
use crate::model::{CallGraph, EventSource, Fault, FaultClass, Rate};
use crate::procfs::SysRoots;
use crate::sampler::{PlannedEvent, Reach};
use crate::sys::privilege::{Capability, Privilege};
use crate::target::Selection;

/// The loaded programs, and what to say where there are none.
pub(super) struct Choice {
    pub(super) kernel_walk: Option<KernelWalk>,
    pub(super) reach: Reach,
    pub(super) note: Option<String>,
}

/// Loads the programs, if they can be used.
///
/// # Errors
/// The reason why not, if they were asked for.
pub(super) fn choose(
    spec: &Spec,
    events: &[PlannedEvent],
    python: Python,
    room: Room,
) -> Result<Choice, Fault> {
    let on_host = matches!(
        spec.target,
        Target::Running(Selection::Host)
            | Target::Command {
                whole_host: true,
                ..
            }
    );
    let without = |note| Choice {
        kernel_walk: None,
        reach: if on_host { Reach::Cpus } else { Reach::Threads },
        note,
    };
    if spec.backend == Backend::Perf || asks_for_copies(spec) {
        return match spec.python {
            true => Err(Fault::new(
                FaultClass::Usage,
                "--python reads frames in the kernel, at each sample: stacks that are copied or come from frame pointers have none".to_owned(),
            )
            .hint("try: leave out --backend and --call-graph")),
            false => Ok(without(None)),
        };
    }
    let reach = reach(spec);
    let only_targets = reach == Reach::Cpus && !on_host;
    let count_each = match spec.timestamps {
        true => CountEach::Sample,
        false => CountEach::Stack,
    };
    let unfit = match unfit_host(&spec.roots) {
        Some(reason) => Some((FaultClass::Unavailable, reason)),
        None => unfit(spec, events).map(|reason| (FaultClass::Usage, reason)),
    };
    let loaded = match unfit {
        Some(unfit) => Err(unfit),
        None => match KernelWalk::load(events.len(), only_targets, count_each, python, room, seeds()) {
            Ok(walk) if spec.max_overhead.is_some() && walk.time().is_none() => Err((
                FaultClass::Unavailable,
                "--max-overhead needs the run time of BPF programs, which the kernel measures with CAP_SYS_ADMIN alone".to_owned(),
            )),
            Ok(walk) => Ok(walk),
            Err(error) => Err((
                FaultClass::Unavailable,
                format!("{:#}", anyhow::Error::new(error)),
            )),
        },
    };
    match (loaded, spec.backend) {
        (Ok(kernel_walk), _) => Ok(Choice {
            kernel_walk: Some(kernel_walk),
            reach,
            note: None,
        }),
        (Err((class, reason)), backend) if backend == Backend::Bpf || spec.python => {
            let (what, try_this) = match spec.python {
                true => (
                    "read Python frames in the kernel",
                    "try: without --python: stacks have the interpreter's own functions then",
                ),
                false => (
                    "walk stacks in the kernel",
                    "try: --backend perf, or leave it out: stacks are then copied and walked by perfd",
                ),
            };
            let fault = Fault::new(class, format!("{what}: {reason}")).hint(try_this);
            Err(match class {
                FaultClass::Usage => fault,
                _ => fault.hint("perfd doctor says what this host can do"),
            })
        }
        (Err((_, reason)), _) => Ok(without(Some(format!(
            "stacks are copied and walked by perfd: {reason}"
        )))),
    }
}

/// What events are opened on where stacks are walked in the kernel.
fn reach(spec: &Spec) -> Reach {
    match spec.target {
        Target::Running(_)
        | Target::Command {
            whole_host: true, ..
        } => Reach::Cpus,
        Target::Command { .. } => Reach::Threads,
    }
}

/// A size of the copy, frame pointers or nothing were asked for: there is nothing to choose.
fn asks_for_copies(spec: &Spec) -> bool {
    let is_open = matches!(
        spec.call_graph,
        CallGraph::Auto | CallGraph::Dwarf { bytes: None }
    );
    spec.backend == Backend::Auto && !is_open
}

/// Whether this host lets perfd walk stacks in the kernel; the error says why not.
pub fn works(roots: &SysRoots) -> Result<(), String> {
    match unfit_host(roots) {
        Some(reason) => Err(reason),
        None => KernelWalk::load(
            1,
            true,
            CountEach::Stack,
            Python::Leave,
            Room::default(),
            seeds(),
        )
        .map(drop)
        .map_err(|error| format!("{:#}", anyhow::Error::new(error))),
    }
}

/// Why BPF is not to be tried on this host.
fn unfit_host(roots: &SysRoots) -> Option<String> {
    if !host::WALKED_IN_KERNEL {
        return Some("the kernel's walk is for x86-64".to_owned());
    }
    let privilege = Privilege::current().ok()?;
    let missing: Vec<String> = [Capability::Bpf, Capability::Perfmon]
        .into_iter()
        .filter(|capability| !privilege.has(*capability) && !privilege.has(Capability::SysAdmin))
        .map(|capability| capability.to_string())
        .collect();
    if !missing.is_empty() {
        return Some(format!("BPF needs {}", missing.join(" and ")));
    }
    if !is_initial_pid_namespace(roots) {
        return Some(
            "perfd runs in a pid namespace, in which BPF programs see other numbers".to_owned(),
        );
    }
    None
}

/// Why BPF is not to be tried in this run.
fn unfit(spec: &Spec, events: &[PlannedEvent]) -> Option<String> {
    let is_breakpoint =
        |event: &PlannedEvent| matches!(event.spec.source, EventSource::Breakpoint { .. });
    let is_tracepoint =
        |event: &&PlannedEvent| matches!(event.spec.source, EventSource::Tracepoint { .. });
    if !matches!(
        spec.call_graph,
        CallGraph::Auto | CallGraph::Dwarf { bytes: None }
    ) {
        return Some("--call-graph asks for another kind of stacks".to_owned());
    }
    if let Target::Running(Selection::Threads(_)) = spec.target {
        return Some("single threads are sampled by events of their own".to_owned());
    }
    if matches!(spec.target, Target::Running(_)) && events.iter().any(is_breakpoint) {
        return Some("breakpoints of running processes are set on each thread".to_owned());
    }
    if spec.max_overhead.is_some() && reach(spec) == Reach::Threads {
        return Some(
            "to lower their rate (--max-overhead), a command's events are opened anew on each of its threads, whose samples only perfd can tell apart"
                .to_owned(),
        );
    }
    if let Some(event) = events.iter().find(is_tracepoint) {
        return Some(format!(
            "the kernel does not give samples of a tracepoint ({}) to such a program",
            event.spec
        ));
    }
    let has_period = |event: &PlannedEvent| matches!(event.rate, Rate::Period(_));
    if matches!(&spec.target, Target::Running(selection) if *selection != Selection::Host)
        && events.iter().any(has_period)
    {
        return Some(
            "a fixed period (-c, period=) of running processes is counted on each of their threads"
                .to_owned(),
        );
    }
    if !spec.inherit {
        return Some("--no-inherit takes single threads".to_owned());
    }
    if events.len() > MAX_EVENTS {
        return Some(format!(
            "{} events are more than {MAX_EVENTS}",
            events.len()
        ));
    }
    None
}

/// The inode of the first pid namespace: `PROC_PID_INIT_INO` of <linux/proc_ns.h>.
fn is_initial_pid_namespace(roots: &SysRoots) -> bool {
    let link = fs::read_link(roots.proc.join("self/ns/pid"));
    link.is_ok_and(|link| link.as_os_str() == "pid:[4026531836]")
}

/// Two numbers that no target can know.
fn seeds() -> [u64; 2] {
    [
        RandomState::new().hash_one(0),
        RandomState::new().hash_one(1),
    ]
}
