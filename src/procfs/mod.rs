//! Text of `/proc` and `/sys`: what the kernel says of itself and of processes.
//!
//! Every reader takes the root of its tree (all of them together: [`SysRoots`]), so that tests can plant their own.

pub mod cgroups;
pub mod cpu_pmu;
pub mod cpus;
pub mod credentials;
pub mod event_source;
pub mod file_tree;
pub mod jit_file;
pub mod kallsyms;
mod loaded_file;
pub mod maps;
pub mod memory;
pub mod module_file;
mod pmu_format;
mod resolve_event_error;
mod roots;
pub mod sysctl;
pub mod tasks;
mod tracefs;

pub use roots::SysRoots;
