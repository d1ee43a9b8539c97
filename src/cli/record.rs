//! Starts a command and samples the stacks of all its processes and threads until it ends.
//!
//! Sampling begins with the command's first instruction: nothing is lost before it or after its end. Without `-o`
//! the folded stacks of each event go to `perfd.folded` (`perfd.EVENT.folded` if there are several), with `--timestamps` every sample by
//! itself to `perfd.samples`. The command keeps its
//! standard input and output; with `-o -` folded stacks have standard output for themselves, and what the command writes goes
//! to standard error. When `-d` is over, or nobody reads the output any more, perfd sends the command SIGTERM and waits for its
//! end. perfd returns the command's own exit status, 128 + N if signal N ended it, 127 if there is no such
//! command and 126 if it cannot be executed.
//!
//! ```text
//! $ perfd record -o flame.svg -- gzip -9 big.log
//! $ perfd record -e cache-misses:u -c 10000 -- ./server --once
//! $ perfd record -e cycles,instructions,page-faults/period=1/ -o server.functions -- ./server --once
//! $ perfd record -o server.samples -- ./server --once
//! $ perfd record -o - -- make -j8 | inferno-flamegraph > make.svg
//! ```

use std::ffi::OsString;

use clap::Args;

use super::{Exit, SamplingArgs, manual, profile};
use crate::session::Target;

/// Start a command under the profiler
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("record.rs")), override_usage = "perfd record [FLAGS] -- CMD…")]
pub struct RecordArgs {
    /// Everything but the command.
    #[command(flatten)]
    pub sampling: SamplingArgs,

    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Where the profile goes without `-o`: standard output is the command's.
const DEFAULT_OUTPUT: &str = "perfd.folded";
const DEFAULT_OUTPUT_OF_SAMPLES: &str = "perfd.samples";

/// Runs `perfd record`.
pub(super) fn run(args: RecordArgs) -> anyhow::Result<Exit> {
    let target = Target::Command {
        argv: args.command,
        stdout_to_stderr: profile::takes_stdout(&args.sampling),
        whole_host: args.sampling.whole_host,
    };
    let default_output = match args.sampling.timestamps {
        true => DEFAULT_OUTPUT_OF_SAMPLES,
        false => DEFAULT_OUTPUT,
    };
    profile::run(&args.sampling, target, default_output)
}
