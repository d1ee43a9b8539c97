//! What other programs write, as far as it means something here.

use std::sync::Arc;

use super::columns::{Column, Columns};
use super::{DecodeError, Message, file_name};
use crate::model::{
    EventLedger, EventSource, EventSpec, Ledger, Modes, MonoNs, Profile, Rate, RunInfo,
    SampledEvent, SoftwareEvent, WindowSpan,
};

/// Characters of an event's name.
const MAX_NAME: usize = 64;
/// Comments that are kept as notes.
const MOST_NOTES: usize = 64;

/// The run that a file tells of, and where its events' values stand.
pub(super) fn run(
    message: &Message<'_>,
    comments: Vec<String>,
) -> Result<(RunInfo, Columns), DecodeError> {
    let mut types = Vec::with_capacity(message.sample_types.len());
    for (name, unit) in &message.sample_types {
        let name = String::from_utf8_lossy(message.string(*name)?);
        types.push((name, message.string(*unit)?));
    }
    if types.is_empty() {
        return Err(DecodeError::Malformed("no type of samples"));
    }
    let (mut events, mut columns) = (Vec::<SampledEvent>::new(), Vec::new());
    let counts_samples = |at: usize| types.get(at).is_some_and(|(name, _)| is_of_samples(name));
    let mut at = 0;
    while at < types.len() {
        let is_pair = counts_samples(at) && at + 1 < types.len() && !counts_samples(at + 1);
        let weight = at + usize::from(is_pair);
        let samples = (is_pair || counts_samples(at)).then_some(at);
        let (name, unit) = &types[weight];
        let spec = event(name, unit, &events);
        let is_periodic = message.period_type == Some(message.sample_types[weight].0);
        events.push(SampledEvent {
            spec,
            rate: Rate::Period(match is_periodic {
                true => message.period.max(1),
                false => 1,
            }),
            modes: Modes::ALL,
        });
        columns.push(Column { weight, samples });
        at = weight + 1;
    }
    let target = match message.first_mapping {
        Some(name) => file_name(&String::from_utf8_lossy(message.string(name)?)).to_string(),
        None => String::from("a profile of another program"),
    };
    let run = RunInfo {
        perfd_version: "".into(),
        hostname: String::new(),
        kernel: String::new(),
        target,
        events,
        notes: comments.into_iter().take(MOST_NOTES).collect(),
    };
    let n_values = types.len();
    let events = columns;
    Ok((run, Columns { events, n_values }))
}

/// The profile without its rows.
pub(super) fn profile(run: RunInfo, message: &Message<'_>) -> Profile {
    Profile {
        run: Arc::new(run),
        span: WindowSpan {
            sequence: 0,
            start: MonoNs(0),
            end: MonoNs(message.duration_nanos),
            start_unix_ns: message.time_nanos,
            is_last: true,
        },
        rows: Vec::new(),
        processes: Vec::new(),
        ledger: Ledger::default(),
        whole_run: None,
    }
}

/// The account of what is there: what was lost is not known.
pub(super) fn add_up(profile: &mut Profile) {
    let mut events = vec![EventLedger::default(); profile.run.events.len()];
    for row in &profile.rows {
        for (event, weight) in events.iter_mut().zip(&row.weights) {
            event.delivered = event.delivered.saturating_add(weight.samples);
            event.sampled_weight = event.sampled_weight.saturating_add(weight.total);
        }
    }
    profile.ledger.events = events;
}

fn is_of_samples(name: &str) -> bool {
    matches!(name, "sample" | "samples") || name.ends_with("_sample") || name.ends_with("_samples")
}

/// The event of a name, else one that is called so and is no other's.
fn event(name: &str, unit: &[u8], taken: &[SampledEvent]) -> EventSpec {
    let is_free = |spec: &EventSpec| taken.iter().all(|event| event.spec != *spec);
    let own: Option<EventSpec> = name.trim_end_matches("_event").parse().ok();
    let clock = EventSpec::new(EventSource::Software(SoftwareEvent::CpuClock));
    let known = own.or_else(|| (unit == b"nanoseconds").then_some(clock));
    if let Some(spec) = known.filter(is_free) {
        return spec;
    }
    let plain = |character: char| match character.is_ascii_alphanumeric() {
        true => character,
        false => '_',
    };
    let mut name: String = name.chars().take(MAX_NAME).map(plain).collect();
    if name.is_empty() {
        name.push_str("values");
    }
    let called = |name: String| {
        EventSpec::new(EventSource::Tracepoint {
            subsystem: String::from("pprof"),
            name,
        })
    };
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    let mut candidates = std::iter::once(name.clone()).chain(numbered).map(called);
    candidates
        .find(is_free)
        .expect("one of more numbers than there are events is free")
}
