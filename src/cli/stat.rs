//! Counts events of a command or of running processes, and takes no samples.
//!
//! The table goes to standard error when the command or `-d` ends, with `-I` once every interval. An event that had to share
//! the PMU's counters is scaled and shows for how much of the time it counted; one that never counted says so and is not 0.
//! `-r` runs the command several times and shows mean and spread. With `--json`, standard output has nothing but JSON, and what
//! the command writes there goes to standard error. When `-d` is over, a command gets SIGTERM. perfd returns the command's
//! own exit status.
//!
//! ```text
//! $ perfd stat -r 5 -- gzip -k9 big.log
//! $ perfd stat -p 4242 -I 1000
//! $ perfd stat -e cycles:u,LLC-load-misses --json -- ./bench
//! ```

use std::ffi::OsString;
use std::io;
use std::time::Duration;

use clap::Args;

use super::values::{self, EventList};
use super::{Exit, args, manual};
use crate::model::{EventSpec, Fault, FaultClass, Pid};
use crate::procfs::SysRoots;
use crate::sampler::counters::{Children, Request};
use crate::session::stat::{self, Form, Output, Over, StatSpec};

/// Count events of a command or of running processes
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("stat.rs")), override_usage = "perfd stat [FLAGS] -p PID… | -a | -- CMD…")]
pub struct StatArgs {
    /// Events to count; see `perfd list` [default: task-clock and other software events, and where there is a PMU cycles, instructions, cache-misses]
    #[arg(short = 'e', long = "event", value_name = "EVENT[,EVENT…]")]
    event_lists: Vec<EventList<EventSpec>>,

    /// Count these running processes
    #[arg(short = 'p', long = "pid", value_name = "PID[,PID…]", value_parser = values::pid, value_delimiter = ',', conflicts_with_all = ["command", "whole_host"])]
    pub pids: Vec<Pid>,

    /// Count all that runs on this host, while the command runs or until Ctrl-C
    #[arg(short = 'a', long = "all-cpus")]
    pub whole_host: bool,

    /// With -p: take the processes' living descendants too
    #[arg(long, requires = "pids")]
    pub tree: bool,

    /// Leave children that are forked and threads that are started during the run
    #[arg(long)]
    pub no_inherit: bool,

    /// End after this time
    #[arg(short = 'd', long, value_name = "SECONDS", value_parser = values::seconds)]
    pub duration: Option<Duration>,

    /// Print the counts of every MS milliseconds
    #[arg(short = 'I', long = "interval", value_name = "MS", value_parser = values::milliseconds)]
    pub interval: Option<Duration>,

    /// Run the command N times
    #[arg(short = 'r', long, value_name = "N", value_parser = values::repeats, default_value = "1", conflicts_with = "pids")]
    pub repeat: u32,

    /// Print JSON to standard output: a line for each interval and run, and one with the spread of several runs
    #[arg(long)]
    pub json: bool,

    /// The command and its arguments
    #[arg(
        required_unless_present_any = ["pids", "whole_host"],
        trailing_var_arg = true,
        value_name = "CMD"
    )]
    pub command: Vec<OsString>,
}

impl StatArgs {
    /// The events asked for, in order; `None` leaves the choice to perfd.
    ///
    /// # Errors
    /// An event that stands there twice.
    pub fn events(&self) -> Result<Option<Vec<EventSpec>>, Fault> {
        args::events(&self.event_lists)
    }
}

/// Runs `perfd stat`.
pub(super) fn run(args: StatArgs) -> anyhow::Result<Exit> {
    let spec = spec(args)?;
    let mut output = Output {
        text: &mut io::stderr().lock(),
        data: &mut io::stdout().lock(),
    };
    let status = stat::run(&spec, &mut output)?;
    Ok(status.map_or(Exit::Ok, |status| Exit::Command(status.exit_code())))
}

fn spec(args: StatArgs) -> anyhow::Result<StatSpec> {
    let events = args.events()?.map_or(Request::Default, Request::Explicit);
    let command = (!args.command.is_empty()).then_some(args.command);
    let over = match command {
        command if args.whole_host => Over::Host(command),
        Some(command) => Over::Command(command),
        None => Over::Processes {
            pids: args.pids,
            with_tree: args.tree,
        },
    };
    if args.repeat > 1 && over == Over::Host(None) {
        return Err(Fault::new(FaultClass::Usage, "-r needs a command to repeat").into());
    }
    Ok(StatSpec {
        over,
        events,
        children: match args.no_inherit {
            true => Children::Left,
            false => Children::Counted,
        },
        interval: args.interval,
        duration: args.duration,
        repeat: args.repeat,
        form: match args.json {
            true => Form::Json,
            false => Form::Text,
        },
        roots: SysRoots::default(),
    })
}
