//! The folder of the cache on disk: who owns it, how files come into it, and how large it may become.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::unistd::{LinkatFlags, Uid};

use super::segment::Segment;
use super::tables::FileKey;
use crate::sys::{PrivateFolderError, private_folder};

/// Files that one key may have: each run that meets new units adds one. When all are there, they are made anew.
const MAX_SEGMENTS: usize = 8;
/// Bytes of all files; beyond, those that were not used for the longest time go.
const MAX_BYTES: u64 = 1 << 30;

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It cannot be made or looked at.
    #[error("make {path}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Somebody else could write names into it.
    #[error("{0} is not a folder that only its owner, this user, may write to")]
    NotOurs(PathBuf),
}

/// A folder that belongs to the user perfd runs as, and to nobody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheFolder {
    path: PathBuf,
    max_bytes: u64,
}

impl CacheFolder {
    /// Makes the folder where there is none.
    ///
    /// # Errors
    /// It cannot be made, or belongs to somebody else, or others may write to it.
    pub fn open(path: &Path) -> Result<CacheFolder, FolderError> {
        private_folder(path).map_err(|error| match error {
            PrivateFolderError::Io(source) => FolderError::Io {
                path: path.to_owned(),
                source,
            },
            PrivateFolderError::NotOurs => FolderError::NotOurs(path.to_owned()),
        })?;
        Ok(CacheFolder {
            path: path.to_owned(),
            max_bytes: MAX_BYTES,
        })
    }

    /// The complete files of that key. If there are as many as there may be, they are taken away, so that the next one has all.
    pub(super) fn segments(&self, key: &FileKey) -> Vec<Segment> {
        let mut segments = Vec::new();
        let mut n_files = 0;
        for idx in 0..MAX_SEGMENTS {
            let path = self.path_of(key, idx);
            let Some(file) = open_ours(&path) else {
                continue;
            };
            n_files += 1;
            // When it was last used, for `trim`. A cache on a file system that is read-only is as good.
            let _ = file.set_modified(SystemTime::now());
            match Segment::open(path.clone(), file) {
                Some(segment) => segments.push(segment),
                None => drop(fs::remove_file(&path)),
            }
        }
        if n_files == MAX_SEGMENTS {
            for idx in 0..MAX_SEGMENTS {
                let _ = fs::remove_file(self.path_of(key, idx));
            }
            segments.clear();
        }
        segments
    }

    /// A file without a name: if perfd ends before it gets one, nothing is left of it. `None` where the file system has no
    /// such files, or no room.
    pub(super) fn create(&self) -> Option<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC)
            .open(&self.path)
            .ok()
    }

    /// Gives a complete file its name, and takes away what is too much.
    pub(super) fn keep(&self, file: &File, key: &FileKey) {
        self.trim(file.metadata().map_or(0, |metadata| metadata.len()));
        let open = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        for idx in 0..MAX_SEGMENTS {
            let linked = nix::unistd::linkat(
                nix::fcntl::AT_FDCWD,
                &open,
                nix::fcntl::AT_FDCWD,
                &self.path_of(key, idx),
                LinkatFlags::AT_SYMLINK_FOLLOW,
            );
            if linked != Err(nix::errno::Errno::EEXIST) {
                return;
            }
        }
    }

    /// Makes room for `more` bytes.
    fn trim(&self, more: u64) {
        let Ok(entries) = fs::read_dir(&self.path) else {
            return;
        };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        files.sort();
        let total: u64 = files.iter().map(|(_, size, _)| size).sum();
        let mut excess = total.saturating_add(more).saturating_sub(self.max_bytes);
        for (_, size, path) in files {
            if excess == 0 {
                return;
            }
            if fs::remove_file(&path).is_ok() {
                excess = excess.saturating_sub(size);
            }
        }
    }

    fn path_of(&self, key: &FileKey, idx: usize) -> PathBuf {
        self.path.join(format!("{}.{idx}", key.name()))
    }
}

/// A regular file of ours.
fn open_ours(path: &Path) -> Option<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC)
        .open(path)
        .ok()?;
    let found = file.metadata().ok()?;
    let is_ours = found.is_file() && found.uid() == Uid::effective().as_raw();
    is_ours.then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_was_not_used_for_the_longest_time_makes_room() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, age) in [("old", 30), ("older", 40), ("new", 10)] {
            let file = File::create(folder.path().join(name)).expect("made");
            file.set_len(100).expect("room");
            let used = SystemTime::now() - Duration::from_secs(age);
            file.set_modified(used).expect("ours");
        }
        let cache = CacheFolder {
            path: folder.path().to_owned(),
            max_bytes: 300,
        };
        let left = || {
            let names = ["old", "older", "new"];
            names.map(|name| folder.path().join(name).exists())
        };
        cache.trim(0);
        assert_eq!(left(), [true, true, true]);
        cache.trim(1);
        assert_eq!(left(), [true, false, true]);
        cache.trim(150);
        assert_eq!(left(), [false, false, true]);
    }
}
