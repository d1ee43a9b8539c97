//! Sampling and output end to end: the built perfd on real programs, one file for each side of it.
//!
//! Nothing sleeps and nothing is judged by the clock: a test knows that perfd samples from the first line that it writes,
//! and ends a target by closing its standard input.

mod copy_size;
mod cost;
mod ending;
mod events;
mod following;
mod functions;
mod host;
mod ledger;
mod odd_targets;
mod sinks;
mod stacks;
mod tables;
mod targets;
mod windows;

#[path = "../folded/mod.rs"]
mod folded;
#[path = "../support/mod.rs"]
mod support;
