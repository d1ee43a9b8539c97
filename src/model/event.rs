//! Events: what can be counted and sampled.
//!
//! A spec is what was asked for, parsed (`event_text.rs`; the one table of names is `event_names.rs`);
//! which `perf_event_attr` it becomes on this host is for `procfs::event_source` to say.

use std::fmt;

use super::NamedEvent;

/// Position of an event in a run's list of sampled events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventIdx(pub usize);

/// A generalized hardware event (`PERF_TYPE_HARDWARE`), numbered as the kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum HardwareEvent {
    Cycles = 0,
    Instructions = 1,
    CacheReferences = 2,
    CacheMisses = 3,
    BranchInstructions = 4,
    BranchMisses = 5,
    BusCycles = 6,
    StalledCyclesFrontend = 7,
    StalledCyclesBackend = 8,
    RefCycles = 9,
}

/// A software event (`PERF_TYPE_SOFTWARE`), numbered as the kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SoftwareEvent {
    CpuClock = 0,
    TaskClock = 1,
    PageFaults = 2,
    ContextSwitches = 3,
    CpuMigrations = 4,
    MinorFaults = 5,
    MajorFaults = 6,
    AlignmentFaults = 7,
    EmulationFaults = 8,
    Dummy = 9,
    BpfOutput = 10,
    CgroupSwitches = 11,
}

/// A cache (`PERF_TYPE_HW_CACHE`), numbered as the kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CacheEvent {
    L1Data = 0,
    L1Instruction = 1,
    LastLevel = 2,
    DataTlb = 3,
    InstructionTlb = 4,
    BranchUnit = 5,
    Node = 6,
}

/// What was done to a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CacheOp {
    Load = 0,
    Store = 1,
    Prefetch = 2,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CacheResult {
    Access = 0,
    Miss = 1,
}

/// What a breakpoint stops at (`HW_BREAKPOINT_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Access {
    Read = 1,
    Write = 2,
    ReadWrite = 3,
    Execute = 4,
}

impl Access {
    /// Watched bytes where none are given: what `perf` takes. The kernel wants 8 for code.
    pub fn usual_length(self) -> u64 {
        match self {
            Access::Execute => 8,
            Access::Read | Access::Write | Access::ReadWrite => 4,
        }
    }
}

/// Where an event comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EventSource {
    /// `cycles`, `instructions`, …
    Hardware(HardwareEvent),
    /// `cpu-clock`, `page-faults`, …
    Software(SoftwareEvent),
    /// `L1-dcache-load-misses`, …
    Cache(CacheEvent, CacheOp, CacheResult),
    /// `r01c2`: a number for the CPU's own PMU.
    Raw(u64),
    /// `cpu/event=0xc2,umask=1/`: terms that sysfs describes; a term without a value is 1 or a named event.
    Pmu {
        /// Name under `/sys/bus/event_source/devices`.
        pmu: String,
        /// Terms, as typed.
        terms: Vec<(String, Option<u64>)>,
    },
    /// `sched:sched_switch`.
    Tracepoint {
        /// Folder under `events` of tracefs.
        subsystem: String,
        /// Tracepoint.
        name: String,
    },
    /// `mem:0xADDR[/LEN][:rwx]`.
    Breakpoint {
        /// Address in the target.
        address: u64,
        /// What stops.
        access: Access,
        /// Watched bytes: 1, 2, 4 or 8.
        length: u64,
    },
}

/// Processor modes in which an event counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Modes {
    /// Counts in user mode.
    pub user: bool,
    /// Counts in kernel mode.
    pub kernel: bool,
}

impl Modes {
    /// User and kernel: what an event without a modifier means.
    pub const ALL: Modes = Modes {
        user: true,
        kernel: true,
    };
    /// `:u`.
    pub const USER: Modes = Modes {
        user: true,
        kernel: false,
    };
    /// `:k`.
    pub const KERNEL: Modes = Modes {
        user: false,
        kernel: true,
    };
}

/// An event as asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EventSpec {
    /// Where it comes from.
    pub source: EventSource,
    /// Modifier.
    pub modes: Modes,
}

/// What an event's count is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nanoseconds.
    Nanoseconds,
    /// Occurrences.
    Occurrences,
}

/// An event in the kernel's own numbers: the fields of `perf_event_attr` that say what is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ResolvedEvent {
    /// `type`: `PERF_TYPE_*`, or the number of a PMU in sysfs.
    pub type_: u32,
    /// `config`.
    pub config: u64,
    /// `config1`; for a breakpoint the same place is `bp_addr`.
    pub config1: u64,
    /// `config2`; for a breakpoint the same place is `bp_len`.
    pub config2: u64,
    /// `bp_type`: `HW_BREAKPOINT_*`, 0 unless the event is a breakpoint.
    pub bp_type: u32,
    /// `exclude_guest`: what a guest does, while the process that runs a virtual machine is on the CPU, is left out. An address
    /// in the guest says nothing of the process. Set for events of the CPU's own PMUs; many others refuse it.
    pub host_only: bool,
}

impl EventSpec {
    /// An event in both modes.
    pub fn new(source: EventSource) -> EventSpec {
        EventSpec {
            source,
            modes: Modes::ALL,
        }
    }

    /// What its count is a number of: clocks count nanoseconds, everything else occurrences.
    pub fn unit(&self) -> Unit {
        match self.source {
            EventSource::Software(SoftwareEvent::CpuClock | SoftwareEvent::TaskClock) => {
                Unit::Nanoseconds
            }
            _ => Unit::Occurrences,
        }
    }
}

impl fmt::Display for EventSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)?;
        let letters = match (self.modes.user, self.modes.kernel) {
            (true, false) => "u",
            (false, true) => "k",
            _ => return Ok(()),
        };
        let separator = match self.source {
            EventSource::Pmu { .. } => "",
            _ => ":",
        };
        write!(f, "{separator}{letters}")
    }
}

impl fmt::Display for EventSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventSource::Hardware(_) | EventSource::Software(_) | EventSource::Cache(..) => {
                match NamedEvent::of(self) {
                    Some(named) => f.write_str(named.name),
                    // A cache operation that no cache of that kind has: never parsed, so only code can make it.
                    None => write!(f, "{self:?}"),
                }
            }
            EventSource::Raw(config) => write!(f, "r{config:x}"),
            EventSource::Pmu { pmu, terms } => {
                write!(f, "{pmu}/")?;
                for (idx, (name, value)) in terms.iter().enumerate() {
                    let comma = if idx == 0 { "" } else { "," };
                    write!(f, "{comma}{name}")?;
                    if let Some(value) = value {
                        write!(f, "={value:#x}")?;
                    }
                }
                f.write_str("/")
            }
            EventSource::Tracepoint { subsystem, name } => write!(f, "{subsystem}:{name}"),
            EventSource::Breakpoint {
                address,
                access,
                length,
            } => {
                let letters = match access {
                    Access::Read => "r",
                    Access::Write => "w",
                    Access::ReadWrite => "rw",
                    Access::Execute => "x",
                };
                write!(f, "mem:{address:#x}")?;
                if *length != access.usual_length() {
                    write!(f, "/{length}")?;
                }
                write!(f, ":{letters}")
            }
        }
    }
}
