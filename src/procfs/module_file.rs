//! The bytes of a module: of the very file that is mapped, or none.
//!
//! The way leads through the target (`/proc/PID/map_files`, `/proc/PID/root`), so that other mount namespaces and
//! replaced or deleted files are no obstacle. A link in `map_files` *is* the mapped file, if its inode is right. What is found at a
//! path may be another file: its build id must be the one that the process has in memory, whatever its inode. Where
//! there is none, or the process is gone, inode and device must be those that were mapped, and the content as old and large as then.
//!
//! Devices are compared only where both numbers mean the same. `/proc/PID/maps` and perf records give the device of
//! the superblock; `stat` gives another, anonymous one (major 0) on btrfs and on some overlay file systems. Under
//! `/proc/PID/root` an anonymous device is not held against the file; at the path on the host the device must be right, by `stat` or by the mount table.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, makedev};

use super::file_tree::{self, FileError, FileTree};
use super::loaded_file;
use crate::model::{BuildId, FileVersion, Module, ModuleKind, SeenIn};
use crate::object::{Elf, ReadAt};

/// The vDSO has two to four pages.
const MAX_VDSO: u64 = 1 << 20;

/// Why a module's file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is gone, or we may not read it.
    #[error("open {path}")]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is another file in its place.
    #[error("{0} is not the file that was mapped")]
    Changed(PathBuf),
    /// It is a pipe, a device or the like.
    #[error("{0} is not a regular file")]
    NotRegular(PathBuf),
    /// It never had a file: the kernel, anonymous memory.
    #[error("no file behind it")]
    NoFile,
}

/// Opens the file of a module that has one.
pub fn open_as_file(proc_root: &Path, module: &Module) -> Result<File, OpenError> {
    match module.kind {
        ModuleKind::File { dev, inode } => open_file(proc_root, module, dev, inode),
        _ => Err(OpenError::NoFile),
    }
}

/// Opens the file of `module`; `proc_root` is `/proc`, except in tests.
pub fn open(proc_root: &Path, module: &Module) -> Result<Box<dyn ReadAt>, OpenError> {
    match module.kind {
        ModuleKind::File { dev, inode } => {
            let file = open_file(proc_root, module, dev, inode)?;
            Ok(Box::new(file))
        }
        ModuleKind::Vdso => {
            let image = own_vdso(proc_root).map_err(|source| OpenError::Unreadable {
                path: proc_root.join("self/mem"),
                source,
            })?;
            Ok(Box::new(image))
        }
        ModuleKind::Kernel | ModuleKind::Anonymous { .. } | ModuleKind::Python => {
            Err(OpenError::NoFile)
        }
    }
}

/// The path that a module was mapped from.
pub fn path(module: &Module) -> PathBuf {
    without_deleted(&module.path)
}

fn open_file(proc_root: &Path, module: &Module, dev: u64, inode: u64) -> Result<File, OpenError> {
    let path = path(module);
    if let Some(seen_in) = module.seen_in {
        // A file that is written anew while it is mapped is another one in memory, too.
        let is_as_mapped = |file: &File| {
            Ok(has_version(file, Some(seen_in))?
                || loaded_file::build_id(proc_root, seen_in, dev, inode)
                    .is_some_and(|loaded| has_build_id(file, &loaded).unwrap_or(false)))
        };
        let link = map_files_link(proc_root, seen_in);
        if let Ok(file) = file_tree::open_link(&link)
            && file.metadata().is_ok_and(|found| found.ino() == inode)
        {
            return check(file, &path, is_as_mapped);
        }
        // What the process runs is open to whoever may look into it, which its mappings are not.
        let exe = proc_root.join(seen_in.pid.to_string()).join("exe");
        if fs::read_link(&exe).is_ok_and(|linked| linked == module.path)
            && let Ok(file) = file_tree::open_link(&exe)
            && file.metadata().is_ok_and(|found| found.ino() == inode)
        {
            return check(file, &path, is_as_mapped);
        }
        let in_target = FileTree::of_process(proc_root, seen_in.pid)
            .map_err(FileError::from)
            .and_then(|tree| tree.open(&path));
        match in_target {
            Ok(file) => {
                let loaded = loaded_file::build_id(proc_root, seen_in, dev, inode);
                return check(file, &path, |file| match loaded {
                    Some(loaded) => has_build_id(file, &loaded),
                    None => {
                        let found = file.metadata()?;
                        let is_same_device =
                            found.dev() == dev || major(found.dev()) == 0 || major(dev) == 0;
                        Ok(found.ino() == inode
                            && is_same_device
                            && has_version(file, module.seen_in)?)
                    }
                });
            }
            // The process is gone, or its root is not ours to enter.
            Err(FileError::Unreadable(_)) => {}
            Err(FileError::NotRegular) => return Err(OpenError::NotRegular(path)),
        }
    }
    let on_host = FileTree::host()
        .map_err(FileError::from)
        .and_then(|tree| tree.open(&path));
    let file = on_host.map_err(|error| match error {
        FileError::Unreadable(source) => OpenError::Unreadable {
            path: path.clone(),
            source,
        },
        FileError::NotRegular => OpenError::NotRegular(path.clone()),
    })?;
    check(file, &path, |file| {
        let found = file.metadata()?;
        let is_same_device = found.dev() == dev || mount_device(proc_root, file)? == Some(dev);
        Ok(found.ino() == inode && is_same_device && has_version(file, module.seen_in)?)
    })
}

