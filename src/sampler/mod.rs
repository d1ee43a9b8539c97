//! How samples are taken: events on threads, one ring per CPU, records in time order.
//!
//! Does not know what a stack is or whom to follow: the session says which threads to open, and gets back samples
//! and side-band records, each once.

mod copy_size;
pub mod counters;
mod owners;
mod plan;
mod rings;
mod sampling;
mod whole_cpus;

pub use copy_size::{CopySize, LARGEST_COPY};
pub use plan::{PlannedEvent, Reach, SamplePlan, StackSource};
pub use rings::RingsError;
pub use sampling::{Item, Retiring, Sampling, Totals};
pub use whole_cpus::try_whole_cpu;
