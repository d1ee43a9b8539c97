//! Which events are sampled on this machine, and in which modes.

use anyhow::Context;

use super::refused::refused;
use super::spec::{EventChoice, Spec, Target};
use crate::model::{
    AskedEvent, EventSource, EventSpec, Fault, FaultClass, HardwareEvent, Hz, Rate, ResolvedEvent,
    SoftwareEvent,
};
use crate::procfs::event_source::{cpu_pmus, resolve};
use crate::procfs::sysctl::Sysctls;
use crate::procfs::{SysRoots, cpus};
use crate::sampler::PlannedEvent;
use crate::sys::probe::{Scope, Use, permitted_modes};
use crate::target::Selection;

/// What a run samples when nobody says otherwise.
const DEFAULT: [HardwareEvent; 3] = [
    HardwareEvent::Cycles,
    HardwareEvent::Instructions,
    HardwareEvent::CacheMisses,
];

/// What it samples instead where the machine has no PMU.
const WITHOUT_PMU: SoftwareEvent = SoftwareEvent::CpuClock;

/// The events of a run, each probed, and what the user should know about them.
pub(super) fn choose(
    asked: &EventChoice,
    rate: Rate,
    scope: Scope,
    roots: &SysRoots,
) -> anyhow::Result<(Vec<PlannedEvent>, Vec<String>)> {
    let mut notes = Vec::new();
    check_rates(asked, rate, roots)?;
    let events = match asked {
        EventChoice::Asked(asked) => asked
            .iter()
            .map(|event| plan(roots, &event.spec, event.rate.unwrap_or(rate), scope))
            .collect::<Result<Vec<_>, _>>()?,
        EventChoice::Default => defaults(roots, rate, scope, &mut notes)?,
    };
    let narrowed: Vec<String> = events
        .iter()
        .filter(|event| event.modes != event.spec.modes)
        .map(|event| event.spec.to_string())
        .collect();
    if !narrowed.is_empty() {
        let level = Sysctls::read(roots).perf_event_paranoid;
        let level = level.map_or(String::new(), |n| {
            format!(" (kernel.perf_event_paranoid is {n})")
        });
        notes.push(format!(
            "user mode only: {}: sampling the kernel is not permitted{level}",
            narrowed.join(", ")
        ));
    }
    Ok((events, notes))
}

/// The kernel's word for a rate above its limit is EINVAL, as for anything else it does not like.
fn check_rates(asked: &EventChoice, rate: Rate, roots: &SysRoots) -> Result<(), Fault> {
    let Some(limit) = Sysctls::read(roots).perf_event_max_sample_rate else {
        return Ok(());
    };
    let too_high = |rate| match rate {
        Rate::Frequency(hz) if hz.0 > limit => Some(hz),
        _ => None,
    };
    let asked: &[AskedEvent] = match asked {
        EventChoice::Asked(asked) => asked,
        EventChoice::Default => &[],
    };
    let of_event = asked.iter().find_map(|event| {
        let hz = too_high(event.rate?)?;
        let lower = AskedEvent {
            rate: Some(Rate::Frequency(Hz(limit))),
            ..event.clone()
        };
        Some((
            format!("sample {} at {hz}", event.spec),
            hz,
            format!("-e {lower}"),
        ))
    });
    let uses_the_runs = asked.is_empty() || asked.iter().any(|event| event.rate.is_none());
    let of_run = || {
        let hz = too_high(rate).filter(|_| uses_the_runs)?;
        Some((format!("sample at {hz}"), hz, format!("-F {limit}")))
    };
    let Some((what, hz, lower)) = of_event.or_else(of_run) else {
        return Ok(());
    };
    let what = format!("{what}: the kernel allows {limit} Hz at most");
    Err(Fault::new(FaultClass::Unavailable, what)
        .hint(format!("kernel.perf_event_max_sample_rate is {limit}"))
        .hint(format!("try: {lower}"))
        .hint(format!(
            "or:  sudo sysctl kernel.perf_event_max_sample_rate={}",
            hz.0
        )))
}

/// Where the events of a run are tried.
pub(super) fn scope(spec: &Spec) -> Scope {
    match &spec.target {
        Target::Running(Selection::Host)
        | Target::Command {
            whole_host: true, ..
        } => scope_of_host(&spec.roots),
        _ => Scope::Own,
    }
}

/// Where events of whole CPUs are tried.
pub(super) fn scope_of_host(roots: &SysRoots) -> Scope {
    let cpus = cpus::online(roots).unwrap_or_default();
    let first = cpus.first().copied();
    first.map_or(Scope::Own, Scope::WholeCpu)
}

fn defaults(
    roots: &SysRoots,
    rate: Rate,
    scope: Scope,
    notes: &mut Vec<String>,
) -> anyhow::Result<Vec<PlannedEvent>> {
    let mut events = Vec::new();
    let mut missing: Vec<(String, String)> = Vec::new();
    for event in DEFAULT {
        let spec = EventSpec::new(EventSource::Hardware(event));
        let resolved = resolved(roots, &spec)?;
        match permitted_modes(&spec, &resolved, scope, Use::Sample) {
            Ok(modes) => events.push(PlannedEvent {
                spec,
                resolved,
                rate,
                modes,
            }),
            Err(error) if error.class() == FaultClass::Unavailable => {
                let error = error.on(cpu_pmus(roots));
                missing.push((spec.to_string(), error.cause()));
            }
            Err(error) => return Err(refused(roots, &error).into()),
        }
    }
    let Some((_, cause)) = missing.first() else {
        return Ok(events);
    };
    let names: Vec<&str> = missing.iter().map(|(name, _)| name.as_str()).collect();
    let names = names.join(", ");
    if events.is_empty() {
        let clock = EventSpec::new(EventSource::Software(WITHOUT_PMU));
        notes.push(format!("sampling {clock} in the place of {names}: {cause}"));
        events.push(plan(roots, &clock, rate, scope)?);
    } else {
        notes.push(format!("not sampled: {names}: {cause}"));
    }
    Ok(events)
}

fn plan(
    roots: &SysRoots,
    spec: &EventSpec,
    rate: Rate,
    scope: Scope,
) -> anyhow::Result<PlannedEvent> {
    let resolved = resolved(roots, spec)?;
    let modes = permitted_modes(spec, &resolved, scope, Use::Sample)
        .map_err(|error| refused(roots, &error.on(cpu_pmus(roots))))?;
    Ok(PlannedEvent {
        spec: spec.clone(),
        resolved,
        rate,
        modes,
    })
}

fn resolved(roots: &SysRoots, spec: &EventSpec) -> anyhow::Result<ResolvedEvent> {
    resolve(roots, &spec.source).with_context(|| format!("sample {spec}"))
}
