//! A file that is opened here and written by the daemon. If the daemon refuses, a file that was made for it goes away again.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use crate::model::{Fault, FaultClass};

/// What becomes of what is in a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// It goes at once: the daemon writes window by window, and nobody knows when it begins.
    Emptied,
    /// It stays until the daemon has written all, see [`OutputFile::written`].
    Kept,
}

/// An open file.
#[derive(Debug)]
pub(super) struct OutputFile {
    file: File,
    /// Where it is, if it was made here and the daemon has not taken it yet.
    made: Option<PathBuf>,
}

impl OutputFile {
    /// Opens a file for writing, or makes it.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path, before: Before) -> Result<OutputFile, Fault> {
        let fault = |error: io::Error| {
            let class = match error.kind() {
                io::ErrorKind::PermissionDenied => FaultClass::Permission,
                _ => FaultClass::CannotCreate,
            };
            Fault::new(class, format!("write {}: {error}", path.display()))
                .hint("try: -o with a file in a folder that you may write to")
        };
        match File::create_new(path) {
            Ok(file) => Ok(OutputFile {
                file,
                made: Some(path.to_owned()),
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let mut options = OpenOptions::new();
                options.write(true).truncate(before == Before::Emptied);
                // A link to nothing is there too; what it names is made.
                let file = options.create(true).open(path).map_err(fault)?;
                Ok(OutputFile { file, made: None })
            }
            Err(error) => Err(fault(error)),
        }
    }

    /// The daemon has taken it: it stays.
    pub(super) fn taken(&mut self) {
        self.made = None;
    }

    /// The daemon has written so many bytes from the start on, and that is all of it.
    ///
    /// # Errors
    /// What was behind them cannot be cut off.
    pub(super) fn written(&mut self, n_bytes: u64) -> io::Result<()> {
        self.taken();
        match self.file.metadata()?.is_file() {
            true => self.file.set_len(n_bytes),
            false => Ok(()),
        }
    }
}

impl AsFd for OutputFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(path) = &self.made {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_refused_file_is_gone_if_it_is_new_and_keeps_its_content_if_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let new = folder.path().join("new");
        drop(OutputFile::open(&new, Before::Kept).expect("made"));
        assert!(!new.exists());
        let old = folder.path().join("old");
        fs::write(&old, "before").expect("written");
        drop(OutputFile::open(&old, Before::Kept).expect("opened"));
        assert_eq!(fs::read(&old).expect("there"), b"before");
        drop(OutputFile::open(&old, Before::Emptied).expect("opened"));
        assert_eq!(fs::read(&old).expect("there"), b"");
    }

    #[test]
    fn what_was_behind_the_bytes_of_the_daemon_is_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("old");
        fs::write(&path, "longer than that").expect("written");
        let mut output = OutputFile::open(&path, Before::Kept).expect("opened");
        output.file.write_all(b"new").expect("written");
        output.written(3).expect("cut off");
        drop(output);
        assert_eq!(fs::read(&path).expect("there"), b"new");
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = OutputFile::open(folder.path(), Before::Kept).expect_err("a folder");
        assert_eq!(error.class, FaultClass::CannotCreate);
    }
}
