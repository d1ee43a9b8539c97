//! Prints the daemon's default configuration, with what each key is for; or reads a configuration and says what is wrong in it.
//!
//! The text is the configuration file of a host where nothing is configured: `/etc/perfd/perfd.toml` needs only what differs from it.
//!
//! ```text
//! $ perfd config > perfd.toml
//! $ perfd config --check /etc/perfd/perfd.toml && systemctl reload perfd
//! ```

use std::path::PathBuf;

use clap::Args;

use super::{Exit, manual, stdout};
use crate::daemon::config::{self, Config};

/// Print the daemon's default configuration, or check one
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("config.rs")))]
pub(super) struct ConfigArgs {
    /// Read this file, print nothing, and end with exit code 78 if it is not right
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Runs `perfd config`.
pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<Exit> {
    match &args.check {
        Some(path) => Config::read(path).map(|_| Exit::Ok).map_err(Into::into),
        None => stdout::print(config::print_default().as_bytes()),
    }
}
