//! Files over which children have died: they are not tried again, until they change.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashSet;

use crate::object::{FileStamp, ReadAt};

/// Files that are remembered; who has more of them has all of them tried again.
const MAX_FILES: usize = 4096;
/// Of them those that are told by their paths.
const MAX_TOLD: usize = 8;

/// One state of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FileState(FileStamp, u64);

impl FileState {
    /// As it is now; `None` for what has none.
    pub(super) fn of(file: &File) -> Option<FileState> {
        Some(FileState(file.stamp()?, ReadAt::len(file)))
    }
}

/// The files.
#[derive(Debug, Default)]
pub(super) struct Blamed {
    files: FxHashSet<FileState>,
    told: Vec<PathBuf>,
}

impl Blamed {
    /// Whether it is one of them.
    pub(super) fn has(&self, file: &File) -> bool {
        !self.files.is_empty()
            && FileState::of(file).is_some_and(|state| self.files.contains(&state))
    }

    /// Adds a file, by the path that its process sees.
    pub(super) fn add(&mut self, file: &File, path: &Path) {
        if self.files.len() >= MAX_FILES {
            self.files.clear();
        }
        self.files.extend(FileState::of(file));
        if self.told.len() < MAX_TOLD && !self.told.iter().any(|told| told == path) {
            self.told.push(path.to_owned());
        }
    }

    /// The first of their paths.
    pub(super) fn paths(&self) -> &[PathBuf] {
        &self.told
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_is_known_until_it_changes() {
        let mut file = tempfile::tempfile().expect("a file");
        let other = tempfile::tempfile().expect("a file");
        let mut blamed = Blamed::default();
        assert!(!blamed.has(&file));
        blamed.add(&file, Path::new("/x"));
        blamed.add(&file, Path::new("/x"));
        assert!(blamed.has(&file) && !blamed.has(&other));
        assert_eq!(blamed.paths(), [Path::new("/x")]);
        file.write_all(b"more").expect("written");
        assert!(!blamed.has(&file));
    }
}
