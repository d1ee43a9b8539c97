//! What an engine samples, and how much it may take.

use std::time::Duration;

use crate::model::{CallGraph, Rate};
use crate::parser::Parsing;
use crate::procfs::SysRoots;
use crate::session::{Backend, EventChoice, JitReporting, Labels, Spec, Target};
use crate::sink::Measure;
use crate::symbolize;
use crate::target::Selection;

/// What all targets of an engine have in common.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Which events.
    pub events: EventChoice,
    /// How often, where an event does not say so itself.
    pub rate: Rate,
    /// Whether the functions of Python programs are shown, in the place of the interpreter's.
    pub python: bool,
}

/// How much an engine may hold; what comes beyond is refused, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Targets at a time.
    pub targets: usize,
    /// Living processes of all targets.
    pub processes: usize,
    /// Frames that the distinct stacks of a window may have, 16 bytes each; stacks beyond stand in one bucket.
    pub stack_frames: usize,
    /// Modules, and names of threads, that are known; beyond, everything is opened anew, at the end of a window.
    pub modules: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            targets: 64,
            processes: 1 << 15,
            stack_frames: 1 << 20,
            // Three quarters of those that there are numbers for in the kernel.
            modules: 3 << 14,
        }
    }
}

/// An engine.
#[derive(Clone, Debug)]
pub struct EngineSpec {
    /// What is sampled.
    pub sampling: Sampling,
    /// Who walks the stacks.
    pub backend: Backend,
    /// How frames are named.
    pub naming: symbolize::Config,
    /// Where foreign files are read.
    pub parsing: Parsing,
    /// Length of a window.
    pub interval: Duration,
    /// Pages of each ring; `None` for a size that fits the rate and the host.
    pub ring_pages: Option<usize>,
    /// Bytes that unwind tables may take, of perfd's and the kernel's memory.
    pub table_budget: u64,
    /// How much it may hold.
    pub limits: Limits,
    /// Where `/proc` and its like are.
    pub roots: SysRoots,
}

impl EngineSpec {
    /// The run that it is: of running processes, none of which it knows yet.
    pub(super) fn run(&self) -> Spec {
        Spec {
            target: Target::Running(Selection::Processes {
                pids: Vec::new(),
                with_tree: false,
            }),
            events: self.sampling.events.clone(),
            rate: self.sampling.rate,
            call_graph: CallGraph::Auto,
            backend: self.backend,
            inherit: true,
            python: self.sampling.python,
            naming: self.naming.clone(),
            parsing: self.parsing.clone(),
            delay: Duration::ZERO,
            duration: None,
            max_overhead: None,
            interval: Some(self.interval),
            timestamps: false,
            jit: JitReporting::Off,
            labels: Labels {
                pid: true,
                tid: true,
            },
            ring_pages: self.ring_pages,
            table_budget: self.table_budget,
            sinks: Vec::new(),
            show: None,
            measure: Measure::default(),
            roots: self.roots.clone(),
        }
    }
}