/// Whether a file is what it was when it was mapped; true where that was not learnt. To an inode that was given again, or a program that was
/// built in place, nothing else bears witness when its process is gone.
fn has_version(file: &File, seen_in: Option<SeenIn>) -> io::Result<bool> {
    let Some(mapped) = seen_in.and_then(|seen_in| seen_in.version) else {
        return Ok(true);
    };
    let found = file.metadata()?;
    Ok(mapped.has_content_of(FileVersion {
        changed: (found.ctime(), found.ctime_nsec()),
        modified: (found.mtime(), found.mtime_nsec()),
        size: found.len(),
    }))
}

fn check(
    file: File,
    path: &Path,
    is_same: impl FnOnce(&File) -> io::Result<bool>,
) -> Result<File, OpenError> {
    match is_same(&file) {
        Ok(true) => Ok(file),
        Ok(false) => Err(OpenError::Changed(path.to_owned())),
        Err(source) => Err(OpenError::Unreadable {
            path: path.to_owned(),
            source,
        }),
    }
}

fn has_build_id(file: &File, build_id: &BuildId) -> io::Result<bool> {
    let elf = Elf::parse(Box::new(file.try_clone()?));
    Ok(elf.is_ok_and(|elf| elf.build_id().as_ref() == Some(build_id)))
}

fn map_files_link(proc_root: &Path, seen_in: SeenIn) -> PathBuf {
    let SeenIn {
        pid, start, end, ..
    } = seen_in;
    proc_root.join(format!("{pid}/map_files/{start:x}-{end:x}"))
}

/// The path without the mark that the kernel puts behind it when the file has been unlinked.
fn without_deleted(path: &Path) -> PathBuf {
    let bytes = path.as_os_str().as_bytes();
    let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
    PathBuf::from(std::ffi::OsString::from_vec(bytes.to_vec()))
}

/// The device of the mount that an open file came through, in the language of `/proc/PID/maps`.
fn mount_device(proc_root: &Path, file: &File) -> io::Result<Option<u64>> {
    let fd_info = proc_root.join(format!("self/fdinfo/{}", file.as_raw_fd()));
    let fd_info = fs::read_to_string(fd_info)?;
    let mount_id = fd_info
        .lines()
        .find_map(|line| line.strip_prefix("mnt_id:"))
        .map(str::trim);
    let mounts = fs::read(proc_root.join("self/mountinfo"))?;
    Ok(String::from_utf8_lossy(&mounts).lines().find_map(|line| {
        let mut fields = line.split(' ');
        if fields.next() != mount_id {
            return None;
        }
        let (major, minor) = fields.nth(1)?.split_once(':')?;
        Some(makedev(major.parse().ok()?, minor.parse().ok()?))
    }))
}

