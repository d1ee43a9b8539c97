//! One run: checked options, the pipeline, its threads, and what is said to the user about it.

pub mod progress;
pub mod report;
