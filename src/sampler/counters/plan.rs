//! Which events are counted: what was asked for, against what this machine lets perfd open.
//!
//! Every event is opened once as a probe, on perfd itself (or on a CPU where the whole host is meant), so that "this machine
//! cannot" is known before any target is touched.

use std::io;
use std::time::{Duration, Instant};

use perf_event::{Builder, Counter};

use crate::model::{
    Cpu, EventSource, EventSpec, FaultClass, HardwareEvent, Modes, ResolvedEvent, SoftwareEvent,
};
use crate::procfs::event_source::{ResolveEventError, cpu_pmus, resolve};
use crate::procfs::{SysRoots, sysctl::Sysctls};
use crate::sys::event_error::OpenEventError;
use crate::sys::probe::{self, Use, permitted_modes};

/// What the user asked to count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The usual events, as far as this machine has them.
    Default,
    /// These, or an error.
    Explicit(Vec<EventSpec>),
    /// These and what the kernel counts on any machine, as far as it can be counted: beside a profile.
    Beside(Vec<EventSpec>),
}

/// Over what is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Processes.
    Processes,
    /// All that runs on the CPUs, of which this is one.
    Host(Cpu),
}

impl Scope {
    /// Where events are probed for it.
    fn probed(self) -> probe::Scope {
        match self {
            Scope::Processes => probe::Scope::Own,
            Scope::Host(cpu) => probe::Scope::WholeCpu(cpu),
        }
    }
}

/// Why a plan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The event does not exist on this host.
    #[error("count {event}")]
    Resolve {
        /// The event.
        event: EventSpec,
        /// Why not.
        #[source]
        cause: Box<ResolveEventError>,
    },
    /// The event cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenEventError),
}

/// One event of a plan.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// As it is counted: narrowed to user mode if the kernel may not be counted.
    pub spec: EventSpec,
    pub resolved: ResolvedEvent,
    /// Events of one group are counted at the same times.
    pub group: usize,
}

/// The events of a run, each known to open on this machine.
#[derive(Clone, Debug)]
pub struct Plan {
    /// In the order asked for.
    pub(super) events: Vec<Planned>,
    /// The group that the kernel must schedule as one, if there is one.
    pub(super) hardware_group: Option<usize>,
    /// What was left out or narrowed.
    notes: Vec<String>,
    /// That the hardware events take turns.
    turns: Option<String>,
}

impl Plan {
    /// Probes this machine for the events.
    pub fn make(roots: &SysRoots, request: &Request, scope: Scope) -> Result<Plan, PlanError> {
        let (wanted, all_needed) = match request {
            Request::Default => (default_events(scope), false),
            Request::Explicit(events) => (events.clone(), true),
            Request::Beside(events) => (beside(events, scope), false),
        };
        let pmus = cpu_pmus(roots);
        let mut events = Vec::new();
        let mut left_out: Vec<OpenEventError> = Vec::new();
        let mut narrowed = Vec::new();
        for spec in wanted {
            let resolved = resolve(roots, &spec.source).map_err(|cause| PlanError::Resolve {
                event: spec.clone(),
                cause: Box::new(cause),
            })?;
            let permitted = permitted_modes(&spec, &resolved, scope.probed(), Use::Count);
            match permitted.map_err(|error| error.on(pmus.clone())) {
                Ok(modes) => {
                    if modes != spec.modes {
                        narrowed.push(spec.to_string());
                    }
                    events.push((EventSpec { modes, ..spec }, resolved));
                }
                Err(error) if all_needed || error.class() == FaultClass::System => {
                    return Err(error.into());
                }
                Err(error) => left_out.push(error),
            }
        }
        if events.is_empty()
            && let Some(error) = left_out.pop()
        {
            return Err(error.into());
        }
        let mut notes = left_out_notes(&left_out);
        if !narrowed.is_empty() {
            let level = Sysctls::read(roots).perf_event_paranoid;
            notes.push(narrowed_note(&narrowed, level));
        }
        let (events, hardware_group, turns) = group(events, &pmus, scope);
        Ok(Plan {
            events,
            hardware_group,
            notes,
            turns,
        })
    }

