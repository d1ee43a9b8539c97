//! Files from servers, kept on disk for the next run.
//!
//! The folder belongs to the user that perfd runs as, and to nobody else; everything in it is reached by its descriptor, so
//! that a folder put in its place changes nothing. A file is there under the name of its build id when it is
//! whole. `HEX.absent` says that no server had it.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::model::BuildId;
use crate::sys::{PrivateFolderError, private_folder};

/// Of all servers' addresses, which is what a note of absence holds.
const MAX_NOTE: u64 = 64 << 10;
/// What a run that was killed has left is taken away after a day.
const MAX_DOWNLOAD: Duration = Duration::from_secs(24 * 60 * 60);
const DOWNLOAD: &str = "download-";

/// Why there is no cache.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    /// A file in it cannot be written.
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    /// The folder cannot be had, is another user's, or others may write to it.
    #[error("{path}: {source}")]
    Folder {
        path: PathBuf,
        source: PrivateFolderError,
    },
}

/// The folder.
pub(super) struct Cache {
    path: PathBuf,
    folder: OwnedFd,
}

/// A file that is still being written. It goes when it is dropped.
pub(super) struct Download<'a> {
    cache: &'a Cache,
    name: String,
    file: File,
}

impl Cache {
    /// Opens the folder, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Cache, CacheError> {
        let folder = private_folder(path).map_err(|source| CacheError::Folder {
            path: path.to_owned(),
            source,
        })?;
        Ok(Cache {
            path: path.to_owned(),
            folder: folder.into(),
        })
    }

    /// The file with this build id, and its path; it has been used now.
    pub(super) fn file(&self, build_id: &BuildId) -> Option<(File, PathBuf)> {
        let name = build_id.to_string();
        let file = self.open_file(&name, OFlag::O_RDONLY).ok()?;
        // Only the order in which files go follows from it.
        let _ = file.set_times(FileTimes::new().set_modified(SystemTime::now()));
        Some((file, self.path.join(name)))
    }

    /// Takes away a file that is not what its name says.
    pub(super) fn remove(&self, build_id: &BuildId) {
        self.unlink(&build_id.to_string());
    }

    /// Whether these servers were known not to have the file, at most `lifetime` ago.
    pub(super) fn is_absent(&self, build_id: &BuildId, servers: &str, lifetime: Duration) -> bool {
        let read = || -> io::Result<bool> {
            let file = self.open_file(&absence(build_id), OFlag::O_RDONLY)?;
            let age = file.metadata()?.modified()?.elapsed();
            let mut noted = Vec::new();
            file.take(MAX_NOTE).read_to_end(&mut noted)?;
            // A time in the future is that of a clock that was set back.
            Ok(age.is_ok_and(|age| age < lifetime) && noted == servers.as_bytes())
        };
        read().unwrap_or(false)
    }

    /// Notes that these servers do not have the file.
    pub(super) fn note_absence(&self, build_id: &BuildId, servers: &str) -> Result<(), CacheError> {
        let mut download = self.download()?;
        download.write(servers.as_bytes())?;
        download.keep_as(&absence(build_id))
    }

    /// Begins a file.
    pub(super) fn download(&self) -> Result<Download<'_>, CacheError> {
        static N_BEGUN: AtomicU64 = AtomicU64::new(0);
        let number = N_BEGUN.fetch_add(1, Relaxed);
        let name = format!("{DOWNLOAD}{}-{number}", std::process::id());
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL;
        // Its process had our number.
        self.unlink(&name);
        match self.open_file(&name, flags) {
            Ok(file) => Ok(Download {
                cache: self,
                name,
                file,
            }),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Takes away what was used longest ago until all files have at most `max_size` bytes, and what was never finished.
    pub(super) fn keep_within(&self, max_size: u64) -> Result<(), CacheError> {
        let mut files = self.list().map_err(|source| self.failed(source))?;
        files.sort_by_key(|(_, used, _)| *used);
        let mut excess = files
            .iter()
            .map(|(_, _, size)| size)
            .sum::<u64>()
            .saturating_sub(max_size);
        for (name, used, size) in files {
            let is_download = name.starts_with(DOWNLOAD);
            let is_left = is_download && used.elapsed().is_ok_and(|age| age > MAX_DOWNLOAD);
            if is_left || (excess > 0 && !is_download) {
                self.unlink(&name);
                excess = excess.saturating_sub(size);
            }
        }
        Ok(())
    }

    /// Names, times of last use, and sizes.
    fn list(&self) -> io::Result<Vec<(String, SystemTime, u64)>> {
        let folder = format!("/proc/self/fd/{}", self.folder.as_raw_fd());
        let names: Vec<String> = fs::read_dir(folder)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        let described = |name: String| {
            let metadata = self
                .open_file(&name, OFlag::O_RDONLY)
                .ok()?
                .metadata()
                .ok()?;
            let used = metadata.modified().ok()?;
            metadata.is_file().then_some((name, used, metadata.len()))
        };
        Ok(names.into_iter().filter_map(described).collect())
    }

    fn open_file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        let flags = flags | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let mode = Mode::S_IRUSR | Mode::S_IWUSR;
        let name = OsStr::from_bytes(name.as_bytes());
        let file = File::from(openat(&self.folder, name, flags, mode)?);
        match file.metadata()?.is_dir() {
            true => Err(io::ErrorKind::IsADirectory.into()),
            false => Ok(file),
        }
    }

    fn unlink(&self, name: &str) {
        let _ = unlinkat(&self.folder, name, UnlinkatFlags::NoRemoveDir);
    }

    fn failed(&self, source: io::Error) -> CacheError {
        CacheError::Io {
            path: self.path.clone(),
            source,
        }
    }
}

