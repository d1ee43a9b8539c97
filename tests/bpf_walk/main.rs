//! The walk in the kernel (`bpf/unwind.h`), compiled in user space, against the Rust walk: the same frames and the same ends.
//!
//! Over recorded samples of real programs (`recorded.rs`), over samples that are taken on the spot (`live.rs`), and over random
//! registers, stacks and rules (`random.rs`).

// The walk in the kernel is for this processor alone.
#![cfg(target_arch = "x86_64")]

mod blocks;
mod kinds;
mod live;
mod numbers;
mod pack;
mod programs;
mod random;
mod recorded;
mod recorder;
mod reduce;
mod scene;
#[path = "../support/mod.rs"]
mod support;
mod walker;
