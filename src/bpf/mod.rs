//! Stacks walked in the kernel: the Rust side of the programs in `bpf/`, which are loaded, fed and drained here.
//!
//! ```text
//! tables, mappings ─▶ KernelWalk ─▶ maps ─▶ program on a sample: walks, counts ─▶ maps ─▶ drain ─▶ WalkedSamples
//!                                                     └─ what it does not know: the event's ring, with registers and stack
//! ```
//!
//! Decides nothing about what to sample. Which modules are loaded, and what becomes of the counts, is the session's business.

mod batch;
mod blocks;
mod domains;
mod drain;
mod kernel_walk;
mod meter;
mod python;
mod room;
mod spaces;
mod splice;
mod tables;
mod wire;

pub use blocks::TableWords;
pub use domains::DomainError;
pub use drain::WalkedSamples;
pub use kernel_walk::{CountEach, KernelWalk, LoadError};
pub use python::{Python, PythonLayout, PythonNames, PythonProcess};
pub use room::Room;
pub use tables::{LoadedTable, TableLoader};
pub use wire::{MAX_EVENTS, MAX_MODULES};
