//! Ratios of two events: which ones mean something, what they are, and how far they can be trusted.
//!
//! A ratio is made only of events that ran at the same times and in the same modes. Of counts (`counted.rs`) it is exact:
//! a counter misses nothing. Of samples (`sampled.rs`), as for a single function, it has an error bar.

mod counted;
mod kind;
mod sampled;

pub use counted::total;
pub use kind::RatioKind;
pub use sampled::{Refusal, SampledRatio};

/// A count in proportion to another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// Which one.
    pub kind: RatioKind,
    /// Per cycle, per thousand instructions, or a share from 0 to 1.
    pub value: f64,
    /// One standard error, in units of `value`; `None` where counts were read, which have none.
    pub error: Option<f64>,
}
