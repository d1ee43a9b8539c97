//! What a target is, as it is asked for: one process, all of a name, a control group under one of its names, or everything.

use std::fmt;
use std::path::PathBuf;

use crate::model::Pid;

/// The longest name of a thread, in bytes: the kernel cuts what is longer (`TASK_COMM_LEN`).
pub const MAX_COMM: usize = 15;
/// Container runtimes name containers by 64 hexadecimal digits; fewer than this are no safe prefix.
pub const MIN_CONTAINER_ID: usize = 8;

/// What a target is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// One process and what it forks from then on.
    Pid(Pid),
    /// All processes whose main thread has this name, those that come later included.
    Comm(String),
    /// A control group and all below it: a path below the cgroup v2 mount, without a slash in front.
    Cgroup(PathBuf),
    /// The control group of a systemd unit.
    Unit(String),
    /// The control group of a container, by the first digits of its id.
    Container(String),
    /// Every process.
    Host,
}

/// Why a selector's value cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// No process has such a number.
    #[error("pid {0}: not a number from 1 to 2147483647")]
    Pid(u64),
    /// No thread has such a name.
    #[error(
        "comm {0:?}: names of processes have 1 to 15 bytes; the kernel cuts longer ones, so that the first 15 are the name"
    )]
    Comm(String),
    /// A path that leads elsewhere.
    #[error("cgroup {0:?}: not a path below the cgroup v2 mount, like system.slice/nginx.service")]
    Cgroup(String),
    /// No unit has such a name.
    #[error("unit {0:?}: not the name of a service, scope or slice, like postgresql.service")]
    Unit(String),
    /// Too short for an id, or no number.
    #[error("container {0:?}: not an id of 8 to 64 hexadecimal digits")]
    Container(String),
}

impl Selector {
    /// A process.
    ///
    /// # Errors
    /// A number that no process can have.
    pub fn pid(number: u64) -> Result<Selector, SelectorError> {
        match u32::try_from(number) {
            Ok(pid) if pid > 0 && i32::try_from(pid).is_ok() => Ok(Selector::Pid(Pid(pid))),
            _ => Err(SelectorError::Pid(number)),
        }
    }

    /// Processes by name.
    ///
    /// # Errors
    /// A name that no process can have.
    pub fn comm(name: &str) -> Result<Selector, SelectorError> {
        match (1..=MAX_COMM).contains(&name.len()) && !name.contains('\0') {
            true => Ok(Selector::Comm(name.to_owned())),
            false => Err(SelectorError::Comm(name.to_owned())),
        }
    }

    /// A control group by path; a slash in front and one behind are left out.
    ///
    /// # Errors
    /// The root, `..`, or a path that is longer than the kernel's.
    pub fn cgroup(path: &str) -> Result<Selector, SelectorError> {
        let below = path.trim_matches('/');
        let is_plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
        match below.len() < 4096 && below.split('/').all(is_plain) {
            true => Ok(Selector::Cgroup(PathBuf::from(below))),
            false => Err(SelectorError::Cgroup(path.to_owned())),
        }
    }

    /// A unit by name; a name without an ending is a service.
    ///
    /// # Errors
    /// A name that no unit with processes has.
    pub fn unit(name: &str) -> Result<Selector, SelectorError> {
        const ENDINGS: [&str; 3] = ["service", "scope", "slice"];
        let is_plain = |char: char| char.is_ascii_alphanumeric() || ":-_.\\@".contains(char);
        let error = || SelectorError::Unit(name.to_owned());
        if name.is_empty() || name.len() > 250 || !name.chars().all(is_plain) {
            return Err(error());
        }
        match name.rsplit_once('.') {
            Some((stem, ending)) if !stem.is_empty() && ENDINGS.contains(&ending) => {
                Ok(Selector::Unit(name.to_owned()))
            }
            None => Ok(Selector::Unit(format!("{name}.service"))),
            _ => Err(error()),
        }
    }

    /// A container by the beginning of its id.
    ///
    /// # Errors
    /// What is too short to mean one container, or no id.
    pub fn container(id: &str) -> Result<Selector, SelectorError> {
        let is_id = (MIN_CONTAINER_ID..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        match is_id {
            true => Ok(Selector::Container(id.to_ascii_lowercase())),
            false => Err(SelectorError::Container(id.to_owned())),
        }
    }

    /// What the target is called where nobody has named it.
    pub fn default_name(&self) -> String {
        match self {
            Selector::Pid(pid) => format!("pid-{pid}"),
            Selector::Comm(name) | Selector::Unit(name) => name.clone(),
            Selector::Cgroup(path) => path.display().to_string(),
            Selector::Container(id) => id.clone(),
            Selector::Host => "host".to_owned(),
        }
    }

    /// Whether it may be there again after its end.
    pub fn may_return(&self) -> bool {
        !matches!(self, Selector::Pid(_))
    }
}

/// `pid 42`, `unit nginx.service`, `host`.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Selector::Pid(pid) => write!(f, "pid {pid}"),
            Selector::Comm(name) => write!(f, "comm {name:?}"),
            Selector::Cgroup(path) => write!(f, "cgroup {path:?}"),
            Selector::Unit(name) => write!(f, "unit {name}"),
            Selector::Container(id) => write!(f, "container {id}"),
            Selector::Host => f.write_str("host"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_held_to_what_can_exist() {
        assert_eq!(Selector::pid(1), Ok(Selector::Pid(Pid(1))));
        for number in [0, 1 << 31, u64::MAX] {
            assert_eq!(Selector::pid(number), Err(SelectorError::Pid(number)));
        }
        assert!(Selector::comm("fifteen bytes !").is_ok());
        assert!(Selector::comm("sixteen bytes !!").is_err());
        assert!(Selector::comm("").is_err());
        let cgroup = |path: &str| Selector::cgroup(path);
        assert_eq!(
            cgroup("/a.slice/b/"),
            Ok(Selector::Cgroup("a.slice/b".into()))
        );
        for path in ["", "/", "a/../b", "..", "a//b", "./a"] {
            assert!(cgroup(path).is_err(), "{path}");
        }
        assert_eq!(
            Selector::unit("nginx"),
            Ok(Selector::Unit("nginx.service".into()))
        );
        assert!(Selector::unit("user@1000.service").is_ok());
        for name in [
            "",
            ".service",
            "a/b.service",
            "../x.service",
            "a.timer",
            "a b.service",
        ] {
            assert!(Selector::unit(name).is_err(), "{name}");
        }
        assert_eq!(
            Selector::container("ABCDEF0123"),
            Ok(Selector::Container("abcdef0123".into()))
        );
        for id in ["abc", "not-an-id", ""] {
            assert!(Selector::container(id).is_err(), "{id}");
        }
    }
}
