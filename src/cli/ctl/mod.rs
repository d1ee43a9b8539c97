//! Asks the daemon: to profile something, what it profiles, for what there is so far, for every window as it closes.
//!
//! A user may ask for processes that the kernel lets that user look into, and for what that user asked for before; root and the administrators' group for
//! everything. TARGET is a number that `attach` or `list` prints, or a name that only one target has.
//!
//! ```text
//! $ perfd ctl attach 4242 --name bench          prints the target's number
//! $ perfd ctl attach --unit postgresql.service
//! $ perfd ctl list
//! $ perfd ctl mark bench measure                what comes is kept apart from what was
//! $ perfd ctl tail bench | inferno-flamegraph > flame.svg
//! $ perfd ctl snapshot bench --since mark -o flame.svg
//! $ perfd ctl detach bench
//! ```

mod attach;
mod output_file;
mod show;
mod windows;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::daemon_client::{self, SocketArgs};
use super::{Exit, manual, stdout};
use crate::control::client::Connection;
use crate::control::{
    Detach, Detached, List, Mark, Marked, Phase, Request, Shutdown, StatsAsked, Stopping,
};

/// Ask the daemon
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("mod.rs")), subcommand_required = true, disable_help_subcommand = true)]
pub(super) struct CtlArgs {
    #[command(flatten)]
    socket: SocketArgs,

    /// Print the daemon's answer as JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    ask: Ask,
}

#[derive(Clone, Debug, Subcommand)]
enum Ask {
    Attach(Box<attach::AttachArgs>),
    /// Stop profiling a target
    Detach {
        /// Number or name
        target: String,
    },
    /// Say what is being profiled
    List,
    /// Say what the daemon itself does and takes
    Stats,
    /// Begin a phase of a target: warm-up, measure, iteration 3
    Mark {
        /// Number or name
        target: String,
        /// What begins; nothing ends the present phase
        phase: Option<String>,
    },
    Snapshot(windows::SnapshotArgs),
    Tail(windows::TailArgs),
    /// End the daemon
    Shutdown,
}

pub(super) fn run(args: CtlArgs) -> anyhow::Result<Exit> {
    let mut daemon = Daemon {
        connection: daemon_client::connect(&args.socket.socket)?,
        args: &args,
    };
    match args.ask.clone() {
        Ask::Attach(attach) => attach::run(&mut daemon, *attach),
        Ask::Detach { target } => {
            let target = daemon.target(&target)?;
            let ok: Detached = daemon.ask(Request::Detach(Detach { target }))?;
            daemon.print(&ok, |_| String::new())
        }
        Ask::List => {
            let ok = daemon.ask(Request::List(List {}))?;
            daemon.print(&ok, show::list)
        }
        Ask::Stats => {
            let ok = daemon.ask(Request::Stats(StatsAsked {}))?;
            daemon.print(&ok, show::stats)
        }
        Ask::Mark { target, phase } => {
            let target = daemon.target(&target)?;
            let phase = phase.map(Phase);
            let ok: Marked = daemon.ask(Request::Mark(Mark { target, phase }))?;
            daemon.print(&ok, |_| String::new())
        }
        Ask::Snapshot(snapshot) => windows::snapshot(&mut daemon, &snapshot),
        Ask::Tail(tail) => windows::tail(&mut daemon, &tail),
        Ask::Shutdown => {
            let ok: Stopping = daemon.ask(Request::Shutdown(Shutdown {}))?;
            daemon.print(&ok, |_| String::new())
        }
    }
}

/// The daemon, and how its answers are shown.
struct Daemon<'a> {
    connection: Connection,
    args: &'a CtlArgs,
}

impl Daemon<'_> {
    fn ask<T: DeserializeOwned>(&mut self, request: Request) -> anyhow::Result<T> {
        let asked = self.connection.ask(request, &[]);
        asked.map_err(|error| daemon_client::fault(error, &self.args.socket.socket))
    }

    fn target(&mut self, typed: &str) -> anyhow::Result<u32> {
        daemon_client::target_number(&mut self.connection, &self.args.socket.socket, typed)
    }

    fn print<T: Serialize>(&self, ok: &T, text: impl FnOnce(&T) -> String) -> anyhow::Result<Exit> {
        let text = match self.args.json {
            true => format!("{}\n", serde_json::to_string(ok)?),
            false => text(ok),
        };
        stdout::print(text.as_bytes())
    }
}
