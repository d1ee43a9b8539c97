//! What a run, or one window of it, found out: named stacks with weights, counts, the ledger.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::{Ended, EventSpec, FrameName, Ledger, Modes, MonoNs, Pid, Rate, Tid};

/// Below this share of the time a count is an estimate worth a remark: three nines and rounding.
pub(super) const ALL_THE_TIME: f64 = 0.9995;

/// Whose stack it is. Which parts are filled in decides what is merged: without `--pid` and `--tid` the comm alone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskLabel {
    /// The thread's name when the sample was taken; raw text, which encoders escape.
    pub comm: Arc<str>,
    /// Process, with `--pid`.
    pub pid: Option<Pid>,
    /// Thread, with `--tid`.
    pub tid: Option<Tid>,
}

/// What one stack weighs in one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Σ period of the samples: counts of the event, nanoseconds for clocks.
    pub total: u64,
    /// Number of samples.
    pub samples: u64,
    /// Σ period²: how unevenly the samples weigh, for the error of `total`.
    pub squares: u128,
}

impl Weight {
    /// One sample.
    pub fn of(period: u64) -> Weight {
        Weight {
            total: period,
            samples: 1,
            squares: u128::from(period).pow(2),
        }
    }

    /// Adds one sample.
    pub fn add(&mut self, period: u64) {
        self.merge(&Weight::of(period));
    }

    /// Adds other samples.
    pub fn merge(&mut self, other: &Weight) {
        self.total = self.total.saturating_add(other.total);
        self.samples = self.samples.saturating_add(other.samples);
        self.squares = self.squares.saturating_add(other.squares);
    }
}

/// One distinct named stack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose.
    pub task: TaskLabel,
    /// Whether it is whole.
    pub ended: Ended,
    /// Root first; kernel frames last.
    pub frames: Vec<FrameName>,
    /// One for each sampled event, in the profile's order.
    pub weights: Vec<Weight>,
}

/// A sampled event of a profile.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledEvent {
    /// The event.
    pub spec: EventSpec,
    /// How it was sampled.
    pub rate: Rate,
    /// In which modes: those of `spec`, or user mode alone where the kernel's was not permitted.
    pub modes: Modes,
}

/// One count of one event over a process and what it forked.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    /// The event.
    pub event: EventSpec,
    /// As read from the kernel, not scaled.
    pub value: u64,
    /// How long the event was enabled, summed over threads.
    pub enabled: Duration,
    /// How long it was counting: less than `enabled` when the PMU's counters were shared in turns, zero if never counted.
    pub running: Duration,
    /// Events of one group ran at the same times, so that their ratio means something.
    pub group: usize,
}

impl Count {
    /// The count over the whole enabled time: value × enabled ∕ running; `None` if it never ran (not counted is not 0).
    pub fn scaled(&self) -> Option<u64> {
        if self.running.is_zero() {
            return (self.enabled.is_zero() && self.value == 0).then_some(0);
        }
        if self.running >= self.enabled {
            return Some(self.value);
        }
        let scaled = u128::from(self.value) * self.enabled.as_nanos() / self.running.as_nanos();
        Some(u64::try_from(scaled).unwrap_or(u64::MAX))
    }

    /// Share of the enabled time in which the event was counting, 0.0 to 1.0.
    pub fn running_share(&self) -> f64 {
        if self.enabled.is_zero() {
            return 1.0;
        }
        self.running.as_secs_f64() / self.enabled.as_secs_f64()
    }

    /// Whether the count is as good as read, and not scaled up from a part of the time.
    pub fn ran_all_the_time(&self) -> bool {
        self.running_share() >= ALL_THE_TIME
    }
}

/// The counts of one target.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessCounts {
    /// The target process; `None` for the whole host.
    pub pid: Option<Pid>,
    /// Its name.
    pub comm: Arc<str>,
    /// In the run's order of events.
    pub counts: Vec<Count>,
}

/// The time a profile covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSpan {
    /// 0, 1, 2 … in a run.
    pub sequence: u64,
    /// First moment.
    pub start: MonoNs,
    /// Moment behind the last.
    pub end: MonoNs,
    /// Nanoseconds since the Unix epoch at `start`, for labels only.
    pub start_unix_ns: u64,
    /// Whether this is the run's last window (or its only one).
    pub is_last: bool,
}

/// What is the same in every window of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunInfo {
    /// perfd's version.
    pub perfd_version: Cow<'static, str>,
    /// The host's name.
    pub hostname: String,
    /// Kernel release.
    pub kernel: String,
    /// What was profiled, in words: `pid 42`, `gzip -9 x`.
    pub target: String,
    /// Sampled events.
    pub events: Vec<SampledEvent>,
    /// What perfd said at the start: fallbacks, shrunk rings, each with its reason.
    pub notes: Vec<String>,
}

/// What sinks encode.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The run.
    pub run: Arc<RunInfo>,
    /// The time covered.
    pub span: WindowSpan,
    /// Distinct named stacks; sorted by task and frames.
    pub rows: Vec<Row>,
    /// Counts of each target in this window.
    pub processes: Vec<ProcessCounts>,
    /// The account of this window.
    pub ledger: Ledger,
    /// On the last window: the same over the whole run.
    pub whole_run: Option<Box<(Vec<ProcessCounts>, Ledger)>>,
}
