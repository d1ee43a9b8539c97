//! Where foreign files are read, and what that may take.

use std::path::PathBuf;
use std::time::Duration;

use super::Children;
use crate::sys::LastMoment;
use crate::sys::confinement::Allowance;

/// Where foreign files are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Parsing {
    /// In this process.
    #[default]
    Here,
    /// In child processes without rights.
    InChild(Limits),
}

impl Parsing {
    /// The children that live, where there may be some.
    pub fn children(&self) -> Option<&Children> {
        match self {
            Parsing::Here => None,
            Parsing::InChild(limits) => Some(&limits.children),
        }
    }
}

/// What a child may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The program that is executed as `perfd parse`: this one.
    pub program: PathBuf,
    /// Bytes of address space. What is known of modules gets a quarter of it at most.
    pub memory: u64,
    /// Open files at a time.
    pub open_files: u64,
    /// How long one request may take; of CPU time, the same. Much more than any honest file needs, also on a host that is busy with other things.
    pub time: Duration,
    /// How long a child with nothing to do stays.
    pub idle: Duration,
    /// When nothing is asked of a child any more, and what it is at is given up: whoever wants an end in bounded time sets it.
    pub last_moment: LastMoment,
    /// Where those that live are known.
    pub children: Children,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            program: PathBuf::from("/proc/self/exe"),
            memory: 512 << 20,
            open_files: 4096,
            time: Duration::from_secs(30),
            idle: Duration::from_secs(20),
            last_moment: LastMoment::default(),
            children: Children::default(),
        }
    }
}

/// Bytes of a file that a child writes: as much as the whole cache may have.
const MAX_FILE: u64 = 1 << 30;

impl Limits {
    /// What the kernel lets the child use.
    pub(super) fn allowance(&self) -> Allowance {
        Allowance {
            memory: self.memory,
            open_files: self.open_files,
            file_size: MAX_FILE,
        }
    }

    /// Bytes that names of all modules may take, of those that were asked for.
    pub(super) fn names_budget(&self, asked: usize) -> usize {
        usize::try_from(self.memory / 4).map_or(asked, |most| most.min(asked))
    }
}
