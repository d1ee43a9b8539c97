//! Bad input, end to end: one clear message, the documented exit code, nothing lost, and nothing on standard output
//! that is no data.

mod bench;
mod commands;
mod events;
mod limits;
mod objects;
mod outputs;
mod permission;
#[path = "../support/mod.rs"]
mod support;
mod targets;
