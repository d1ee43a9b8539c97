//! Makes one profile of the continuous files of a time.
//!
//! `perfd daemon` keeps the windows of its targets in files under its state directory. This puts those of a time together and writes
//! them in any format that other commands write too, to standard output as folded stacks if nothing else is said. Times are local:
//! `10:00` is the last time that it was ten o'clock, and an end the first one after the beginning; dates, RFC 3339 and `-10m` are
//! times too. Files hold some windows each (a minute, if the daemon was not told otherwise) and are taken whole: what was written, and
//! of which time it is, is said on standard error, and so is each file that cannot be read.
//!
//! ```text
//! $ perfd export --since 10:00 --until 10:05 --unit postgresql.service -o flame.svg
//! profile  flame.svg
//! from     6 files of postgresql.service, 2026-11-27 09:59:40 to 2026-11-27 10:05:40
//! $ perfd export --since -10m | inferno-flamegraph > flame.svg
//! $ perfd export --since 2026-11-26T22:00:00Z --until now --phase measure -o run.pb.gz -o run.json
//! ```

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use super::moment::{self, Moment};
use super::{Exit, manual, profile};
use crate::aggregate;
use crate::model::{EventIdx, EventSpec, Fault, FaultClass, Profile};
use crate::sink::{Format, Measure, OpenContext, OpenError, Place, Sink, SinkSpec};
use crate::store::{Archive, Found, Kept, Selection};
use crate::sys;

/// Make one profile of the continuous files of a time
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("export.rs")))]
pub(super) struct ExportArgs {
    /// Take windows from this time on: 10:00, "2026-11-27 10:00", 2026-11-27T10:00:00Z, -10m [default: the oldest]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<Moment>,

    /// Take windows that begin before this time [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    until: Option<Moment>,

    /// Take the windows of this target alone
    #[arg(long, value_name = "NAME", conflicts_with = "unit")]
    target: Option<String>,

    /// Take the windows of this systemd unit alone
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,

    /// Take the windows of this phase alone
    #[arg(long, value_name = "PHASE")]
    phase: Option<String>,

    /// The daemon's state directory
    #[arg(long, value_name = "DIR", default_value = "/var/lib/perfd")]
    state: PathBuf,

    /// Where output goes, as often as you like: as for record, but for .samples
    #[arg(short = 'o', long = "output", value_name = "[FORMAT:]WHERE")]
    outputs: Vec<String>,

    /// The event whose stacks go to standard output and other places that hold one event [default: the first]
    #[arg(long, value_name = "EVENT")]
    show: Option<EventSpec>,

    /// Write numbers of samples in the place of weights
    #[arg(long)]
    samples: bool,

    /// Keep processes apart: comm-PID at the root
    #[arg(long)]
    pid: bool,

    /// Keep threads apart: comm-PID/TID at the root
    #[arg(long)]
    tid: bool,

    /// Say nothing on standard error but errors
    #[arg(short = 'q', long)]
    quiet: bool,
}

/// How long a reader may take nothing.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Targets that are listed where nothing was found.
const MOST_LISTED: usize = 12;

pub(super) fn run(args: &ExportArgs) -> anyhow::Result<Exit> {
    let specs = specs(args)?;
    let now = sys::unix_ns_now();
    let since = args.since.map(|since| since.as_start(now));
    let wanted = Selection {
        since,
        until: Some(args.until.map_or(now, |until| until.as_end(since, now))),
        target: args.target.clone(),
        unit: args.unit.clone(),
        phase: args.phase.clone(),
    };
    if wanted.since >= wanted.until {
        let what = format!("{} is not before --until", span_of(&wanted));
        return Err(Fault::new(FaultClass::Usage, what).into());
    }
    let archive = Archive::at(&args.state.join("windows"));
    let failed = |error: io::Error| cannot_list(args, error);
    let mut found = archive.find(&wanted).map_err(failed)?;
    for damaged in &found.damaged {
        say(&format!("perfd: left out: {}\n", chain(damaged)));
    }
    let Some(profile) = found.profile.take() else {
        let kept = archive.kept(MOST_LISTED).map_err(failed)?;
        return Err(nothing_found(&wanted, &kept).into());
    };
    let profile = whole(by_name(args, profile));
    let places = write(args, &specs, &profile, &found)?;
    if !args.quiet {
        places
            .iter()
            .for_each(|place| say(&format!("profile  {place}\n")));
        said_of(&found).iter().for_each(|line| say(line));
    }
    Ok(Exit::Ok)
}

fn specs(args: &ExportArgs) -> anyhow::Result<Vec<SinkSpec>> {
    let typed: Vec<&str> = match args.outputs.is_empty() {
        true => vec!["-"],
        false => args.outputs.iter().map(String::as_str).collect(),
    };
    let specs = profile::sink_specs(&typed, Format::Folded)?;
    if let Some(samples) = specs.iter().find(|spec| spec.format == Format::Samples) {
        let what = format!("-o {samples}: windows do not hold samples one by one");
        let fault = Fault::new(FaultClass::Usage, what);
        return Err(fault.hint("try: -o out.folded or -o out.pb.gz").into());
    }
    Ok(specs)
}

/// Windows are kept by thread. Those of one name are one here, unless they are to be told apart.
fn by_name(args: &ExportArgs, mut profile: Profile) -> Profile {
    for row in &mut profile.rows {
        row.task.tid.take_if(|_| !args.tid);
        row.task.pid.take_if(|_| !(args.pid || args.tid));
    }
    profile.rows = aggregate::sorted(profile.rows);
    profile
}

