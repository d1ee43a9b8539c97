//! Prints the daemon's default configuration, with what each key is for; or reads a configuration and says what is wrong in it.
//!
//! The text is the configuration file of a host where nothing is configured: `/etc/perfd/perfd.toml` needs only what differs from it.
//!
//! The service reads `/etc/perfd/perfd.toml`, which `--check` without a file reads too; `systemctl reload perfd` does that first. What a right file asks for and
//! this host does not have (an event, a rate, a group) is told on standard error.
//!
//! ```text
//! $ perfd config > perfd.toml
//! $ perfd config --check perfd.toml
//! ```

mod on_this_host;

use std::path::PathBuf;

use clap::Args;

use super::{Exit, manual, stdout};
use crate::daemon::config::{self, Place, USUAL_PLACE};
use crate::procfs::SysRoots;

/// Print the daemon's default configuration, or check one
#[derive(Args, Clone, Debug)]
#[command(long_about = manual::of(include_str!("config.rs")))]
pub(super) struct ConfigArgs {
    /// Read this file and say what is wrong in it; end with exit code 78 if something is [default: /etc/perfd/perfd.toml, if there is one]
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = USUAL_PLACE)]
    check: Option<PathBuf>,
}

/// Runs `perfd config`.
pub(super) fn run(args: &ConfigArgs) -> anyhow::Result<Exit> {
    let Some(path) = &args.check else {
        return stdout::print(config::print_default().as_bytes());
    };
    let place = match path.as_os_str() == USUAL_PLACE {
        true => Place::IfThere(path.clone()),
        false => Place::File(path.clone()),
    };
    let config = place.read()?;
    if !path.exists() {
        eprintln!("perfd: there is no {}: the defaults hold", path.display());
    }
    for lack in on_this_host::lacks(&config, &SysRoots::default()) {
        eprintln!("perfd: {}: {lack}", path.display());
    }
    Ok(Exit::Ok)
}
