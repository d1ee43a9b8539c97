//! What `perfd stat` was asked to do, checked.

use std::ffi::OsString;
use std::time::Duration;

use crate::model::Pid;
use crate::procfs::SysRoots;
use crate::sampler::counters::{Children, Request};

/// Over what is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// A command, from its `exec` to its end.
    Command(Vec<OsString>),
    /// Running processes, until all have ended.
    Processes {
        /// The processes.
        pids: Vec<Pid>,
        /// Their living descendants too.
        with_tree: bool,
    },
    /// All CPUs; while a command runs if there is one.
    Host(Option<Vec<OsString>>),
}

impl Over {
    /// The command that perfd starts, if it starts one.
    pub(super) fn command(&self) -> Option<&[OsString]> {
        match self {
            Over::Command(command) | Over::Host(Some(command)) => Some(command),
            Over::Processes { .. } | Over::Host(None) => None,
        }
    }
}

/// How results are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A table for a person, on standard error.
    Text,
    /// JSON lines on standard output; the output of the command goes to standard error then.
    Json,
}

/// What `perfd stat` was asked to do.
#[derive(Clone, Debug)]
pub struct StatSpec {
    /// Over what.
    pub over: Over,
    /// Which events.
    pub events: Request,
    /// Whether children are counted.
    pub children: Children,
    /// Tell the counts of every so long.
    pub interval: Option<Duration>,
    /// End after this time; a command is terminated then.
    pub duration: Option<Duration>,
    /// How often the command is run; at least 1, and 1 where there is no command.
    pub repeat: u32,
    /// How results are told.
    pub form: Form,
    /// Where the kernel's text trees are.
    pub roots: SysRoots,
}
