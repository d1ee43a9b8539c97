//! Lists the events of this host, and says of each whether it can be opened here.
//!
//! Named hardware, software and cache events, the events that PMUs describe in sysfs, and tracepoints where tracefs may be
//! read. PATTERN is a part of the name. Every event but a tracepoint is opened once for the answer: a machine without a
//! PMU knows the name `cycles` and cannot count it.
//!
//! ```text
//! $ perfd list faults
//! page-faults OR faults                            software     ok
//! minor-faults                                     software     ok
//! $ perfd list sched:
//! ```

use std::fmt::Write;
use std::io;

use clap::Args;

use super::{Exit, hints, manual, stdout};
use crate::model::{Cpu, EventSource, EventSpec, Fault, FaultClass, Modes, NamedEvent};
use crate::procfs::SysRoots;
use crate::procfs::event_source::{self, ResolveEventError};
use crate::sys::probe::{self, Scope, Use};

/// List the events of this host
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("list.rs")))]
pub(super) struct ListArgs {
    /// Part of the name
    pattern: Option<String>,
}

/// Forms that have no names to list.
const FORMS: &str = "
rNNN                                             raw          a number for the CPU's own PMU, in hexadecimal
PMU/TERM[=N],…/                                  raw          terms of /sys/bus/event_source/devices/PMU/format
mem:ADDR[/LEN][:rwx]                             breakpoint   every access to, or execution of, an address
EVENT:u, EVENT:k                                 modifier     in user mode only, in kernel mode only
EVENT/period=N/, EVENT/freq=N/                   rate         a sample every N counts, N samples a second: for this event alone
";

pub(super) fn run(args: &ListArgs) -> anyhow::Result<Exit> {
    let roots = SysRoots::default();
    let pattern = args.pattern.as_deref().unwrap_or_default();
    let pattern = pattern.to_ascii_lowercase();
    let events = event_source::list(&roots);
    let has_tracepoints = events
        .iter()
        .any(|event| matches!(event.source, EventSource::Tracepoint { .. }));
    let mut text = String::new();
    for event in events {
        let name = all_names(&event);
        if !name.to_ascii_lowercase().contains(&pattern) {
            continue;
        }
        writeln!(
            text,
            "{name:<48} {:<12} {}",
            kind(&event.source),
            state(&roots, &event.source)
        )?;
    }
    if pattern.is_empty() {
        text.push_str(FORMS);
        if !has_tracepoints {
            let remedy = hints::MOUNT_TRACEFS;
            writeln!(
                text,
                "\ntracepoints: tracefs is not mounted or may not be read\n  try: {remedy}"
            )?;
        }
    }
    if text.is_empty() {
        let what = format!("no event of this host has {pattern:?} in its name");
        let mut fault = Fault::new(FaultClass::Unavailable, what);
        if !has_tracepoints {
            fault = fault
                .hint("tracepoints are not among them: tracefs is not mounted or may not be read")
                .hint(format!("try: {}", hints::MOUNT_TRACEFS));
        }
        return Err(fault.hint("try: perfd list").into());
    }
    stdout::print(text.as_bytes())
}

/// All names of an event, as `perf list` joins them.
fn all_names(event: &EventSpec) -> String {
    let aliases = NamedEvent::of(&event.source).map_or(&[][..], |named| named.aliases);
    aliases
        .iter()
        .fold(event.to_string(), |names, alias| names + " OR " + alias)
}

fn kind(source: &EventSource) -> &'static str {
    match source {
        EventSource::Hardware(_) => "hardware",
        EventSource::Software(_) => "software",
        EventSource::Cache(..) => "cache",
        EventSource::Raw(_) | EventSource::Pmu { .. } => "pmu",
        EventSource::Tracepoint { .. } => "tracepoint",
        EventSource::Breakpoint { .. } => "breakpoint",
    }
}

/// What happens when the event is asked for.
fn state(roots: &SysRoots, source: &EventSource) -> String {
    if let EventSource::Tracepoint { .. } = source {
        return String::new();
    }
    let event = match event_source::resolve(roots, source) {
        Ok(event) => event,
        Err(ResolveEventError::ValueMissing { term, .. }) => return format!("needs {term}=N"),
        Err(error) => return error.to_string(),
    };
    let open = |modes, scope| probe::open(&event, modes, scope, Use::Count);
    // Some PMUs know no modes, those outside the cores no processes.
    let refused = match open(Modes::USER, Scope::Own) {
        Ok(()) => return "ok".to_owned(),
        Err(error) => error,
    };
    if open(Modes::ALL, Scope::Own).is_ok() {
        return "ok".to_owned();
    }
    if open(Modes::ALL, Scope::WholeCpu(Cpu(0))).is_ok() {
        return "ok with -a only".to_owned();
    }
    match refused.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => "not on this machine".to_owned(),
    }
}
