//! A run that targets join and leave: one for all targets that are sampled in the same way.
//!
//! Events are on whole CPUs, once, however many targets there are. A process is in a set of targets (`Membership`), and each of its samples
//! counts for all of them; windows are split by target when they are closed. What is asked of an engine comes through a channel, and what it
//! has to say goes out through another.

mod attaching;
mod closing;
mod counted_for;
mod doubt;
mod ending;
mod event;
mod handle;
mod held_target;
mod looping;
mod membership;
mod permitted;
mod renewing;
mod spec;
mod stats;
mod target;
mod voice;

pub(super) use counted_for::{Sampled, When};
pub use event::{EngineEvent, TargetWindow};
pub use handle::Engine;
pub(super) use membership::Membership;
pub use permitted::{is_permitted, try_sampling};
pub use spec::{EngineSpec, Limits, Sampling};
pub use stats::EngineStats;
pub use target::{Authority, Member, TargetEnd};
