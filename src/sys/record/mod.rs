//! The records of a perf ring: words in, values out.
//!
//! Speaks the layouts of `perf_event_open(2)` for exactly the `sample_type` that [`super::open_sampling`] and
//! [`super::open_side_band`] set. Every record can be cut short or lie: that gives `None`, never a panic.

mod header;
mod sample;
mod side_band;

pub(super) use header::size_of;
pub use header::{sample_id, time_of};
pub use sample::{Sample, sample};
pub use side_band::{SideBand, side_band};