impl Download<'_> {
    /// Appends to it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), CacheError> {
        let written = self.file.write_all(bytes);
        written.map_err(|source| self.cache.failed(source))
    }

    /// What is written so far, to be read.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Keeps it as the file with this build id; returns its path.
    pub(super) fn keep(self, build_id: &BuildId) -> Result<PathBuf, CacheError> {
        let path = self.cache.path.join(build_id.to_string());
        self.keep_as(&build_id.to_string())?;
        Ok(path)
    }

    fn keep_as(self, name: &str) -> Result<(), CacheError> {
        let folder = &self.cache.folder;
        renameat(folder, self.name.as_str(), folder, name)
            .map_err(|errno| self.cache.failed(errno.into()))
    }
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        // One that was kept has no such name any more.
        self.cache.unlink(&self.name);
    }
}

fn absence(build_id: &BuildId) -> String {
    format!("{build_id}.absent")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use nix::unistd::geteuid;
    use std::os::unix::fs::MetadataExt;

    fn id(byte: u8) -> BuildId {
        BuildId(Box::from([byte; 20]))
    }

    fn keep(cache: &Cache, build_id: &BuildId, content: &[u8], age_s: u64) {
        let mut download = cache.download().expect("begun");
        download.write(content).expect("written");
        let path = download.keep(build_id).expect("kept");
        let then = SystemTime::now() - Duration::from_secs(age_s);
        let file = File::open(path).expect("there");
        file.set_times(FileTimes::new().set_modified(then))
            .expect("set");
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let name = |entry: io::Result<fs::DirEntry>| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        };
        let mut names: Vec<String> = entries.map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_there_when_it_is_kept_and_not_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b");
        let cache = Cache::open(&path).expect("opened");
        assert_eq!(fs::metadata(&path).expect("made").mode() & 0o777, 0o700);
        let mut download = cache.download().expect("begun");
        download.write(b"x").expect("written");
        assert!(cache.file(&id(1)).is_none());
        let kept = download.keep(&id(1)).expect("kept");
        let (file, found) = cache.file(&id(1)).expect("there");
        assert_eq!(
            (found, io::read_to_string(file).expect("readable")),
            (kept, "x".to_owned())
        );
        drop(cache.download().expect("begun"));
        assert_eq!(names(&path), [id(1).to_string()]);
    }

    #[test]
    fn a_folder_that_others_may_change_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = folder.path().join("open");
        fs::create_dir(&open).expect("made");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("set");
        let refused = |path: &Path| match Cache::open(path) {
            Err(CacheError::Folder { source, .. }) => source,
            _ => panic!("{} is used", path.display()),
        };
        assert!(matches!(
            refused(&open),
            PrivateFolderError::NotOurs { mode: 0o777, .. }
        ));
        let own = folder.path().join("own");
        fs::create_dir(&own).expect("made");
        symlink(&own, folder.path().join("link")).expect("linked");
        let link = refused(&folder.path().join("link"));
        assert!(matches!(link, PrivateFolderError::NoFolder));
        if geteuid().is_root() {
            std::os::unix::fs::chown(&own, Some(65534), None).expect("given away");
            assert!(matches!(
                refused(&own),
                PrivateFolderError::NotOurs { owner: 65534, .. }
            ));
        }
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("opened");
        for (byte, age_s) in [(1, 3), (2, 9), (3, 6)] {
            keep(&cache, &id(byte), &[byte; 10], age_s);
        }
        cache.keep_within(30).expect("kept");
        assert_eq!(names(folder.path()).len(), 3);
        assert!(cache.file(&id(2)).is_some());
        cache.keep_within(20).expect("kept");
        assert_eq!(names(folder.path()), [id(1).to_string(), id(2).to_string()]);
    }

    #[test]
    fn what_was_left_by_a_run_that_was_killed_goes_after_a_day() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("opened");
        for (name, age) in [
            ("download-1-0", MAX_DOWNLOAD * 2),
            ("download-2-0", MAX_DOWNLOAD / 2),
        ] {
            let file = File::create(folder.path().join(name)).expect("made");
            let then = SystemTime::now() - age;
            file.set_times(FileTimes::new().set_modified(then))
                .expect("set");
        }
        cache.keep_within(0).expect("kept");
        assert_eq!(names(folder.path()), ["download-2-0"]);
    }

    #[test]
    fn absence_is_remembered_of_these_servers_and_for_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("opened");
        let hour = Duration::from_secs(3600);
        assert!(!cache.is_absent(&id(1), "a b", hour));
        cache.note_absence(&id(1), "a b").expect("noted");
        assert!(cache.is_absent(&id(1), "a b", hour));
        assert!(!cache.is_absent(&id(1), "a", hour));
        assert!(!cache.is_absent(&id(2), "a b", hour));
        assert!(!cache.is_absent(&id(1), "a b", Duration::ZERO));
        assert!(cache.file(&id(1)).is_none());
    }

    #[test]
    fn links_and_folders_in_it_are_no_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(folder.path()).expect("opened");
        symlink("/etc/passwd", folder.path().join(id(1).to_string())).expect("linked");
        fs::create_dir(folder.path().join(id(2).to_string())).expect("made");
        assert!(cache.file(&id(1)).is_none() && cache.file(&id(2)).is_none());
        cache.keep_within(0).expect("kept");
    }
}
