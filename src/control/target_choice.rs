//! What a request names as its target, as it stands in JSON.

use serde::{Deserialize, Serialize};

/// What is to be profiled: exactly one of the fields `pid`, `comm`, `cgroup`, `unit`, `container`, `host`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "TargetFields", into = "TargetFields")]
pub enum TargetChoice {
    /// A process, by its number in the client's and the daemon's pid namespace, which must be the same.
    Pid(u32),
    /// All processes of this command name.
    Comm(String),
    /// A cgroup, by its path below the mount point of cgroup v2.
    Cgroup(String),
    /// A systemd unit: `postgresql.service`.
    Unit(String),
    /// A container, by its id.
    Container(String),
    /// All that runs.
    Host,
}

impl std::fmt::Display for TargetChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TargetChoice::Pid(pid) => write!(f, "pid {pid}"),
            TargetChoice::Comm(comm) => write!(f, "comm {comm}"),
            TargetChoice::Cgroup(path) => write!(f, "cgroup {path}"),
            TargetChoice::Unit(unit) => write!(f, "unit {unit}"),
            TargetChoice::Container(id) => write!(f, "container {id}"),
            TargetChoice::Host => f.write_str("host"),
        }
    }
}

/// A target as it stands in JSON.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetFields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    comm: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cgroup: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<bool>,
}

/// Why a target's fields name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTargetError {
    /// None of them, or several.
    #[error("target: exactly one of pid, comm, cgroup, unit, container, host")]
    NotOne,
    /// A number that no process has.
    #[error("target: pid is a number from 1 to 2147483647")]
    Pid,
    /// A text without a character.
    #[error("target: an empty name")]
    Empty,
    /// A longer one than the system has.
    #[error("target: a name of more than 4096 bytes")]
    TooLong,
    /// `"host": false`.
    #[error("target: host is true or absent")]
    NotHost,
}

impl TryFrom<TargetFields> for TargetChoice {
    type Error = ParseTargetError;

    fn try_from(fields: TargetFields) -> Result<TargetChoice, ParseTargetError> {
        const LONGEST: usize = 4096;
        let texts = [
            (
                fields.comm,
                TargetChoice::Comm as fn(String) -> TargetChoice,
            ),
            (fields.cgroup, TargetChoice::Cgroup),
            (fields.unit, TargetChoice::Unit),
            (fields.container, TargetChoice::Container),
        ];
        let mut found = Vec::with_capacity(1);
        for (text, made) in texts {
            match text {
                Some(text) if text.is_empty() => return Err(ParseTargetError::Empty),
                Some(text) if text.len() > LONGEST => return Err(ParseTargetError::TooLong),
                Some(text) => found.push(made(text)),
                None => (),
            }
        }
        match fields.pid {
            Some(pid) if pid == 0 || pid > u32::MAX >> 1 => return Err(ParseTargetError::Pid),
            Some(pid) => found.push(TargetChoice::Pid(pid)),
            None => (),
        }
        match fields.host {
            Some(true) => found.push(TargetChoice::Host),
            Some(false) => return Err(ParseTargetError::NotHost),
            None => (),
        }
        match (found.pop(), found.is_empty()) {
            (Some(choice), true) => Ok(choice),
            _ => Err(ParseTargetError::NotOne),
        }
    }
}

impl From<TargetChoice> for TargetFields {
    fn from(choice: TargetChoice) -> TargetFields {
        let mut fields = TargetFields::default();
        match choice {
            TargetChoice::Pid(pid) => fields.pid = Some(pid),
            TargetChoice::Comm(comm) => fields.comm = Some(comm),
            TargetChoice::Cgroup(path) => fields.cgroup = Some(path),
            TargetChoice::Unit(unit) => fields.unit = Some(unit),
            TargetChoice::Container(id) => fields.container = Some(id),
            TargetChoice::Host => fields.host = Some(true),
        }
        fields
    }
}
