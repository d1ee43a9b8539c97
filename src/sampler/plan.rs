//! What to sample, decided and resolved before anything is opened.

use crate::model::{EventSpec, Modes, Rate, ResolvedEvent, Unit};
use crate::sys::{Callchain, SampleContent};

/// One event to sample.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedEvent {
    /// As asked for.
    pub spec: EventSpec,
    /// As the kernel knows it.
    pub resolved: ResolvedEvent,
    /// How often.
    pub rate: Rate,
    /// Modes that are asked for and permitted.
    pub modes: Modes,
}

/// Where user stacks come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackSource {
    /// A copy of so many bytes of the stack, unwound by perfd.
    Copy(u32),
    /// The kernel's frame pointer walk.
    FramePointer,
    /// The sampled address alone.
    None,
}

/// What events are opened on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On each thread, on each CPU; threads may inherit them.
    Threads,
    /// On each CPU, for everything that runs there.
    Cpus,
}

/// All that is needed to open the events of a run on a thread.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplePlan {
    /// The events, in the run's order.
    pub events: Vec<PlannedEvent>,
    /// User stacks.
    pub stack_source: StackSource,
    /// Threads or whole CPUs.
    pub reach: Reach,
    /// Whether threads and children that a thread creates are included.
    pub inherit: bool,
}

impl PlannedEvent {
    /// The fixed number of counts from one sample to the next; `None` where the kernel adjusts it.
    ///
    /// Clocks have one even with a frequency: the kernel turns it into 10⁹ ∕ Hz ns when the event is opened
    /// (`perf_swevent_init_hrtimer` in kernel/events/core.c).
    pub fn fixed_period(&self) -> Option<u64> {
        match (self.rate, self.spec.unit()) {
            (Rate::Period(period), _) => Some(period),
            (Rate::Frequency(hz), Unit::Nanoseconds) => Some(1_000_000_000 / hz.0.max(1)),
            (Rate::Frequency(_), Unit::Occurrences) => None,
        }
    }

    /// What a sample of this event carries. A kernel chain is asked for only if kernel mode is sampled.
    pub fn content(&self, stack_source: StackSource) -> SampleContent {
        let kernel = self.modes.kernel;
        let (callchain, stack_bytes) = match stack_source {
            StackSource::None => (Callchain::None, 0),
            StackSource::Copy(bytes) => (
                if kernel {
                    Callchain::Kernel
                } else {
                    Callchain::None
                },
                bytes,
            ),
            StackSource::FramePointer => (
                if kernel {
                    Callchain::Both
                } else {
                    Callchain::User
                },
                0,
            ),
        };
        let registers = stack_bytes > 0;
        SampleContent {
            period: self.fixed_period().is_none(),
            callchain,
            registers,
            stack_bytes,
            cgroup: false,
        }
    }
}