    /// What the user should know: events left out or narrowed, each with the reason, and that they take turns.
    pub fn notes(&self) -> impl Iterator<Item = &String> {
        self.notes.iter().chain(&self.turns)
    }

    /// That the PMU has not enough counters for all hardware events, if it has not.
    pub fn turns(&self) -> Option<&String> {
        self.turns.as_ref()
    }

    /// The events, as they are counted.
    pub fn events(&self) -> impl Iterator<Item = &EventSpec> {
        self.events.iter().map(|event| &event.spec)
    }
}

/// Hardware first, then what the kernel counts on any machine.
fn default_events(scope: Scope) -> Vec<EventSpec> {
    let hardware = [
        HardwareEvent::Cycles,
        HardwareEvent::Instructions,
        HardwareEvent::CacheMisses,
    ];
    let hardware = hardware.map(|event| EventSpec::new(EventSource::Hardware(event)));
    beside(&hardware, scope)
}

/// The events, and what the kernel counts on any machine. Of the whole host there is no task whose clock could run.
fn beside(events: &[EventSpec], scope: Scope) -> Vec<EventSpec> {
    let clock = match scope {
        Scope::Processes => SoftwareEvent::TaskClock,
        Scope::Host(_) => SoftwareEvent::CpuClock,
    };
    let software = [
        clock,
        SoftwareEvent::PageFaults,
        SoftwareEvent::ContextSwitches,
        SoftwareEvent::CpuMigrations,
    ];
    let mut all = events.to_vec();
    for event in software.map(|event| EventSpec::new(EventSource::Software(event))) {
        if !all.contains(&event) {
            all.push(event);
        }
    }
    all
}

fn probe_builder(resolved: ResolvedEvent, modes: Modes, scope: Scope) -> Builder<'static> {
    let mut builder = counting(resolved, modes);
    match scope {
        Scope::Processes => builder.observe_self().any_cpu(),
        Scope::Host(cpu) => builder.any_pid().one_cpu(cpu.0 as usize),
    };
    builder
}

/// An event that counts and takes no samples; disabled, and on nothing yet.
pub(super) fn counting<'a>(resolved: ResolvedEvent, modes: Modes) -> Builder<'a> {
    let mut builder = Builder::new(resolved);
    builder
        .exclude_user(!modes.user)
        .exclude_kernel(!modes.kernel)
        .exclude_hv(!modes.kernel);
    builder
}

fn left_out_notes(left_out: &[OpenEventError]) -> Vec<String> {
    let mut causes: Vec<(String, Vec<String>)> = Vec::new();
    for error in left_out {
        let (cause, name) = (error.cause(), error.event.to_string());
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, names)) => names.push(name),
            None => causes.push((cause, vec![name])),
        }
    }
    causes
        .into_iter()
        .map(|(cause, names)| format!("not counted: {}: {cause}", names.join(", ")))
        .collect()
}

fn narrowed_note(names: &[String], paranoid: Option<i32>) -> String {
    let level = paranoid.map_or(String::new(), |level| {
        format!(" (kernel.perf_event_paranoid is {level})")
    });
    format!(
        "counted in user mode only: {}: counting the kernel is not permitted{level}",
        names.join(", ")
    )
}

/// Numbers the groups. Events of the CPU's own PMU are opened as one group, so that their ratios are those of the same moments;
/// if the group does not fit, each stands alone. What the kernel counts in software is always counting,
/// so those events share a group without being opened as one.
fn group(
    events: Vec<(EventSpec, ResolvedEvent)>,
    cpu_pmus: &[String],
    scope: Scope,
) -> (Vec<Planned>, Option<usize>, Option<String>) {
    let on_pmu = |source: &EventSource| match source {
        EventSource::Hardware(_) | EventSource::Cache(..) | EventSource::Raw(_) => true,
        EventSource::Pmu { pmu, .. } => cpu_pmus.contains(pmu),
        _ => false,
    };
    let members: Vec<_> = events
        .iter()
        .filter(|(spec, _)| on_pmu(&spec.source))
        .collect();
    let fits = members.len() < 2 || fits_on_the_pmu(&members, scope);
    let together = members.len() > 1 && fits;
    let turns = (!fits).then(|| {
        format!(
            "the PMU cannot count all {} hardware events at once: they take turns, and their counts are scaled (perfd doctor: how many it can)",
            members.len()
        )
    });
    let (mut next, mut shared_software, mut hardware_group) = (0, None, None);
    let planned = events
        .into_iter()
        .map(|(spec, resolved)| {
            let shared = match spec.source {
                EventSource::Software(_) | EventSource::Tracepoint { .. } => {
                    Some(&mut shared_software)
                }
                ref source if together && on_pmu(source) => Some(&mut hardware_group),
                _ => None,
            };
            let mut fresh = || {
                next += 1;
                next - 1
            };
            let group = match shared {
                Some(number) => *number.get_or_insert_with(fresh),
                None => fresh(),
            };
            Planned {
                spec,
                resolved,
                group,
            }
        })
        .collect();
    (planned, hardware_group, turns)
}

