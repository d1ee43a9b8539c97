//! A file that has no name until it is whole.
//!
//! `O_TMPFILE`: whatever ends perfd while it writes, nothing is left behind, because there was nothing to see. The name
//! comes by `linkat` through `/proc/self/fd`, which needs no capability. open(2) describes both.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::linkat;

/// Makes a file without a name in a folder, readable by its owner and group.
///
/// # Errors
/// Also where the folder's file system has no such files (`EOPNOTSUPP`, `EISDIR`, `ENOENT`).
pub fn create_nameless(folder: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o640)
        .open(folder)
}

/// Gives a file without a name one, which nothing else may have.
///
/// # Errors
/// The name is taken, or `/proc` is not there.
pub fn name_file(file: &File, path: &Path) -> io::Result<()> {
    let own = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    linkat(AT_FDCWD, &own, AT_FDCWD, path, AtFlags::AT_SYMLINK_FOLLOW)?;
    Ok(())
}

/// Whether an error of [`create_nameless`] means that the file system has no files without a name.
pub fn has_no_nameless_files(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
    )
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;

    use super::*;

    #[test]
    fn a_file_is_seen_when_it_has_its_name_and_takes_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let mut file = match create_nameless(dir.path()) {
            Ok(file) => file,
            Err(error) => {
                assert!(has_no_nameless_files(&error), "{error}");
                return;
            }
        };
        file.write_all(b"whole").unwrap();
        assert_eq!(names(), 0);
        let path = dir.path().join("a");
        name_file(&file, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let other = create_nameless(dir.path()).unwrap();
        let error = name_file(&other, &path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(names(), 1);
    }
}
