//! What a run is to do: options that have been checked.

use std::ffi::OsString;
use std::time::Duration;

use crate::model::{AskedEvent, CallGraph, Rate};
use crate::parser::Parsing;
use crate::procfs::SysRoots;
use crate::sink::{Measure, SinkSpec};
use crate::symbolize;
use crate::target::Selection;

/// What to profile.
#[derive(Clone, Debug)]
pub enum Target {
    /// What runs already.
    Running(Selection),
    /// A command, from its exec to its exit.
    Command {
        /// Program and arguments.
        argv: Vec<OsString>,
        /// Whether its standard output goes to standard error, because the profile goes to standard output.
        stdout_to_stderr: bool,
        /// Whether the whole host is sampled as long as it runs.
        whole_host: bool,
    },
}

/// Which events.
#[derive(Clone, Debug, PartialEq)]
pub enum EventChoice {
    /// Cycles, instructions and cache misses where the machine has a PMU, else the CPU clock.
    Default,
    /// These and no others.
    Asked(Vec<AskedEvent>),
}

/// What the label of a stack tells apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Processes.
    pub pid: bool,
    /// Threads.
    pub tid: bool,
}

/// Who walks the stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// The kernel where it can, else perfd.
    #[default]
    Auto,
    /// The kernel, by BPF programs.
    Bpf,
    /// perfd, from copies out of the kernel's rings.
    Perf,
}

/// What is said of compilers that work at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum JitReporting {
    /// Nothing: their code has its names, that is all.
    #[default]
    Off,
    /// What they have made, and what they took.
    On,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Whom.
    pub target: Target,
    /// What.
    pub events: EventChoice,
    /// How often, where an event does not say so itself.
    pub rate: Rate,
    /// User stacks.
    pub call_graph: CallGraph,
    /// Who walks them.
    pub backend: Backend,
    /// Whether what the target forks is included.
    pub inherit: bool,
    /// Whether the functions of Python programs are shown, in the place of the interpreter's.
    pub python: bool,
    /// How frames are named.
    pub naming: symbolize::Config,
    /// Where foreign files are read.
    pub parsing: Parsing,
    /// Wait so long before the first sample.
    pub delay: Duration,
    /// End after so long; `None` for when the target ends.
    pub duration: Option<Duration>,
    /// What the samples may take of one CPU (0.01 is one percent); `None`: whatever they do.
    pub max_overhead: Option<f64>,
    /// Length of a window; `None` for one window over the whole run.
    pub interval: Option<Duration>,
    /// Whether every sample is written by itself too; some output holds them then.
    pub timestamps: bool,
    /// Whether compilers that work at run time are reported.
    pub jit: JitReporting,
    /// Labels.
    pub labels: Labels,
    /// Pages of each ring; `None` for a size that fits the host.
    pub ring_pages: Option<usize>,
    /// Bytes that unwind tables may take, of perfd's and the kernel's memory: [`TABLE_BUDGET`](super::tables::TABLE_BUDGET).
    pub table_budget: u64,
    /// Where the profile goes.
    pub sinks: Vec<SinkSpec>,
    /// The one event to show, by position; `None`: files for each event, and the first everywhere else.
    pub show: Option<usize>,
    /// What the numbers of folded lines are.
    pub measure: Measure,
    /// Where `/proc` and its like are.
    pub roots: SysRoots,
}
