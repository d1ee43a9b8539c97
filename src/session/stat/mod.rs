//! `perfd stat`: counts without samples, of a command, of running processes, or of the host.
//!
//! [`run()`] reads as the flow: choose events, measure (as often as asked), say what came out. Takes no samples and
//! knows no stacks.

mod across_runs;
mod json;
mod measure;
mod output;
mod run;
mod spec;
mod text;

pub use output::Output;
pub use run::run;
pub use spec::{Form, Over, StatSpec};
