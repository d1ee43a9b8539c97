//! A tree of files as some process sees it: paths lead from its root, and never out of it.
//!
//! Paths and links in the tree of a target are the target's word. They are resolved by the kernel with the tree's root
//! for `/` (`openat2(2)`, `RESOLVE_IN_ROOT`): neither `..` nor an absolute link leads to the host's files, and the
//! links of `/proc` that are none (`RESOLVE_NO_MAGICLINKS`) lead nowhere. Where there is no `openat2` (a kernel before
//! 5.6, systemd's `RestrictSUIDSGID=`), perfd walks the path itself, by the same rules.
//!
//! What is found is looked at before it is opened for reading: opening a pipe would let its writer go on, opening a device
//! may do anything.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::tasks;
use crate::model::Pid;

/// As many links as the kernel follows in one path.
const MAX_LINKS: u32 = 40;
/// Directories that are open at once in a walk of perfd's own; real paths have ten.
const MAX_DEPTH: usize = 128;
/// The kernel gives up (`EAGAIN`) where something is renamed during a `..`; a target can do that for ever.
const ATTEMPTS: u32 = 16;

/// Why a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there, or we may not read it.
    #[error("open")]
    Unreadable(#[from] io::Error),
    /// It is a pipe, a device, a directory or the like.
    #[error("not a regular file")]
    NotRegular,
}

/// A directory that stands for `/`.
#[derive(Debug)]
pub struct FileTree {
    root: OwnedFd,
    /// What perfd calls the root. `/proc/PID/maps` has it before the paths of a process in a chroot, perf's records do not.
    seen_as: Option<PathBuf>,
}

impl FileTree {
    /// The tree that perfd itself sees.
    pub fn host() -> io::Result<FileTree> {
        FileTree::at(Path::new("/"))
    }

    /// The tree that a process sees. It stays open when the process has ended.
    pub fn of_process(proc_root: &Path, pid: Pid) -> io::Result<FileTree> {
        let process = proc_root.join(pid.to_string());
        let first = match FileTree::at(&process.join("root")) {
            Ok(tree) => return Ok(tree),
            Err(error) => error,
        };
        // A main thread that has ended has no root any more, though its process lives on in others.
        let threads = tasks::threads(proc_root, pid).unwrap_or_default();
        let of_thread = |tid| {
            let task = process.join(format!("task/{tid}/root"));
            FileTree::at(&task).ok()
        };
        threads.into_iter().find_map(of_thread).ok_or(first)
    }

    fn at(path: &Path) -> io::Result<FileTree> {
        let root = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
            .open(path)?;
        Ok(FileTree {
            seen_as: fs::read_link(own_link(root.as_fd())).ok(),
            root: root.into(),
        })
    }

    /// Opens a regular file for reading. A relative path leads from the root too, and one that is not there may be as perfd sees it.
    pub fn open(&self, path: &Path) -> Result<File, FileError> {
        let below = |seen_as: &PathBuf| path.strip_prefix(seen_as).ok();
        match (
            self.open_exactly(path),
            self.seen_as.as_ref().and_then(below),
        ) {
            (Err(FileError::Unreadable(_)), Some(path)) => self.open_exactly(path),
            (opened, _) => opened,
        }
    }

    fn open_exactly(&self, path: &Path) -> Result<File, FileError> {
        let found = match resolve(self.root.as_fd(), path) {
            // A filter of system calls may say either where it means that there is none.
            Err(Errno::ENOSYS | Errno::EPERM) => walk(self.root.as_fd(), path),
            resolved => resolved,
        };
        open_found(found.map_err(io::Error::from)?)
    }

    /// Where in the tree an open file is, without links on the way, as far as the kernel tells. It may have been moved since.
    pub fn real_path(&self, file: &File) -> Option<PathBuf> {
        let file = fs::read_link(own_link(file.as_fd())).ok()?;
        let below = file.strip_prefix(self.seen_as.as_ref()?).ok()?;
        Some(Path::new("/").join(below))
    }

