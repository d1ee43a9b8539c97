//! Which events are sampled on this machine, and in which modes.

use anyhow::Context;

use super::refused::refused;
use super::spec::{EventChoice, Spec, Target};
use crate::model::{
    EventSource, EventSpec, Fault, FaultClass, HardwareEvent, Rate, ResolvedEvent, SoftwareEvent,
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
pub(super) fn choose(spec: &Spec) -> anyhow::Result<(Vec<PlannedEvent>, Vec<String>)> {
    let mut notes = Vec::new();
    check_rate(spec)?;
    let scope = scope(spec);
    let events = match &spec.events {
        EventChoice::Asked(asked) => asked
            .iter()
            .map(|event| plan(&spec.roots, event, spec.rate, scope))
            .collect::<Result<Vec<_>, _>>()?,
        EventChoice::Default => defaults(&spec.roots, spec.rate, scope, &mut notes)?,
    };
    let narrowed: Vec<String> = events
        .iter()
        .filter(|event| event.modes != event.spec.modes)
        .map(|event| event.spec.to_string())
        .collect();
    if !narrowed.is_empty() {
        let level = Sysctls::read(&spec.roots).perf_event_paranoid;
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
fn check_rate(spec: &Spec) -> Result<(), Fault> {
    let limit = Sysctls::read(&spec.roots).perf_event_max_sample_rate;
    match (spec.rate, limit) {
        (Rate::Frequency(hz), Some(limit)) if hz.0 > limit => {
            let what = format!("sample at {hz}: the kernel allows {limit} Hz at most");
            Err(Fault::new(FaultClass::Unavailable, what)
                .hint(format!("kernel.perf_event_max_sample_rate is {limit}"))
                .hint(format!("try: -F {limit}"))
                .hint(format!(
                    "or:  sudo sysctl kernel.perf_event_max_sample_rate={}",
                    hz.0
                )))
        }
        _ => Ok(()),
    }
}

fn scope(spec: &Spec) -> Scope {
    let first_cpu = || {
        cpus::online(&spec.roots)
            .ok()
            .and_then(|cpus| cpus.first().copied())
    };
    match &spec.target {
        Target::Running(Selection::Host)
        | Target::Command {
            whole_host: true, ..
        } => first_cpu().map_or(Scope::Own, Scope::WholeCpu),
        _ => Scope::Own,
    }
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
