//! One profiling run: checked options in, named windows out.
//!
//! [`Spec`] is what was asked for; [`run()`] does it. The stages meet in `pipeline.rs`; the threads are listed in
//! `docs/ARCHITECTURE.md`.

mod account;
mod attach;
mod backlog;
mod count_process;
pub mod engine;
mod era;
mod events;
mod foundation;
mod groups;
mod held;
mod jit_reader;
pub mod kernel_walk;
mod known_table;
mod made_at_run_time;
mod members;
mod meter;
mod names;
mod naming;
mod naming_threads;
mod opening;
mod outcome;
mod outputs;
mod overhead;
mod pipeline;
pub mod progress;
mod pump;
mod python;
mod python_reader;
mod refused;
pub mod report;
mod run;
mod running;
mod spec;
mod stages;
pub mod stat;
pub mod symbolize;
mod table_cache;
mod table_workers;
pub mod tables;
mod told;
mod window;
mod window_of_target;

pub use outcome::{Observer, Outcome};
pub use outputs::OutputReport;
pub use run::run;
pub use spec::{Backend, EventChoice, JitReporting, Labels, Spec, Target};
