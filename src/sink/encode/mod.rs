//! Encoders: a profile in, bytes out. One file for each format, all of the same shape:
//! `encode(&Profile, …, &mut impl Write)`; `samples` takes samples one by one instead.
//!
//! An encoder opens nothing and keeps nothing between calls. Text that came from the profiled programs (names of
//! threads, functions, files) passes through [`escape`] and through nothing else.

pub mod escape;
pub mod figures;
pub mod folded;
pub mod functions;
pub mod json;
pub mod samples;
mod stacks;
pub mod svg;
mod texts;

pub use stacks::{Measure, Stacks, View};
