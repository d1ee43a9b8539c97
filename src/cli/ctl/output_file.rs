//! A file that is opened here and written by the daemon. If the daemon refuses, a file that was made for it goes away again, and one that was there keeps what
//! is in it: the daemon takes that away when it has something to write.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use crate::model::{Fault, FaultClass};

/// An open file.
#[derive(Debug)]
pub(super) struct OutputFile {
    file: File,
    /// Where it is, if it was made here and the daemon has not taken it yet.
    made: Option<PathBuf>,
}

impl OutputFile {
    /// Opens a file for writing, or makes it. What is in it stays.
    ///
    /// # Errors
    /// It cannot be opened.
    pub(super) fn open(path: &Path) -> Result<OutputFile, Fault> {
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
                options.write(true).truncate(false);
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
    use super::*;

    #[test]
    fn a_refused_file_is_gone_if_it_is_new_and_keeps_its_content_if_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let new = folder.path().join("new");
        drop(OutputFile::open(&new).expect("made"));
        assert!(!new.exists());
        let old = folder.path().join("old");
        fs::write(&old, "before").expect("written");
        drop(OutputFile::open(&old).expect("opened"));
        assert_eq!(fs::read(&old).expect("there"), b"before");
    }

    #[test]
    fn a_folder_is_no_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = OutputFile::open(folder.path()).expect_err("a folder");
        assert_eq!(error.class, FaultClass::CannotCreate);
    }
}