/// The account of what is there is that of the whole: there is no run that goes on.
fn whole(mut profile: Profile) -> Profile {
    profile.span.is_last = true;
    profile.span.sequence = 0;
    profile.whole_run = Some(Box::new((
        profile.processes.clone(),
        profile.ledger.clone(),
    )));
    profile
}

/// Writes the profile to all places and names them.
fn write(
    args: &ExportArgs,
    specs: &[SinkSpec],
    profile: &Profile,
    found: &Found,
) -> anyhow::Result<Vec<String>> {
    let context = OpenContext {
        run: Arc::clone(&profile.run),
        shown: shown(args, profile)?,
        measure: match args.samples {
            true => Measure::Samples,
            false => Measure::Weight,
        },
        timeout: TIMEOUT,
    };
    let open = |spec| {
        let mut sink = Sink::open(spec, &context).map_err(cannot_open)?;
        sink.set_labels(&found.labels);
        Ok(sink)
    };
    let sinks: Vec<Sink> = specs.iter().map(open).collect::<Result<_, Fault>>()?;
    let mut places = Vec::new();
    for (mut sink, spec) in sinks.into_iter().zip(specs) {
        if spec.place != Place::Stdout {
            places.extend(sink.places().map(str::to_owned));
        }
        match sink.write(profile).and_then(|()| sink.finish()) {
            Err(error) if !error.is_closed() => {
                let failed = Fault::new(FaultClass::OutputFailed, format!("write -o {spec}"));
                return Err(anyhow::Error::new(error).context(failed));
            }
            _ => (),
        }
    }
    Ok(places)
}

/// The position of `--show` among the events.
fn shown(args: &ExportArgs, profile: &Profile) -> Result<Option<EventIdx>, Fault> {
    let Some(wanted) = &args.show else {
        return Ok(None);
    };
    let events = &profile.run.events;
    if let Some(at) = events.iter().position(|event| event.spec == *wanted) {
        return Ok(Some(EventIdx(at)));
    }
    let known: Vec<String> = events.iter().map(|event| event.spec.to_string()).collect();
    let what = format!("--show {wanted} is not one of the events");
    let fault = Fault::new(FaultClass::Usage, what);
    Err(fault.hint(format!("the events are {}", known.join(", "))))
}

/// The first line of the text is the error, and the others are what to do about it.
fn cannot_open(error: OpenError) -> Fault {
    let class = match error.is_denied() {
        true => FaultClass::Permission,
        false => FaultClass::CannotCreate,
    };
    let text = chain(&error);
    let mut lines = text.lines();
    let fault = Fault::new(class, lines.next().unwrap_or_default());
    lines.fold(fault, |fault, line| fault.hint(line.trim_start()))
}

fn cannot_list(args: &ExportArgs, error: io::Error) -> anyhow::Error {
    let what = format!("read the files under {}", args.state.display());
    let (class, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            FaultClass::NoSuchTarget,
            "perfd daemon makes them there if its configuration has [files]; --state names another directory",
        ),
        io::ErrorKind::PermissionDenied => (
            FaultClass::Permission,
            "they belong to the user that the daemon runs as\n  try: sudo perfd export",
        ),
        _ => (FaultClass::System, "see: the log of perfd daemon"),
    };
    let fault = hint.lines().fold(Fault::new(class, what), |fault, line| {
        fault.hint(line.trim_start())
    });
    anyhow::Error::new(error).context(fault)
}

/// What was looked for, and what there is instead.
fn nothing_found(wanted: &Selection, kept: &[Kept]) -> Fault {
    let of = [
        ("target", &wanted.target),
        ("unit", &wanted.unit),
        ("phase", &wanted.phase),
    ];
    let of: Vec<String> = of
        .iter()
        .filter_map(|(what, name)| Some(format!(" of {what} {}", name.as_ref()?)))
        .collect();
    let what = format!("no windows{} {}", of.concat(), span_of(wanted));
    let fault = Fault::new(FaultClass::NoSuchTarget, what);
    if kept.is_empty() {
        return fault
            .hint("there are no files at all")
            .hint("windows of targets that clients have asked for (perfd ctl attach) are kept with [files] targets = \"all\"");
    }
    let mut fault = kept.iter().take(MOST_LISTED).fold(fault, |fault, kept| {
        let (first, last) = (moment::shown(kept.start), moment::shown(kept.end));
        fault.hint(format!(
            "there are files of {}: {first} to {last}",
            kept.target
        ))
    });
    if kept.len() > MOST_LISTED {
        let more = kept.len() - MOST_LISTED;
        fault = fault.hint(format!("and of {more} more targets"));
    }
    fault
}

fn span_of(wanted: &Selection) -> String {
    let until = moment::shown(wanted.until.unwrap_or_default());
    match wanted.since {
        Some(since) => format!("from {} to {until}", moment::shown(since)),
        None => format!("before {until}"),
    }
}

fn said_of(found: &Found) -> Vec<String> {
    let lines = found.kept.iter().map(|kept| {
        let files = match kept.n_files {
            1 => "1 file".to_owned(),
            n => format!("{n} files"),
        };
        let (first, last) = (moment::shown(kept.start), moment::shown(kept.end));
        format!("from     {files} of {}, {first} to {last}\n", kept.target)
    });
    lines.collect()
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // A transparent error repeats its source.
        if !text.ends_with(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        source = cause.source();
    }
    text
}

/// Standard error may be closed; there is nobody left to tell.
fn say(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
