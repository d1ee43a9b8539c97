//! The daemon's configuration: `/etc/perfd/perfd.toml`, checked. Holding a [`Config`] it cannot be wrong.
//!
//! There is one table of keys (`keys.rs`), with what each is for and its default: the default configuration is that table read as a file, and
//! `perfd config` prints it. A file says only what differs. An unknown key, a value out of its bounds and a target without a
//! selector are errors that name the line, the value and what is allowed; nothing is taken in part.

mod keys;
mod raw;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::selector::Selector;
use crate::model::{AskedEvent, Fault, FaultClass, Hz};

pub use keys::print_default;
pub use values::Kept;

/// A configuration of this size was not written by hand.
const MAX_BYTES: u64 = 1 << 20;

/// Where the configuration of the service is, if nobody says otherwise; there need not be one.
pub const USUAL_PLACE: &str = "/etc/perfd/perfd.toml";

/// Where a configuration is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: the defaults hold.
    Nowhere,
    /// In this file, if there is one by then; else the defaults hold.
    IfThere(PathBuf),
    /// In this file.
    File(PathBuf),
}

impl Place {
    /// The configuration as it is now.
    ///
    /// # Errors
    /// As [`Config::read`].
    pub fn read(&self) -> Result<Config, Fault> {
        match self {
            Place::File(path) => Config::read(path),
            Place::IfThere(path) if path.exists() => Config::read(path),
            Place::IfThere(_) | Place::Nowhere => Ok(Config::default()),
        }
    }
}

/// What the daemon does.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// How targets are sampled that do not say so themselves.
    pub sampling: Sampling,
    /// Length of a window.
    pub window: Duration,
    /// Whose members may do what root may; `None`: nobody but root.
    pub admin_group: Option<String>,
    /// What is shown of names.
    pub names: Names,
    /// What there may be of each thing.
    pub limits: Limits,
    /// Continuous files.
    pub files: Files,
    /// Targets that are always there.
    pub targets: Vec<ConfiguredTarget>,
}

/// What is sampled, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Events; none leaves the choice to perfd.
    pub events: Vec<AskedEvent>,
    /// Samples a second and CPU, for events that have no rate of their own.
    pub frequency: Hz,
    /// Whether the functions of Python programs are shown.
    pub python: bool,
}

/// What is shown of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names {
    /// Whether functions that the compiler inlined are frames of their own.
    pub inline: bool,
    /// Whether names are kept on disk from run to run, under the state directory.
    pub cache: bool,
    /// Bytes that what is known of files may take.
    pub memory: u64,
}

/// What there may be of each thing; beyond that is refused, with the limit's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Targets, configured ones included.
    pub targets: usize,
    /// Targets of one user who is no administrator.
    pub targets_per_user: usize,
    /// Processes that all targets of one engine have together.
    pub processes: usize,
    /// Different samplings at a time; each has events and rings of its own.
    pub engines: usize,
    /// Samples a second that a user may ask for who is no administrator.
    pub user_frequency: Hz,
    /// Connections to the control socket.
    pub clients: usize,
    /// Those of one user.
    pub clients_per_user: usize,
    /// Bytes that wait for a client, or for an output that a client has passed.
    pub client_queue: u64,
    /// How long a client may take nothing of what waits for it.
    pub client_patience: Duration,
    /// Bytes that what is kept of a target for `snapshot` may take.
    pub snapshot: u64,
    /// Bytes of unwind tables of one engine, perfd's copies and the kernel's together.
    pub tables: u64,
}

/// Files of windows under the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Files {
    /// Of which targets, where they do not say so themselves.
    pub targets: Kept,
    /// The time that one file holds.
    pub window: Duration,
    /// A file is closed before its windows take more than this, uncompressed.
    pub max_bytes: u64,
    /// How long files are kept.
    pub keep_for: Duration,
    /// How much of them.
    pub keep_bytes: u64,
}

/// A `[[target]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfiguredTarget {
    /// As it is called in lists, labels and files.
    pub name: String,
    /// What it is.
    pub selector: Selector,
    /// How it is sampled.
    pub sampling: Sampling,
    /// Whether its windows are kept in files.
    pub files: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config::parse("").expect("a test reads the table of defaults")
    }
}

impl Config {
    /// Reads the text of a configuration; what it does not say is as by default.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line.
    pub fn parse(text: &str) -> Result<Config, Fault> {
        let defaults = raw::parse(&keys::text_of_defaults())?;
        raw::parse(text)?.over(defaults).check(text)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or what is in it is wrong.
    pub fn read(path: &Path) -> Result<Config, Fault> {
        let fault = |class, what: String| Fault::new(class, format!("{}: {what}", path.display()));
        let text = read_bounded(path).map_err(|error| {
            let class = match error.kind() {
                std::io::ErrorKind::PermissionDenied => FaultClass::Permission,
                _ => FaultClass::Configuration,
            };
            fault(class, error.to_string())
                .hint("try: perfd config   for the default configuration")
        })?;
        Config::parse(&text).map_err(|wrong| Fault {
            what: format!("{}: {}", path.display(), wrong.what),
            ..wrong
        })
    }
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    let read = std::fs::File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    match u64::try_from(read) {
        Ok(read) if read <= MAX_BYTES => Ok(text),
        _ => Err(std::io::Error::other("larger than 1 MiB")),
    }
}

#[cfg(test)]
mod tests;
