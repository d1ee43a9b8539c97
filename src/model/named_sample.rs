//! Samples one by one, as `--timestamps` asks for them: named, but not summed up.

use std::sync::Arc;

use super::{Cpu, Ended, EventIdx, FileOffset, FrameName, Module, MonoNs, Pid, Tid};

/// A frame with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFrame {
    /// Outermost function first, those inlined into it behind; never empty.
    pub names: Arc<[FrameName]>,
    /// Where its code is.
    pub module: Arc<Module>,
    /// The address as it was on the stack; in the kernel, and in memory without a file, an address of the process.
    pub offset: FileOffset,
}

/// A sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSample {
    /// When.
    pub time: MonoNs,
    /// CPU that took it.
    pub cpu: Cpu,
    /// Process.
    pub pid: Pid,
    /// Thread.
    pub tid: Tid,
    /// The thread's name when the sample was taken; raw text, which encoders escape.
    pub comm: Arc<str>,
    /// Which of the run's events.
    pub event: EventIdx,
    /// Counts of the event that it stands for; nanoseconds for clocks.
    pub period: u64,
    /// Whether its stack is whole.
    pub ended: Ended,
    /// Leaf first; `None` if the table of distinct stacks had no room for it.
    pub stack: Option<Arc<[NamedFrame]>>,
}
