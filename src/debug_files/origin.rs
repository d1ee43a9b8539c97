//! Where a file lies: what its links to other files start from.

use std::path::PathBuf;

use crate::model::{Module, Pid};
use crate::object::Elf;
use crate::procfs::module_file;

/// The place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its path, as the process below sees it; without one, as perfd does.
    pub path: PathBuf,
    /// A process whose root the path starts at.
    pub pid: Option<Pid>,
}

impl Origin {
    /// The place that a module's file was mapped from.
    pub fn of(module: &Module) -> Origin {
        Origin {
            path: module_file::path(module),
            pid: module.seen_in.map(|seen_in| seen_in.pid),
        }
    }
}

/// A file that belongs to another.
pub struct DebugFile {
    /// The file, open.
    pub elf: Elf,
    /// Where it was found, without links on the way: the one to ask with for what it links to itself.
    pub origin: Origin,
}
