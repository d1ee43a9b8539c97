//! The flags that `record` and `attach` share: what is sampled, how often, for how long, and where it goes.

use std::fmt::Display;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::cache::CacheArgs;
use super::values::{self, EventList};
use crate::model::{AskedEvent, CallGraph, Fault, FaultClass, Hz, Rate};
use crate::symbolize::{Demangle, Shown, Srcline, Suffixes};

/// Samples a second where neither `-F` nor `-c` says otherwise: a prime, so that it does not beat with timers of the target.
const DEFAULT_FREQUENCY: Hz = Hz(997);

/// What a stack's number in the folded output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WeightUnit {
    /// What the samples stand for: the event's counts, nanoseconds for clocks
    #[default]
    Weight,
    /// Number of samples
    Samples,
}

/// Who walks the stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// The kernel where it can, else perfd
    #[default]
    Auto,
    /// The kernel, by BPF programs
    Bpf,
    /// perfd, on copies of the stacks
    Perf,
}

/// How names are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum DemangleChoice {
    /// With parameters and generic arguments
    #[default]
    Full,
    /// Without them: std::vector::push_back
    Short,
    /// As the linker knows them
    None,
}

/// Flags of every command that samples.
#[derive(Args, Clone, Debug)]
pub struct SamplingArgs {
    /// Events to sample, each with its own stacks and if need be a rate (`page-faults/period=1/`); see `perfd list` [default: cycles,instructions,cache-misses, or cpu-clock where there is no PMU]
    #[arg(short = 'e', long = "event", value_name = "EVENT[,EVENT…]", help_heading = WHAT)]
    event_lists: Vec<EventList<AskedEvent>>,

    /// Samples per second and CPU that each event runs on [default: 997]
    #[arg(short = 'F', long = "freq", value_name = "HZ", value_parser = values::frequency, conflicts_with = "period", help_heading = WHAT)]
    frequency: Option<Hz>,

    /// One sample every COUNT of the event; nanoseconds for clocks
    #[arg(short = 'c', long = "count", value_name = "COUNT", value_parser = values::period, help_heading = WHAT)]
    period: Option<u64>,

    /// How stacks are found: auto, dwarf or dwarf,BYTES (copies of the stack), fp (frame pointers) or none
    #[arg(long, value_name = "METHOD", default_value = "auto", help_heading = WHAT)]
    pub call_graph: CallGraph,

    /// Who walks the stacks: the kernel (bpf), perfd on copies of them (perf), or whichever this host allows (auto)
    #[arg(long, value_name = "WHO", value_enum, default_value_t, help_heading = WHAT)]
    pub backend: BackendChoice,

    /// Show the functions of Python programs (CPython 3.11 to 3.14) in the place of the interpreter's; needs BPF
    #[arg(long, help_heading = WHAT)]
    pub python: bool,

    /// Sample everything that runs on this host
    #[arg(short = 'a', long = "all-cpus", help_heading = WHAT)]
    pub whole_host: bool,

    /// Leave children that are forked and threads that are started during the run
    #[arg(long, help_heading = WHAT)]
    pub no_inherit: bool,

    /// End after this time, counted from the end of --delay
    #[arg(short = 'd', long, value_name = "SECONDS", value_parser = values::seconds, help_heading = WHEN)]
    pub duration: Option<Duration>,

    /// Take no samples in the first MS milliseconds
    #[arg(long, value_name = "MS", value_parser = values::milliseconds, help_heading = WHEN)]
    pub delay: Option<Duration>,

    /// Write what was sampled in each DURATION (100ms, 1s) at its end, instead of all at the end
    #[arg(long, value_name = "DURATION", value_parser = values::with_unit, help_heading = WHEN)]
    pub interval: Option<Duration>,

    /// Where output goes, as often as you like: a file ending in .folded, .functions, .samples, .svg, .json, .jsonl or .pb.gz, - for standard output, unix:PATH, tcp:HOST:PORT
    #[arg(short = 'o', long = "output", value_name = "[FORMAT:]WHERE", help_heading = OUTPUT)]
    pub outputs: Vec<String>,

    /// Write every sample by itself, with its time, as `perf script` does, to the outputs that name no other format
    #[arg(long, help_heading = OUTPUT)]
    pub timestamps: bool,

    /// The event whose stacks go to standard output and other places that hold one event [default: the first]
    #[arg(long, value_name = "EVENT", help_heading = OUTPUT)]
    pub show: Option<AskedEvent>,

