//! Who opens the files that runtimes write: perfd itself, or another process for it.

use std::fmt::Debug;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::model::{Module, Pid, SeenIn};
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
    // It grows for as long as it is written, so that it is known by its inode alone.
    let seen_in = module.seen_in.map(|seen_in| SeenIn {
        version: None,
        ..seen_in
    });
    let module = Module {
        seen_in,
        ..module.clone()
    };
    module_file::open_as_file(proc_root, &module).map_err(|error| {
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::model::{FileVersion, ModuleKind};

    #[test]
    fn a_dump_that_has_grown_since_it_was_mapped_is_the_same() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        let found = file.as_file().metadata().expect("it is there");
        let version = FileVersion {
            changed: (found.ctime(), found.ctime_nsec()),
            modified: (found.mtime(), found.mtime_nsec()),
            size: found.len(),
        };
        let module = Module {
            kind: ModuleKind::File {
                dev: found.dev(),
                inode: found.ino(),
            },
            path: file.path().to_owned(),
            seen_in: Some(SeenIn {
                pid: Pid(std::process::id()),
                start: 0,
                end: 0,
                version: Some(version),
            }),
        };
        file.write_all(b"JiTD").expect("written");
        let proc_root = Path::new("/proc");
        assert!(matches!(
            module_file::open_as_file(proc_root, &module),
            Err(OpenError::Changed(_))
        ));
        assert!(open_dump(proc_root, &module).is_ok());
        let other = Module {
            kind: ModuleKind::File {
                dev: found.dev(),
                inode: found.ino() + 1,
            },
            ..module
        };
        assert!(open_dump(proc_root, &other).is_err());
    }
}
