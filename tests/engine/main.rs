//! An engine on real processes: targets that come and go, overlap, fork, become other programs, and are somebody else's.
//!
//! Nothing sleeps: a process says when it has been busy for so long, and a cut says when all that was sampled until then is told. In every
//! test the account of the engine adds up exactly.

mod authority;
mod bounds;
mod cgroups;
mod held;
mod lost;
mod rebuilt;
mod reused;
mod targets;
mod threads;
mod worker;

#[path = "../support/mod.rs"]
mod support;
