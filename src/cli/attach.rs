//! Samples the stacks of processes that already run. They are never stopped.
//!
//! A process is followed with what it forks from now on; `--tree` takes its living descendants too. The run ends after `-d`, with
//! Ctrl-C, or when the last target ends. Without `-o` the folded stacks of the first event (or of `--show`) go to standard output,
//! everything said to a person to standard error. With `--interval` each window is written when it closes; windows
//! are deltas, so that their folded text one after the other is again valid. With `--timestamps` it is every sample by itself, in order of
//! time, as `perf script` writes them.
//!
//! With `--daemon` it is the daemon of this host that samples, so that no permission is needed but the kernel's to look into one's own process. What is
//! written is the same; the daemon closes a window every so often, and `--interval` puts some together.
//!
//! ```text
//! $ perfd attach 4242 -d 5 | inferno-flamegraph > flame.svg
//! $ perfd attach --interval 1s 4242 | head
//! $ perfd attach --timestamps 4242 -d 60 > 4242.samples
//! $ perfd attach --tree -o flame.svg -o run.json $(pgrep -o nginx)
//! $ perfd attach -a -d 10 -o host.svg
//! $ perfd attach --daemon 4242 -d 30 -o flame.svg
//! ```

use std::path::PathBuf;

use clap::Args;

use super::{Exit, SamplingArgs, daemon_run, manual, profile, values};
use crate::control::DEFAULT_SOCKET;
use crate::model::{Pid, Tid};
use crate::session::Target;
use crate::target::Selection;

/// Profile running processes
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("attach.rs")), override_usage = "perfd attach [FLAGS] PID… | -t TID… | -a")]
pub struct AttachArgs {
    /// Everything but the targets.
    #[command(flatten)]
    pub sampling: SamplingArgs,

    /// Sample these threads alone
    #[arg(short = 't', long = "thread", value_name = "TID[,TID…]", value_parser = values::tid, value_delimiter = ',', conflicts_with = "pids")]
    pub threads: Vec<Tid>,

    /// Take the processes' living descendants too
    #[arg(long)]
    pub tree: bool,

    /// Let the daemon sample: the one of this host, or whose control socket is at PATH
    #[arg(long, value_name = "PATH", num_args = 0..=1, require_equals = true, default_missing_value = DEFAULT_SOCKET, conflicts_with_all = ["threads", "whole_host"])]
    pub daemon: Option<PathBuf>,

    /// Processes to sample
    #[arg(value_name = "PID", value_parser = values::pid, value_delimiter = ',', required_unless_present_any = ["threads", "whole_host"], conflicts_with = "whole_host")]
    pub pids: Vec<Pid>,
}

/// Runs `perfd attach`.
pub(super) fn run(args: AttachArgs) -> anyhow::Result<Exit> {
    if let Some(socket) = &args.daemon {
        return daemon_run::run(&args.sampling, &args.pids, args.tree, socket);
    }
    let selection = match (args.sampling.whole_host, args.threads.is_empty()) {
        (true, _) => Selection::Host,
        (false, true) => Selection::Processes {
            pids: args.pids,
            with_tree: args.tree,
        },
        (false, false) => Selection::Threads(args.threads),
    };
    profile::run(&args.sampling, Target::Running(selection), "-")
}
