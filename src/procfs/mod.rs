//! Text of `/proc` and `/sys`: what the kernel says of itself and of processes.
//!
//! Every reader takes the roots of these trees ([`SysRoots`]), so that tests can plant their own.

pub mod cpus;
pub mod event_source;
mod pmu_format;
mod resolve_event_error;
mod roots;
pub mod sysctl;
mod tracefs;

pub use roots::SysRoots;