    /// Whether both are one tree: most targets see the host's.
    pub fn is_same(&self, other: &FileTree) -> bool {
        let identity = |tree: &FileTree| {
            let metadata = fs::metadata(own_link(tree.root.as_fd())).ok()?;
            Some((metadata.dev(), metadata.ino()))
        };
        identity(self).is_some_and(|own| identity(other) == Some(own))
    }
}

/// Opens the regular file that a link of `/proc` stands for.
pub(super) fn open_link(link: &Path) -> Result<File, FileError> {
    let found = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(link)?;
    open_found(found.into())
}

/// Opens for reading what was found, if it is a regular file.
fn open_found(found: OwnedFd) -> Result<File, FileError> {
    if kind(found.as_fd()).map_err(io::Error::from)? != SFlag::S_IFREG {
        return Err(FileError::NotRegular);
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(own_link(found.as_fd()))?;
    Ok(file)
}

/// The way to open again, for another purpose, what is open.
fn own_link(fd: BorrowedFd<'_>) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

fn kind(fd: BorrowedFd<'_>) -> nix::Result<SFlag> {
    let mode = fstat(fd)?.st_mode;
    Ok(SFlag::from_bits_truncate(mode & SFlag::S_IFMT.bits()))
}

/// Finds what `path` leads to, by the kernel.
fn resolve(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let mut outcome = Err(Errno::EAGAIN);
    for _ in 0..ATTEMPTS {
        outcome = openat2(root, path, how);
        if !matches!(outcome, Err(Errno::EAGAIN)) {
            break;
        }
    }
    outcome
}

/// Finds what `path` leads to, step by step. No step follows a link, so none leads where perfd has not looked.
fn walk(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let mut below: Vec<OwnedFd> = Vec::new();
    let mut ahead = steps(path);
    let mut n_links = 0;
    while let Some(step) = ahead.pop_front() {
        let here = below.last().map_or(root, AsFd::as_fd);
        if kind(here)? != SFlag::S_IFDIR {
            return Err(Errno::ENOTDIR);
        }
        if step == OsStr::new("..") {
            below.pop();
            continue;
        }
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let found = openat(here, step.as_os_str(), flags, Mode::empty())?;
        if kind(found.as_fd())? != SFlag::S_IFLNK {
            if below.len() >= MAX_DEPTH {
                return Err(Errno::ENAMETOOLONG);
            }
            below.push(found);
            continue;
        }
        n_links += 1;
        if n_links > MAX_LINKS {
            return Err(Errno::ELOOP);
        }
        let target = PathBuf::from(readlinkat(&found, "")?);
        if target.is_absolute() {
            below.clear();
        }
        for step in steps(&target).into_iter().rev() {
            ahead.push_front(step);
        }
    }
    match below.pop() {
        Some(found) => Ok(found),
        None => openat(root, ".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()),
    }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .map(|component| component.as_os_str().to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder whose `root` is a tree, with a secret beside it.
    fn planted() -> (tempfile::TempDir, FileTree) {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a/b")).expect("made");
        fs::write(folder.path().join("secret"), "secret").expect("written");
        fs::write(root.join("a/file"), "inside").expect("written");
        for (link, target) in [
            ("up", "../secret"),
            ("far_up", "../../../../../../../../etc/passwd"),
            ("absolute", "/etc/passwd"),
            ("good", "/a/file"),
            ("a/b/relative", "../file"),
            ("a/b/twice", "relative"),
            ("loop", "loop"),
            ("folder", "a/b"),
            ("own", "/proc/self/exe"),
        ] {
            symlink(target, root.join(link)).expect("linked");
        }
        let tree = FileTree::at(&root).expect("a tree");
        (folder, tree)
    }

    fn content(found: nix::Result<OwnedFd>) -> Result<String, String> {
        let file = open_found(found.map_err(|errno| errno.to_string())?);
        let file = file.map_err(|error| error.to_string())?;
        io::read_to_string(file).map_err(|error| error.to_string())
    }

    #[test]
    fn no_path_leads_out_of_the_tree() {
        let (_folder, tree) = planted();
        for path in ["up", "far_up", "absolute", "../secret", "/../secret", "own"] {
            let error = tree.open(Path::new(path)).expect_err(path);
            assert!(matches!(error, FileError::Unreadable(_)), "{path}: {error}");
        }
        for path in [
            "good",
            "/a/file",
            "a/b/twice",
            "folder/../file",
            "../a/file",
        ] {
            let file = tree.open(Path::new(path)).expect(path);
            assert_eq!(io::read_to_string(file).expect(path), "inside");
        }
    }

    #[test]
    fn a_path_may_be_as_perfd_sees_it() {
        let (folder, tree) = planted();
        let path = folder.path().join("root/good");
        assert!(tree.open(&path).is_ok());
        assert!(tree.open(&folder.path().join("secret")).is_err());
        assert!(tree.open(&folder.path().join("root/../secret")).is_err());
    }

    #[test]
    fn perfd_walks_as_the_kernel_does() {
        let (_folder, tree) = planted();
        for path in [
            "a/file",
            "/a/file",
            "good",
            "up",
            "far_up",
            "absolute",
            "loop",
            "own",
            "folder/relative",
            "a/b/twice",
            "../../a/file",
            "a/../a/./file",
            "a/file/..",
            "a/file/x",
            "missing",
            "a",
            "/",
            "..",
            "folder/../file",
        ] {
            let path = Path::new(path);
            let by_kernel = content(resolve(tree.root.as_fd(), path));
            let by_perfd = content(walk(tree.root.as_fd(), path));
            assert_eq!(by_perfd, by_kernel, "{}", path.display());
        }
    }

    #[test]
    fn a_magic_link_is_not_followed() {
        let tree = FileTree::host().expect("a tree");
        let error = tree.open(Path::new("/proc/self/exe")).expect_err("refused");
        assert!(matches!(error, FileError::Unreadable(_)), "{error}");
        // To perfd's own walk it is a link like any other.
        let found = walk(tree.root.as_fd(), Path::new("/proc/self/exe")).expect("found");
        let own = fs::metadata("/proc/self/exe").expect("ourselves");
        assert_eq!(fstat(&found).expect("found").st_ino, own.ino());
    }

    #[test]
    fn nothing_is_opened_but_regular_files() {
        let (folder, tree) = planted();
        let pipe = folder.path().join("root/pipe");
        nix::unistd::mkfifo(&pipe, Mode::S_IRWXU).expect("made");
        for (tree, path) in [
            (&tree, "pipe"),
            (&tree, "a"),
            (&FileTree::host().expect("/"), "dev/zero"),
        ] {
            let error = tree.open(Path::new(path)).expect_err(path);
            assert!(matches!(error, FileError::NotRegular), "{path}: {error}");
        }
    }

    #[test]
    fn a_file_tells_its_path_without_links() {
        let (_folder, tree) = planted();
        let file = tree.open(Path::new("folder/twice")).expect("opened");
        assert_eq!(tree.real_path(&file).as_deref(), Some(Path::new("/a/file")));
        let other = FileTree::host()
            .expect("a tree")
            .open(Path::new("/proc/version"));
        assert_eq!(tree.real_path(&other.expect("opened")), None);
    }

    #[test]
    fn a_process_in_our_root_sees_our_tree() {
        let host = FileTree::host().expect("a tree");
        let own = FileTree::of_process(Path::new("/proc"), Pid(std::process::id()));
        assert!(own.expect("a tree").is_same(&host));
        let (_folder, other) = planted();
        assert!(!other.is_same(&host));
        assert!(FileTree::of_process(Path::new("/proc"), Pid(u32::MAX)).is_err());
    }
}
