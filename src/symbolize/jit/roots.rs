//! Who opens the files that runtimes write: perfd itself, or another process for it.

use std::fmt::Debug;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::model::{Module, Pid};
use crate::procfs::jit_file::{ProcessRoot, Refused, Temporary};
use crate::procfs::module_file::{self, OpenError};

/// What a process sees as `/`, as far as its runtime's files are concerned.
pub trait Root: Send + Debug {
    /// The process's number in its own pid namespace.
    fn own_pid(&self) -> u32;

    /// Whether the process has not ended.
    fn is_alive(&self) -> bool;

    /// Opens `/tmp/NAME`, which has `max_size` bytes at most; `None` if there is none.
    ///
    /// # Errors
    /// The rule that it breaks.
    fn open_temporary(&mut self, name: &str, max_size: u64) -> Result<Option<Temporary>, Refused>;

    /// Whether a file may be believed.
    ///
    /// # Errors
    /// The rule that it breaks.
    fn check(&self, file: &File) -> Result<(), Refused>;
}

/// The roots of processes.
pub trait Roots: Send + Sync + Debug {
    /// That of a living process; `None` if it has none that can be opened.
    fn open(&self, pid: Pid) -> Option<Box<dyn Root>>;
}

/// Opens a module that is a jitdump; or says in words why that cannot be.
///
/// # Errors
/// It cannot be opened, or is another file by now.
pub fn open_dump(proc_root: &Path, module: &Module) -> Result<File, String> {
    module_file::open_as_file(proc_root, module).map_err(|error| {
        let why = match error {
            OpenError::Changed(_) => "another file is in its place",
            OpenError::NotRegular(_) => "it is not a regular file",
            OpenError::Unreadable { .. } | OpenError::NoFile => "it cannot be opened",
        };
        why.to_owned()
    })
}

/// The roots as perfd itself opens them.
#[derive(Debug)]
pub struct OwnRoots {
    /// `/proc`.
    pub proc_root: PathBuf,
}

impl Roots for OwnRoots {
    fn open(&self, pid: Pid) -> Option<Box<dyn Root>> {
        let root = ProcessRoot::open(&self.proc_root, pid).ok()?;
        Some(Box::new(root))
    }
}

impl Root for ProcessRoot {
    fn own_pid(&self) -> u32 {
        self.own_pid
    }

    fn is_alive(&self) -> bool {
        ProcessRoot::is_alive(self)
    }

    fn open_temporary(&mut self, name: &str, max_size: u64) -> Result<Option<Temporary>, Refused> {
        ProcessRoot::open_temporary(self, name, max_size)
    }

    fn check(&self, file: &File) -> Result<(), Refused> {
        ProcessRoot::check(self, file, u64::MAX)
    }
}
