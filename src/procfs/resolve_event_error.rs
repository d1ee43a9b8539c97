//! Why an event that was understood does not exist on this host.

use std::io;
use std::path::PathBuf;

/// Why an event does not exist on this host.
#[derive(Debug, thiserror::Error)]
pub enum ResolveEventError {
    /// No such folder in sysfs.
    #[error("this host has no PMU {pmu:?}")]
    NoSuchPmu {
        /// As typed.
        pmu: String,
        /// The PMUs there are.
        known: Vec<String>,
    },
    /// Neither a term nor an event of that PMU.
    #[error("PMU {pmu:?} has no term or event {term:?}")]
    NoSuchTerm {
        /// The PMU.
        pmu: String,
        /// As typed.
        term: String,
        /// Its terms and events.
        known: Vec<String>,
    },
    /// More bits than the term has.
    #[error("value {value:#x} of term {term:?} does not fit in its {bits} bits")]
    ValueTooWide {
        /// The term.
        term: String,
        /// As typed.
        value: u64,
        /// How many bits it has.
        bits: u32,
    },
    /// A named event that leaves a term to the user, who has not given it.
    #[error("event {event:?} of PMU {pmu:?} needs a value for {term:?}")]
    ValueMissing {
        /// The PMU.
        pmu: String,
        /// The event.
        event: String,
        /// The term.
        term: String,
    },
    /// A description in sysfs that perfd does not understand.
    #[error("{} says {text:?}, which perfd does not understand", path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// Its text.
        text: String,
    },
    /// Tracefs is there, the tracepoint is not.
    #[error("this kernel has no tracepoint {subsystem}:{name}")]
    NoSuchTracepoint {
        /// Subsystem, as typed.
        subsystem: String,
        /// Name, as typed.
        name: String,
    },
    /// Tracefs is mounted nowhere that perfd looks.
    #[error("the number of tracepoint {tracepoint} cannot be read: tracefs is not mounted")]
    TracefsNotMounted {
        /// The tracepoint.
        tracepoint: String,
        /// Where it would be.
        tried: Vec<PathBuf>,
    },
    /// Tracefs may be there, but this user may not read it.
    #[error("the number of tracepoint {tracepoint} cannot be read: {} may not be read by this user", path.display())]
    TracefsDenied {
        /// The tracepoint.
        tracepoint: String,
        /// What could not be read.
        path: PathBuf,
    },
    /// A file that is there but cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}
