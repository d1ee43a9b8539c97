//! The folder of the cache on disk: who owns it, how files come into it, and how large it may become.
//!
//! Who reads and writes tables need not be who may open files in the folder: see [`Shelf`].

use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use nix::unistd::{LinkatFlags, Uid};

use super::segment::Segment;
use super::tables::FileKey;
use crate::sys::{PrivateFolderError, private_folder};

/// Bytes of all files; beyond, those that were not used for the longest time go.
const MAX_BYTES: u64 = 1 << 30;

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
#[error("keep names in {path}")]
pub struct FolderError {
    path: PathBuf,
    source: PrivateFolderError,
}

/// Who opens the files of a cache. A key has letters, digits, dots and hyphens alone.
pub trait Shelf: Send + Sync + std::fmt::Debug {
    /// The complete files of that key, each with its number, as many as are kept of one.
    fn files(&self, key: &str) -> Vec<(usize, File)>;

    /// A file without a name, open for reading and writing: if perfd ends before it gets one, nothing is left of it. `None` where the
    /// file system has no such files, or no room.
    fn create(&self) -> Option<File>;

    /// Gives a complete file, which was created here, its name, and takes away what is too much.
    fn keep(&self, file: &File, key: &str);

    /// Takes away one of the files of that key.
    fn remove(&self, key: &str, number: usize);
}

impl dyn Shelf {
    /// Files that one key may have: each run that meets new units adds one. When all are there, they are made anew.
    pub const MAX_FILES: usize = 8;
}

/// The cache on disk.
#[derive(Clone, Debug)]
pub struct CacheFolder {
    shelf: Arc<dyn Shelf>,
}

impl CacheFolder {
    /// Makes the folder where there is none.
    ///
    /// # Errors
    /// It cannot be made, or belongs to somebody else, or others may write to it.
    pub fn open(path: &Path) -> Result<CacheFolder, FolderError> {
        private_folder(path).map_err(|source| FolderError {
            path: path.to_owned(),
            source,
        })?;
        Ok(CacheFolder::on(Arc::new(Folder {
            path: path.to_owned(),
            max_bytes: MAX_BYTES,
        })))
    }

    /// The cache whose files somebody else opens.
    pub fn on(shelf: Arc<dyn Shelf>) -> CacheFolder {
        CacheFolder { shelf }
    }

    /// Who opens its files.
    pub fn shelf(&self) -> &dyn Shelf {
        &*self.shelf
    }

    /// The complete files of that key. If there are as many as there may be, they are taken away, so that the next one has all.
    pub(super) fn segments(&self, key: &FileKey) -> Vec<Segment> {
        let files = self.shelf.files(key.name());
        let n_files = files.len();
        let segments = files.into_iter().filter_map(|(number, file)| {
            let place = Place {
                folder: self.clone(),
                key: key.clone(),
                number,
            };
            Segment::open(place, file)
        });
        let segments: Vec<Segment> = segments.collect();
        if n_files < <dyn Shelf>::MAX_FILES {
            return segments;
        }
        for number in 0..n_files {
            self.shelf.remove(key.name(), number);
        }
        Vec::new()
    }

    /// See [`Shelf::create`].
    pub(super) fn create(&self) -> Option<File> {
        self.shelf.create()
    }

    /// See [`Shelf::keep`].
    pub(super) fn keep(&self, file: &File, key: &FileKey) {
        self.shelf.keep(file, key.name());
    }
}

/// Where a file of the cache is.
pub(super) struct Place {
    folder: CacheFolder,
    key: FileKey,
    number: usize,
}

impl Place {
    /// Takes the file away.
    pub(super) fn remove(&self) {
        self.folder.shelf.remove(self.key.name(), self.number);
    }
}

/// A folder that belongs to the user perfd runs as, and to nobody else.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    max_bytes: u64,
}

impl Shelf for Folder {
    fn files(&self, key: &str) -> Vec<(usize, File)> {
        let open = |number| {
            let file = open_ours(&self.path_of(key, number))?;
            // When it was last used, for `trim`. A cache on a file system that is read-only is as good.
            let _ = file.set_modified(SystemTime::now());
            Some((number, file))
        };
        (0..<dyn Shelf>::MAX_FILES).filter_map(open).collect()
    }

    fn create(&self) -> Option<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .mode(0o600)
            .custom_flags(libc::O_TMPFILE | libc::O_CLOEXEC)
            .open(&self.path)
            .ok()
    }

    fn keep(&self, file: &File, key: &str) {
        self.trim(file.metadata().map_or(0, |metadata| metadata.len()));
        let open = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        for number in 0..<dyn Shelf>::MAX_FILES {
            let linked = nix::unistd::linkat(
                nix::fcntl::AT_FDCWD,
                &open,
                nix::fcntl::AT_FDCWD,
                &self.path_of(key, number),
                LinkatFlags::AT_SYMLINK_FOLLOW,
            );
            if linked != Err(nix::errno::Errno::EEXIST) {
                return;
            }
        }
    }

    fn remove(&self, key: &str, number: usize) {
        let _ = fs::remove_file(self.path_of(key, number));
    }
}

impl Folder {
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

    fn path_of(&self, key: &str, number: usize) -> PathBuf {
        self.path.join(format!("{key}.{number}"))
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
        let cache = Folder {
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
