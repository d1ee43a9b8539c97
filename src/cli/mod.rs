//! The command line: one file per command, each the manual of its command; the flag table is the structs' `clap` attributes.
//!
//! Help, man pages, completions and README's command section come from that table or are tested against it. Nothing
//! below this floor reads arguments or the environment, and nothing but this floor ends the process.

mod app;
mod args;
mod attach;
mod cache;
mod cache_folder;
mod completions;
mod config;
mod ctl;
mod daemon;
mod daemon_client;
mod daemon_run;
mod debuginfod;
mod doctor;
mod exit;
mod export;
mod hints;
mod list;
mod man;
mod manual;
mod moment;
mod parse;
mod profile;
mod record;
mod stat;
mod stdout;
mod symbolize;
mod values;

pub use app::{command, run};
pub use args::{SamplingArgs, WeightUnit};
pub use attach::AttachArgs;
pub use exit::{EXIT_CODES, Exit};
pub use record::RecordArgs;
pub use stat::StatArgs;
