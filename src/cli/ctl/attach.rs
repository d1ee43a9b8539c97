//! `perfd ctl attach`: opens what shows the daemon that this user may look into the process, and the files that windows go to.

use std::io::Write;
use std::os::fd::AsFd;

use clap::Args;

use super::super::daemon_client::{self, Proof};
use super::super::{Exit, values};
use super::Daemon;
use super::output_file::OutputFile;
use crate::control::{
    Attach, Attached, MAX_DESCRIPTORS, OutputAsked, OutputFormat, Request, TargetChoice,
};
use crate::model::{Fault, FaultClass, Hz, Pid};
use crate::sink::{Format, Place, SinkSpec};

/// Profile something until it is detached; prints the target's number
#[derive(Args, Clone, Debug)]
pub(super) struct AttachArgs {
    #[command(flatten)]
    what: What,

    /// With a PID: take its living descendants too
    #[arg(long, requires = "pid")]
    tree: bool,

    /// Events to sample [default: the daemon's]
    #[arg(
        short = 'e',
        long = "event",
        value_name = "EVENT[,EVENT…]",
        value_delimiter = ','
    )]
    events: Vec<String>,

    /// Samples per second and CPU [default: the daemon's]
    #[arg(short = 'F', long = "freq", value_name = "HZ", value_parser = values::frequency)]
    frequency: Option<Hz>,

    /// Show the functions of Python programs
    #[arg(long)]
    python: bool,

    /// What the target is called
    #[arg(long, value_name = "NAME")]
    name: Option<String>,

    /// Files that windows go to, opened here and written by the daemon
    #[arg(short = 'o', long = "output", value_name = "[FORMAT:]FILE")]
    outputs: Vec<String>,

    /// The event that is shown in files of one event [default: the first]
    #[arg(long, value_name = "EVENT")]
    show: Option<String>,
}

/// Exactly one of them.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct What {
    /// This process, and what it forks
    #[arg(value_name = "PID", value_parser = values::pid)]
    pid: Option<Pid>,

    /// All processes of this name
    #[arg(long, value_name = "NAME")]
    comm: Option<String>,

    /// What runs in this cgroup: a path below the mount point of cgroup v2
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,

    /// What runs in this systemd unit
    #[arg(long, value_name = "UNIT")]
    unit: Option<String>,

    /// What runs in this container
    #[arg(long, value_name = "ID")]
    container: Option<String>,

    /// All that runs
    #[arg(long)]
    host: bool,
}

pub(super) fn run(daemon: &mut Daemon<'_>, args: AttachArgs) -> anyhow::Result<Exit> {
    let target = match &args.what {
        What { pid: Some(pid), .. } => TargetChoice::Pid(pid.0),
        What {
            comm: Some(comm), ..
        } => TargetChoice::Comm(comm.clone()),
        What {
            cgroup: Some(path), ..
        } => TargetChoice::Cgroup(path.clone()),
        What {
            unit: Some(unit), ..
        } => TargetChoice::Unit(unit.clone()),
        What {
            container: Some(id),
            ..
        } => TargetChoice::Container(id.clone()),
        _ => TargetChoice::Host,
    };
    let proof = args.what.pid.map(Proof::of).transpose()?;
    let mut descriptors = proof.as_ref().map(Proof::descriptors).unwrap_or_default();
    let most = MAX_DESCRIPTORS - descriptors.len();
    if args.outputs.len() > most {
        let what = format!(
            "-o: {} outputs; the daemon takes {most}",
            args.outputs.len()
        );
        return Err(Fault::new(FaultClass::Usage, what).into());
    }
    let mut opened: Vec<(OutputAsked, OutputFile)> = args
        .outputs
        .iter()
        .map(|typed| open(typed, args.show.as_deref()))
        .collect::<anyhow::Result<_>>()?;
    descriptors.extend(opened.iter().map(|(_, file)| file.as_fd()));
    let attach = Attach {
        events: (!args.events.is_empty()).then_some(args.events),
        frequency: args.frequency.map(|hz| hz.0),
        python: args.python,
        tree: args.tree,
        name: args.name,
        // This client leaves at once.
        keep: true,
        outputs: opened.iter().map(|(asked, _)| asked.clone()).collect(),
        ..Attach::to(target)
    };
    let asked = daemon.connection.ask(Request::Attach(attach), &descriptors);
    let ok: Attached =
        asked.map_err(|error| daemon_client::fault(error, &daemon.args.socket.socket))?;
    opened.iter_mut().for_each(|(_, file)| file.taken());
    let mut stderr = std::io::stderr().lock();
    for note in &ok.notes {
        // Standard error may be closed; there is nobody left to tell.
        let _ = writeln!(stderr, "perfd: {note}");
    }
    daemon.print(&ok, |ok| format!("{}\n", ok.target))
}

/// Opens an output as the direct command would; only files can be passed.
fn open(typed: &str, show: Option<&str>) -> anyhow::Result<(OutputAsked, OutputFile)> {
    let usage = |what: String| Fault::new(FaultClass::Usage, what);
    let spec: SinkSpec = typed
        .parse()
        .map_err(|error| usage(format!("-o {typed}: {error}")))?;
    let Place::File(path) = &spec.place else {
        return Err(
            usage(format!("-o {typed}: the daemon writes to files alone"))
                .hint("for standard output and sockets: perfd ctl tail, perfd attach --daemon")
                .into(),
        );
    };
    let format = match spec.format {
        Format::Folded => OutputFormat::Folded,
        Format::Functions => OutputFormat::Functions,
        Format::Svg => OutputFormat::Svg,
        Format::Json => OutputFormat::Json,
        Format::Jsonl => OutputFormat::Jsonl,
        Format::Pprof => OutputFormat::Pprof,
        Format::Samples => {
            let what = format!("-o {typed}: the daemon keeps no samples one by one");
            return Err(usage(what).hint("perfd attach --timestamps does").into());
        }
    };
    let file = OutputFile::open(path)?;
    let show = show.map(str::to_owned);
    Ok((OutputAsked { format, show }, file))
}
