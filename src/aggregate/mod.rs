//! Samples to weights: distinct stacks, what each weighs in each event, and windows of time.
//!
//! [`Counting`] runs on the way of every sample and knows places in modules only; [`Folding`] runs once per window
//! and turns them into named rows. [`merge()`] puts windows together again, as far as [`profile_bytes`] leaves room. [`Timeline`] keeps samples one by one where that is asked for. Names come from outside.

mod counting;
mod folding;
mod merge;
mod size;
mod stacks;
mod timeline;

pub use counting::{Counting, RowKey, TaskKey, WindowCounts};
pub use folding::Folding;
pub use merge::{merge, merge_into, sorted};
pub use size::{profile_bytes, row_bytes};
pub use stacks::{StackId, Stacks};
pub use timeline::{TimedSample, Timeline};
