//! Counting without sampling: how often events happened in processes, with what they fork, or on the whole host.
//!
//! [`Plan`] says which events this machine can count and how, [`Counters`] holds them open on targets, [`attach()`] opens
//! them on a process that is running. Sampling events have counts too; they are not these.

mod attach;
mod difference;
mod plan;
mod set;

pub use attach::{AttachError, Attached, attach};
pub use difference::minus;
pub use plan::{Plan, PlanError, Request, Scope};
pub use set::{Children, Counters};
