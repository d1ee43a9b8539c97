//! Who opens files in the trees that processes see: perfd itself, or another process for it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::Pid;
use crate::procfs::file_tree::{FileError, FileTree};

/// A file that was found in a tree.
#[derive(Debug)]
pub struct Found {
    /// It, open for reading.
    pub file: File,
    /// Where it is, without links on the way, as far as that is known.
    pub real_path: Option<PathBuf>,
}

/// Why a file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum NotFound {
    /// It is not there, or may not be read.
    #[error("open")]
    Unreadable(#[from] io::Error),
    /// It is a pipe, a device, a directory or the like.
    #[error("not a regular file")]
    NotRegular,
    /// It does not begin as ELF files do.
    #[error("not an elf file")]
    NotElf,
}

/// A tree of files.
pub trait Tree {
    /// Opens a regular file for reading. No path leads out of the tree.
    ///
    /// # Errors
    /// There is none.
    fn open(&self, path: &Path) -> Result<Found, NotFound>;
}

/// The trees in which debug files are looked for.
pub trait Trees: Send + Sync {
    /// What a process sees, if that can be had and is another tree than the host's.
    fn of_process(&self, pid: Pid) -> Option<Box<dyn Tree + '_>>;

    /// What perfd itself sees.
    fn host(&self) -> Option<Box<dyn Tree + '_>>;
}

/// The trees as perfd itself opens them.
pub struct OwnTrees {
    proc_root: PathBuf,
    host: io::Result<FileTree>,
}

impl OwnTrees {
    /// With `proc_root` for `/proc`.
    pub fn new(proc_root: &Path) -> OwnTrees {
        OwnTrees {
            proc_root: proc_root.to_owned(),
            host: FileTree::host(),
        }
    }
}

impl Trees for OwnTrees {
    fn of_process(&self, pid: Pid) -> Option<Box<dyn Tree + '_>> {
        let host = self.host.as_ref().ok();
        // Where the target sees what perfd does, its tree would be searched twice.
        let tree = FileTree::of_process(&self.proc_root, pid)
            .ok()
            .filter(|tree| host.is_none_or(|host| !tree.is_same(host)))?;
        Some(Box::new(tree))
    }

    fn host(&self) -> Option<Box<dyn Tree + '_>> {
        let host = self.host.as_ref().ok()?;
        Some(Box::new(host))
    }
}

impl Tree for FileTree {
    fn open(&self, path: &Path) -> Result<Found, NotFound> {
        let file = FileTree::open(self, path).map_err(|error| match error {
            FileError::Unreadable(error) => NotFound::Unreadable(error),
            FileError::NotRegular => NotFound::NotRegular,
        })?;
        Ok(Found {
            real_path: self.real_path(&file),
            file,
        })
    }
}

impl Tree for &FileTree {
    fn open(&self, path: &Path) -> Result<Found, NotFound> {
        Tree::open(*self, path)
    }
}
