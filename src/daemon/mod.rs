//! The daemon: one process that many may ask for profiles, and none can misuse.
//!
//! It brings together what others do: targets come from the configuration and from clients (`registry/`), engines sample them
//! (`session::engine`), windows go to clients, files and outputs. One thread waits for all of it (`run.rs`); what can block has threads of its
//! own. See `docs/DAEMON.md` for its use and `docs/PROTOCOL.md` for its clients.

pub mod activation;
pub mod authorize;
mod bare;
mod bounded;
pub mod clients;
pub mod config;
pub mod engines;
pub mod files;
pub mod finder;
pub mod heartbeat;
pub mod kept;
pub mod listening;
pub mod log;
pub mod metrics;
pub mod notify;
mod opening;
pub mod outputs;
mod pending_cut;
mod places;
pub mod registry;
pub mod requests;
mod run;
pub mod selector;
pub mod settings;
pub mod snapshot;
pub mod target;
mod told;

pub use opening::check_rights;
pub use run::run;