    /// What a stack's number is
    #[arg(long, value_name = "UNIT", value_enum, default_value_t, help_heading = OUTPUT)]
    pub unit: WeightUnit,

    /// Keep processes apart: comm-PID at the root
    #[arg(long = "pid", help_heading = OUTPUT)]
    pub pid_label: bool,

    /// Keep threads apart: comm-PID/TID at the root
    #[arg(long = "tid", help_heading = OUTPUT)]
    pub tid_label: bool,

    /// Show functions as the compiler left them, without those it inlined
    #[arg(long, help_heading = OUTPUT)]
    pub no_inline: bool,

    /// The cache of names.
    #[command(flatten)]
    pub cache: CacheArgs,

    /// How names of C++ and Rust are shown
    #[arg(long, value_name = "STYLE", value_enum, default_value_t, help_heading = OUTPUT)]
    pub demangle: DemangleChoice,

    /// Call the compiler's copies and parts of a function (.cold, .part.0, .isra.0, .constprop.0, .llvm.1) as the function itself
    #[arg(long, help_heading = OUTPUT)]
    pub fold_suffixes: bool,

    /// Show functions with file and line, as `main (app.c:12)`, each line of them by itself
    #[arg(long, help_heading = OUTPUT)]
    pub srcline: bool,

    /// Report what compilers that work at run time (V8, HotSpot, LuaJIT, …) have made, and what of the samples they took themselves
    #[arg(long, help_heading = OUTPUT)]
    pub jit: bool,

    /// Ask debuginfod servers for debug files that are not on this host: these, or without a value those in DEBUGINFOD_URLS
    #[arg(long, value_name = "URL[,URL…]", num_args = 0..=1, require_equals = true, default_missing_value = "", help_heading = OUTPUT)]
    pub debuginfod: Option<String>,

    /// Pages of the ring of each CPU, a power of two
    #[arg(short = 'm', long = "mmap-pages", value_name = "PAGES", value_parser = values::pages, help_heading = WHAT)]
    pub ring_pages: Option<usize>,

    /// Halve the rate of all events whenever samples took more than PERCENT of one CPU over a second: perfd's sampling thread and its BPF programs together
    #[arg(long, value_name = "PERCENT", value_parser = values::percent, help_heading = WHAT)]
    pub max_overhead: Option<f64>,

    /// Read foreign files in a child process without rights, as the daemon does
    #[arg(long, hide = true)]
    pub parse_in_child: bool,

    /// End with exit code 1 if samples were lost or stacks broken
    #[arg(long, help_heading = OUTPUT)]
    pub strict: bool,

    /// Say nothing on standard error but errors
    #[arg(short = 'q', long, help_heading = OUTPUT)]
    pub quiet: bool,
}

const WHAT: &str = "What is sampled";
const WHEN: &str = "When";
const OUTPUT: &str = "Output";

impl SamplingArgs {
    /// The events asked for, in order; `None` leaves the choice to perfd.
    ///
    /// # Errors
    /// An event that stands there twice.
    pub fn events(&self) -> Result<Option<Vec<AskedEvent>>, Fault> {
        events(&self.event_lists)
    }

    /// What is shown of names.
    pub fn shown(&self) -> Shown {
        Shown {
            demangle: match self.demangle {
                DemangleChoice::Full => Demangle::Full,
                DemangleChoice::Short => Demangle::Short,
                DemangleChoice::None => Demangle::None,
            },
            suffixes: match self.fold_suffixes {
                true => Suffixes::Fold,
                false => Suffixes::Keep,
            },
            srcline: match self.srcline {
                true => Srcline::Show,
                false => Srcline::Hide,
            },
        }
    }

    /// How often to sample the events that do not say so themselves.
    pub fn rate(&self) -> Rate {
        match self.period {
            Some(period) => Rate::Period(period),
            None => Rate::Frequency(self.frequency.unwrap_or(DEFAULT_FREQUENCY)),
        }
    }
}

/// The events of several `-e`, one after the other.
///
/// # Errors
/// An event that stands there twice: its figures would stand in two places under one name.
pub(super) fn events<E: Clone + PartialEq + Display>(
    lists: &[EventList<E>],
) -> Result<Option<Vec<E>>, Fault> {
    let mut events: Vec<E> = Vec::new();
    for event in lists.iter().flat_map(|list| &list.0) {
        if events.contains(event) {
            let what = format!("event {event} is given more than once");
            return Err(Fault::new(FaultClass::Usage, what).hint("try: leave out all but one"));
        }
        events.push(event.clone());
    }
    Ok((!lists.is_empty()).then_some(events))
}
