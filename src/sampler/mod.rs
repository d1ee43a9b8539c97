//! How samples are taken, and how events are counted.

pub mod counters;
