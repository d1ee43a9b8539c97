//! perfd: a sampling profiler for Linux benchmark hosts.
//!
//! The way of a sample, which is also the order of reading:
//!
//! ```text
//! target ─▶ sampler ─▶ RawSample ─▶ unwind ─▶ frames ─▶ aggregate ─▶ symbolize ─▶ Profile ─▶ sink
//! pids,     perf       regs +       rows      module +  stack ×      once per    windows    encode ×
//! forks     rings      stack copy   from CFI  offset    event        new frame   of time    carry
//! ```
//!
//! The stages meet in `session::pipeline` and nowhere else. The order of the modules below is the
//! architecture: a module imports only from floors above its own (`tests/tidy.rs` holds it). More in
//! `docs/ARCHITECTURE.md`.

// Floor 1: words
pub mod model;
pub mod stats;

// Floor 1, continued: what only one processor knows
pub mod arch;

// Floor 2: edges; first the bytes of a file, then where they come from; the only unsafe code is in sys
pub mod object;

// Floor 2, continued: procfs opens what object reads
pub mod procfs;
#[expect(
    unsafe_code,
    reason = "system calls and the memory that the kernel shares with perfd"
)]
pub mod sys;

// Floor 2, continued: debug_files looks in the trees that procfs opens, for files that object reads
pub mod debug_files;

// Floor 2, continued: bpf attaches its programs to events that sys opens
#[expect(
    unsafe_code,
    reason = "structs that are read as bytes, and a system call that aya does not have"
)]
pub mod bpf;

// Floor 3: stages; first the sums, by which outputs too put windows together
pub mod aggregate;

// Floor 3, continued
pub mod python;
pub mod sampler;
pub mod sink;
pub mod symbolize;
pub mod target;
pub mod unwind;

// Floor 3, continued: parser is those of the stages that read foreign files, in a child process
pub mod parser;

// Floor 4: one run
pub mod session;

// Floor 5: what is kept of runs
pub mod store;

// Floor 6: words of the daemon
pub mod control;

// Floor 7: the daemon
pub mod daemon;

// Floor 8: the user
pub mod cli;
