//! Cgroups as targets: what is counted and sampled in them, with real programs in cgroups that each test makes for itself.
//!
//! Also that a process which gets the number of one that has ended is taken for another, on both backends.

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod counting;
mod domains;
mod numbers;
mod ring;
mod tree;
