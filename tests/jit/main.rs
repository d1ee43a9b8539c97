//! Code made at run time: named by what its runtime wrote down, at the time at which it was so, and by nothing else.
//!
//! The programs that write perf maps and jitdumps of their own are for x86-64, as their code is.
#![cfg(target_arch = "x86_64")]

mod compiler;
mod planted;
mod program;
mod replaced;
mod runtimes;

#[path = "../folded/mod.rs"]
mod folded;
#[path = "../support/mod.rs"]
mod support;