/// The image of the vDSO. It is the same in every 64-bit process of the running kernel, so ours will do.
fn own_vdso(proc_root: &Path) -> io::Result<Vec<u8>> {
    let mut maps = String::new();
    File::open(proc_root.join("self/maps"))?.read_to_string(&mut maps)?;
    let (start, end) = maps
        .lines()
        .find(|line| line.ends_with("[vdso]"))
        .and_then(|line| line.split(' ').next()?.split_once('-'))
        .and_then(|(start, end)| {
            let parse = |text| u64::from_str_radix(text, 16).ok();
            Some((parse(start)?, parse(end)?))
        })
        .ok_or(io::ErrorKind::NotFound)?;
    let size = end.saturating_sub(start).min(MAX_VDSO);
    let mut image = vec![0; usize::try_from(size).unwrap_or_default()];
    File::open(proc_root.join("self/mem"))?.read_exact_at(&mut image, start)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pid;

    fn module(path: &Path, seen_in: Option<SeenIn>) -> Module {
        let metadata = fs::metadata(path).expect("there");
        Module {
            kind: ModuleKind::File {
                dev: metadata.dev(),
                inode: metadata.ino(),
            },
            path: path.to_owned(),
            seen_in,
        }
    }

    fn proc_root() -> &'static Path {
        Path::new("/proc")
    }

    fn ourselves() -> SeenIn {
        SeenIn {
            pid: Pid(std::process::id()),
            start: 0,
            end: 0x1000,
            version: None,
        }
    }

    #[test]
    fn a_file_is_found_under_the_root_of_the_target_and_without_a_target_at_its_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lib.so");
        fs::write(&path, b"bytes").expect("written");
        for seen_in in [Some(ourselves()), None] {
            let bytes = open(proc_root(), &module(&path, seen_in)).expect("opened");
            assert_eq!(bytes.len(), 5);
        }
        let gone = SeenIn {
            pid: Pid(u32::MAX),
            ..ourselves()
        };
        assert!(open(proc_root(), &module(&path, Some(gone))).is_ok());
    }

    #[test]
    fn a_replaced_file_is_told_from_a_missing_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lib.so");
        fs::write(&path, b"old").expect("written");
        let module = module(&path, Some(ourselves()));
        let new = directory.path().join("new");
        fs::write(&new, b"new").expect("written");
        fs::rename(&new, &path).expect("replaced");
        let deleted = Module {
            path: directory.path().join("lib.so (deleted)"),
            ..module.clone()
        };
        for module in [&module, &deleted] {
            let error = open(proc_root(), module).err().expect("refused");
            assert!(matches!(error, OpenError::Changed(_)), "{error}");
        }
        fs::remove_file(&path).expect("removed");
        let error = open(proc_root(), &module).err().expect("refused");
        assert!(matches!(error, OpenError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn a_deleted_file_is_still_reached_through_its_mapping() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("proc");
        let links = root.join("42/map_files");
        fs::create_dir_all(&links).expect("made");
        let path = directory.path().join("lib.so");
        fs::write(&path, b"bytes").expect("written");
        fs::hard_link(&path, links.join("1000-2000")).expect("linked");
        let seen_in = SeenIn {
            pid: Pid(42),
            start: 0x1000,
            end: 0x2000,
            version: None,
        };
        let mut module = module(&path, Some(seen_in));
        fs::remove_file(&path).expect("removed");
        module.path = directory.path().join("lib.so (deleted)");
        assert_eq!(open(&root, &module).expect("opened").len(), 5);
    }

    #[test]
    fn a_file_that_was_written_anew_is_another_one() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lib.so");
        fs::write(&path, b"old").expect("written");
        let metadata = fs::metadata(&path).expect("there");
        let version = FileVersion {
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            size: 3,
        };
        let seen_in = |pid| SeenIn {
            pid,
            version: Some(version),
            ..ourselves()
        };
        let both = [Pid(std::process::id()), Pid(u32::MAX)];
        let modules = both.map(|pid| module(&path, Some(seen_in(pid))));
        assert!(
            modules
                .iter()
                .all(|module| open(proc_root(), module).is_ok())
        );
        // What else happens to it is of no account.
        fs::hard_link(&path, directory.path().join("other")).expect("linked");
        assert!(
            modules
                .iter()
                .all(|module| open(proc_root(), module).is_ok())
        );
        fs::write(&path, b"written anew").expect("written");
        for module in &modules {
            let error = open(proc_root(), module).err().expect("refused");
            assert!(matches!(error, OpenError::Changed(_)), "{error}");
        }
    }

    #[test]
    fn pipes_and_devices_are_refused_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("made");
        for path in [pipe.as_path(), Path::new("/dev/zero"), directory.path()] {
            let error = open(proc_root(), &module(path, None))
                .err()
                .expect("refused");
            assert!(matches!(error, OpenError::NotRegular(_)), "{error}");
        }
    }

    #[test]
    fn the_mount_table_knows_the_device_of_an_open_file() {
        let file = File::open("/proc/self/exe").expect("ourselves");
        let device = mount_device(proc_root(), &file).expect("readable");
        assert!(device.is_some());
    }

    #[test]
    fn the_vdso_is_an_elf_file_with_symbols() {
        let module = Module {
            kind: ModuleKind::Vdso,
            path: PathBuf::from("[vdso]"),
            seen_in: None,
        };
        let bytes = open(proc_root(), &module).expect("readable");
        let elf = Elf::parse(bytes).expect("is elf");
        assert!(!elf.symbols().expect("readable").is_empty());
    }
}
