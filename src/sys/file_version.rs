//! The state of a file, learnt without waiting: nothing is fetched from a server, and no path is looked up that the kernel does not know.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use crate::model::FileVersion;

/// A file, and its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionedFile {
    /// Device number, as `stat` gives it.
    pub dev: u64,
    /// Inode number.
    pub inode: u64,
    /// The state.
    pub version: FileVersion,
}

/// The file that a link of `/proc` stands for.
///
/// # Errors
/// Those of `statx(2)`.
pub fn version_behind_link(link: &Path) -> io::Result<VersionedFile> {
    let link = CString::new(link.as_os_str().as_bytes())?;
    statx(libc::AT_FDCWD, &link, 0)
}

/// The file at a path below `root`, which is `/` for all links on the way.
///
/// # Errors
/// `EAGAIN` if the kernel would have to look it up; those of `openat2(2)` and `statx(2)`.
pub fn version_at(root: BorrowedFd<'_>, path: &Path) -> io::Result<VersionedFile> {
    let cached = ResolveFlag::from_bits_retain(libc::RESOLVE_CACHED);
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(cached | ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let found: OwnedFd = openat2(root, path, how)?;
    statx(found.as_fd().as_raw_fd(), c"", libc::AT_EMPTY_PATH)
}

fn statx(dir: RawFd, path: &CStr, flags: libc::c_int) -> io::Result<VersionedFile> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    let flags = flags | libc::AT_STATX_DONT_SYNC;
    let mask = libc::STATX_BASIC_STATS;
    // SAFETY: the path ends with a NUL, and the kernel writes one `statx`, for which there is room.
    let done = unsafe { libc::statx(dir, path.as_ptr(), flags, mask, found.as_mut_ptr()) };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all bytes are set, and any are numbers.
    let found = unsafe { found.assume_init() };
    let time = |time: libc::statx_timestamp| (time.tv_sec, i64::from(time.tv_nsec));
    Ok(VersionedFile {
        dev: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
        inode: found.stx_ino,
        version: FileVersion {
            changed: time(found.stx_ctime),
            modified: time(found.stx_mtime),
            size: found.stx_size,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_file_has_another_state_when_it_was_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        fs::write(&path, "before").expect("written");
        let root = File::open("/").expect("there is one");
        let now = || version_at(root.as_fd(), &path).expect("just written");
        let before = now();
        assert_eq!(now(), before);
        let metadata = fs::metadata(&path).expect("there");
        assert_eq!((before.dev, before.inode), (metadata.dev(), metadata.ino()));
        assert_eq!(before.version.size, 6);
        let link = format!(
            "/proc/self/fd/{}",
            File::open(&path).expect("there").as_raw_fd()
        );
        assert!(
            version_behind_link(Path::new(&link)).is_err(),
            "closed again"
        );
        let file = File::open(&path).expect("there");
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        assert_eq!(version_behind_link(Path::new(&link)).expect("open"), before);
        fs::write(&path, "behind it").expect("written");
        let after = now();
        assert_eq!(after.inode, before.inode);
        assert!(!after.version.has_content_of(before.version));
        fs::hard_link(&path, folder.path().join("y")).expect("linked");
        assert!(now().version.has_content_of(after.version));
    }

    #[test]
    fn links_lead_nowhere_outside_the_root() {
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("out")).expect("linked");
        let root = File::open(folder.path()).expect("made above");
        assert!(version_at(root.as_fd(), Path::new("/out")).is_err());
    }
}
