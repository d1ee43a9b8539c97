//! `perfd ctl tail` and `perfd ctl snapshot`: what a target has, to standard output or a file.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};

use super::super::{Exit, daemon_client, stdout};
use super::Daemon;
use super::output_file::OutputFile;
use crate::control::{
    EndReason, Event, Request, Since, Snapshot, SnapshotFormat, Snapshotted, Tail, TailFormat,
    Tailing, WindowBody,
};
use crate::model::{Fault, FaultClass};

/// Print every window of a target as it closes, until it ends
#[derive(Args, Clone, Debug)]
pub(super) struct TailArgs {
    /// Number or name
    target: String,

    /// In which form; with --json each event of the daemon is a line, folded stacks in it
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = TailForm::Folded)]
    format: TailForm,

    /// The event that is shown [default: the first]
    #[arg(long, value_name = "EVENT")]
    show: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum TailForm {
    /// Folded stacks
    Folded,
    /// Counters and ledger, a line for each window
    Json,
}

/// Print what there is of a target so far, without stopping
#[derive(Args, Clone, Debug)]
pub(super) struct SnapshotArgs {
    /// Number or name
    target: String,

    /// In which form [default: by the ending of -o, else folded]
    #[arg(long, value_name = "FORMAT", value_enum)]
    format: Option<SnapshotForm>,

    /// From when on
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = SinceForm::Start)]
    since: SinceForm,

    /// The event that is shown [default: the first]
    #[arg(long, value_name = "EVENT")]
    show: Option<String>,

    /// A file, opened here and written by the daemon [default: standard output]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SnapshotForm {
    /// Folded stacks
    Folded,
    /// A table of functions
    Functions,
    /// A flame graph
    Svg,
    /// Counters and ledger
    Json,
    /// pprof
    Pprof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SinceForm {
    /// Since it was attached
    Start,
    /// Since the present phase began
    Mark,
}

pub(super) fn tail(daemon: &mut Daemon<'_>, args: &TailArgs) -> anyhow::Result<Exit> {
    let target = daemon.target(&args.target)?;
    let tail = Tail {
        target,
        format: match args.format {
            TailForm::Folded => TailFormat::Folded,
            TailForm::Json => TailFormat::Json,
        },
        show: args.show.clone(),
        heartbeat: None,
    };
    let _: Tailing = daemon.ask(Request::Tail(tail))?;
    loop {
        let event = daemon
            .connection
            .event()
            .map_err(|error| daemon_client::fault(error, &daemon.args.socket.socket))?;
        let text = match &event {
            _ if daemon.args.json => Some(event.line()),
            Event::Window(window) => Some(match &window.body {
                WindowBody::Folded(text) => text.clone().into_bytes(),
                WindowBody::Json(line) => format!("{line}\n").into_bytes(),
                WindowBody::Pprof(_) => Vec::new(),
            }),
            _ => None,
        };
        // Each window is flushed, so that whoever reads has it when it closes.
        if let Some(text) = text
            && !put(&text)?
        {
            return Ok(Exit::Ok);
        }
        match event {
            Event::Gap(gap) => say(&format!(
                "windows {} to {} are missing: this reader was too slow, or they were too large",
                gap.from, gap.to
            )),
            Event::End(end) => return Ok(ended(end.reason)),
            _ => (),
        }
    }
}

/// Whether the reader still reads.
fn put(text: &[u8]) -> anyhow::Result<bool> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error).context(Fault::new(
            FaultClass::OutputFailed,
            "write to standard output",
        )),
    }
}

fn ended(reason: EndReason) -> Exit {
    let said = match reason {
        EndReason::Exited | EndReason::Detached | EndReason::OwnerLeft => return Exit::Ok,
        EndReason::Elevated => "the target has executed a program that its user may not profile",
        EndReason::Unconfigured => "the daemon's configuration does not name the target any more",
        EndReason::Stopping => "the daemon ends",
        EndReason::Failed | EndReason::Other => {
            say("the target ended by a fault of the daemon; see its log");
            return Exit::Internal;
        }
    };
    say(said);
    Exit::Ok
}

/// Standard error may be closed; there is nobody left to tell.
fn say(text: &str) {
    let _ = writeln!(io::stderr().lock(), "perfd: {text}");
}

pub(super) fn snapshot(daemon: &mut Daemon<'_>, args: &SnapshotArgs) -> anyhow::Result<Exit> {
    let form = match (args.format, &args.output) {
        (Some(form), _) => form,
        (None, Some(path)) => form_of(path)?,
        (None, None) => SnapshotForm::Folded,
    };
    let format = match form {
        SnapshotForm::Folded => SnapshotFormat::Folded,
        SnapshotForm::Functions => SnapshotFormat::Functions,
        SnapshotForm::Svg => SnapshotFormat::Svg,
        SnapshotForm::Json => SnapshotFormat::Json,
        SnapshotForm::Pprof => SnapshotFormat::Pprof,
    };
    let target = daemon.target(&args.target)?;
    let asked = Request::Snapshot(Snapshot {
        target,
        format,
        since: match args.since {
            SinceForm::Start => Since::Start,
            SinceForm::Mark => Since::Mark,
        },
        show: args.show.clone(),
    });
    let output = args.output.as_deref();
    let mut file = output.map(OutputFile::open).transpose()?;
    let descriptors: Vec<_> = file.iter().map(AsFd::as_fd).collect();
    let ok: Snapshotted = daemon
        .connection
        .ask(asked, &descriptors)
        .map_err(|error| daemon_client::fault(error, &daemon.args.socket.socket))?;
    if let Some(file) = &mut file {
        file.taken();
    }
    if let Some(lacks) = ok.lacks_ns {
        say(&format!(
            "what was sampled in the last {} s is not in it: it has no names yet",
            lacks.div_ceil(1_000_000_000)
        ));
    }
    if daemon.args.json {
        return daemon.print(&ok, |_| String::new());
    }
    match (ok.text, ok.base64) {
        (Some(text), _) => stdout::print(text.as_bytes()),
        (None, Some(text)) => stdout::print(&STANDARD.decode(&text)?),
        (None, None) => Ok(Exit::Ok),
    }
}

/// The form that a file's ending says; without one it is folded.
///
/// # Errors
/// It says none.
fn form_of(path: &Path) -> Result<SnapshotForm, Fault> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".pb.gz") {
        return Ok(SnapshotForm::Pprof);
    }
    let Some(ending) = path.extension() else {
        return Ok(SnapshotForm::Folded);
    };
    let ending = ending.to_string_lossy();
    SnapshotForm::from_str(&ending, false).map_err(|_| {
        let what = format!(
            "output {path:?}: the ending .{ending} says no format of a snapshot (folded, functions, svg, json, pb.gz and pprof do)"
        );
        Fault::new(FaultClass::Usage, what).hint("try: --format FORMAT, for any ending")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_says_a_format_of_snapshots_or_is_an_error() {
        let of = |name: &str| form_of(Path::new(name)).ok();
        assert_eq!(of("a/x.svg"), Some(SnapshotForm::Svg));
        assert_eq!(of("x.pb.gz"), Some(SnapshotForm::Pprof));
        assert_eq!(of("x.pprof"), Some(SnapshotForm::Pprof));
        assert_eq!(of("x"), Some(SnapshotForm::Folded));
        assert_eq!(of("x.json"), Some(SnapshotForm::Json));
        for name in ["x.foo", "x.jsonl", "x.gz"] {
            assert_eq!(of(name), None, "{name}");
        }
    }
}