/// How long a group may stay unscheduled before it is held to be one that never will be: longer than the turns in which
/// the kernel shares a PMU (`perf_event_mux_interval_ms`, 4 by default).
const SCHEDULING_PATIENCE: Duration = Duration::from_millis(20);

/// Opens the events as a group and sees whether it ever counts: the kernel checks at open whether the group fits an empty PMU, but
/// the NMI watchdog or another profiler may hold one of its counters for good.
fn fits_on_the_pmu(members: &[&(EventSpec, ResolvedEvent)], scope: Scope) -> bool {
    let counts = || -> io::Result<bool> {
        let mut group: Vec<Counter> = Vec::new();
        for (spec, resolved) in members {
            let mut builder = probe_builder(*resolved, spec.modes, scope);
            let counter = match group.first_mut() {
                None => builder.build()?,
                Some(leader) => builder.enabled(true).build_with_group(leader)?,
            };
            group.push(counter);
        }
        let Some(leader) = group.first_mut() else {
            return Ok(true);
        };
        leader.enable()?;
        let start = Instant::now();
        loop {
            let running = leader.read_full()?.time_running().unwrap_or_default();
            if !running.is_zero() {
                return Ok(true);
            }
            if start.elapsed() > SCHEDULING_PATIENCE {
                return Ok(false);
            }
        }
    };
    counts().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::event_error::Place;

    fn events(names: &[&str]) -> Vec<(EventSpec, ResolvedEvent)> {
        names
            .iter()
            .map(|name| (name.parse().unwrap(), ResolvedEvent::default()))
            .collect()
    }

    fn groups(names: &[&str]) -> Vec<usize> {
        let (planned, ..) = group(events(names), &[], Scope::Processes);
        planned.iter().map(|event| event.group).collect()
    }

    #[test]
    fn software_events_share_a_group_and_breakpoints_stand_alone() {
        assert_eq!(groups(&["task-clock", "page-faults"]), [0, 0]);
        let mixed = ["mem:0x1000:x", "task-clock", "mem:0x2000:x", "page-faults"];
        assert_eq!(groups(&mixed), [0, 1, 2, 1]);
    }

    #[test]
    fn events_left_out_for_one_reason_are_one_note() {
        let errors = ["cycles", "instructions", "context-switches"].map(|name| {
            let errno = if name == "context-switches" {
                libc::EACCES
            } else {
                libc::ENOENT
            };
            let error = io::Error::from_raw_os_error(errno);
            OpenEventError::new(&name.parse().unwrap(), Place::Probe, &error)
        });
        let notes = left_out_notes(&errors);
        assert_eq!(notes.len(), 2);
        assert!(notes[0].starts_with("not counted: cycles, instructions: this machine has no PMU"));
        assert_eq!(notes[1], "not counted: context-switches: permission denied");
    }

    #[test]
    fn the_host_has_a_clock_of_cpus_and_not_of_tasks() {
        let clock = |scope| {
            let events = default_events(scope);
            let clocks = events.iter().map(ToString::to_string);
            clocks
                .filter(|name| name.ends_with("clock"))
                .collect::<Vec<_>>()
        };
        assert_eq!(clock(Scope::Processes), ["task-clock"]);
        assert_eq!(clock(Scope::Host(Cpu(0))), ["cpu-clock"]);
    }
}
