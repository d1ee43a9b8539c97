//! A path: a regular file, or a FIFO or device that is there already.
//!
//! An existing file keeps its content until the first write: a run that does not start destroys no older profile, and a
//! file made for it is taken away again. A write that fails midway (disk full) is taken back to the last commit, so
//! that the file ends with a whole window.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, OFlag, fcntl};

use super::Carry;
use crate::sink::OpenError;

/// An open file.
#[derive(Debug)]
pub struct FileCarrier {
    path: PathBuf,
    file: File,
    kind: Kind,
    /// Made by us, so that it goes away if nothing is ever written.
    is_new: bool,
    /// Whether the old content is gone.
    is_started: bool,
    /// Length of the whole windows.
    committed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Regular,
    /// FIFO, terminal, `/dev/full`: cannot be taken back.
    Stream,
}

impl FileCarrier {
    /// Opens or makes the file; what is in it stays for now.
    pub fn open(path: &Path) -> Result<FileCarrier, OpenError> {
        let (file, is_new) = open_or_create(path).map_err(|error| explain(path, error))?;
        let error = |source| OpenError::System {
            place: path.display().to_string(),
            source,
        };
        let kind = match file.metadata().map_err(error)?.is_file() {
            true => Kind::Regular,
            false => {
                block_on_write(&file).map_err(error)?;
                Kind::Stream
            }
        };
        Ok(FileCarrier::new(path, file, kind, is_new))
    }

    /// Makes a file that must not be there yet, readable by its owner alone.
    pub fn create_new(path: &Path) -> io::Result<FileCarrier> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(FileCarrier::new(path, file, Kind::Regular, true))
    }

    fn new(path: &Path, file: File, kind: Kind, is_new: bool) -> FileCarrier {
        FileCarrier {
            path: path.to_owned(),
            file,
            kind,
            is_new,
            is_started: false,
            committed: 0,
        }
    }

    fn start(&mut self) -> io::Result<()> {
        if !self.is_started {
            if self.kind == Kind::Regular {
                self.file.set_len(0)?;
            }
            self.is_started = true;
        }
        Ok(())
    }

    /// Whether the path still leads to this file, and the file is empty.
    fn is_ours_and_empty(&self) -> io::Result<bool> {
        let here = self.file.metadata()?;
        let there = fs::symlink_metadata(&self.path)?;
        Ok(here.len() == 0 && (here.dev(), here.ino()) == (there.dev(), there.ino()))
    }
}

impl Write for FileCarrier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.start()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Carry for FileCarrier {
    fn commit(&mut self) -> io::Result<()> {
        self.start()?;
        if self.kind == Kind::Regular {
            self.committed = self.file.stream_position()?;
        }
        Ok(())
    }

    fn roll_back(&mut self) -> bool {
        if self.kind == Kind::Stream || !self.is_started {
            return !self.is_started;
        }
        let taken_back = self
            .file
            .set_len(self.committed)
            .and_then(|()| self.file.seek(SeekFrom::Start(self.committed)));
        taken_back.is_ok()
    }
}

impl Drop for FileCarrier {
    fn drop(&mut self) {
        if self.is_new && !self.is_started && self.is_ours_and_empty().unwrap_or(false) {
            // Nothing is lost if it stays: an empty file.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Without `O_CREAT` first: in a sticky directory the kernel refuses it for a file of somebody else's.
fn open_or_create(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    // A FIFO without a reader must not hold perfd up for ever.
    options
        .write(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits());
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map(|file| (file, false)),
    }
    match options.create_new(true).open(path) {
        // Somebody made it in between, or it is a symbolic link to a file that is not there yet.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let opened = options.create_new(false).create(true).open(path);
            opened.map(|file| (file, false))
        }
        opened => opened.map(|file| (file, true)),
    }
}

fn block_on_write(file: &File) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    fcntl(file, FcntlArg::F_SETFL(flags - OFlag::O_NONBLOCK))?;
    Ok(())
}

fn explain(path: &Path, source: io::Error) -> OpenError {
    let path = path.to_owned();
    let kind_of_file = || {
        fs::metadata(&path)
            .map(|metadata| metadata.file_type())
            .ok()
    };
    match source.kind() {
        io::ErrorKind::IsADirectory => OpenError::IsDirectory { path },
        io::ErrorKind::PermissionDenied => OpenError::Denied { path },
        io::ErrorKind::NotFound => match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() && !folder.exists() => {
                OpenError::NoDirectory {
                    folder: folder.to_owned(),
                    path,
                }
            }
            _ => OpenError::System {
                place: path.display().to_string(),
                source,
            },
        },
        _ if source.raw_os_error() == Some(libc::ENXIO) => match kind_of_file() {
            Some(kind) if kind.is_fifo() => OpenError::NoReader { path },
            Some(kind) if kind.is_socket() => OpenError::IsSocket { path },
            _ => OpenError::System {
                place: path.display().to_string(),
                source,
            },
        },
        _ => OpenError::System {
            place: path.display().to_string(),
            source,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    #[test]
    fn an_old_file_keeps_its_content_until_the_first_write() {
        let dir = dir();
        let path = dir.path().join("out.folded");
        fs::write(&path, "old").unwrap();
        drop(FileCarrier::open(&path).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        let mut carrier = FileCarrier::open(&path).unwrap();
        carrier.write_all(b"n").unwrap();
        carrier.commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "n");
    }

    #[test]
    fn a_commit_of_nothing_empties_an_old_file() {
        let dir = dir();
        let path = dir.path().join("out.folded");
        fs::write(&path, "old").unwrap();
        FileCarrier::open(&path).unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn a_new_file_that_nothing_was_written_to_goes_away() {
        let dir = dir();
        let path = dir.path().join("out.folded");
        drop(FileCarrier::open(&path).unwrap());
        assert!(!path.exists());
        FileCarrier::open(&path).unwrap().commit().unwrap();
        assert!(path.exists());
    }

    #[test]
    fn what_was_not_committed_can_be_taken_back() {
        let dir = dir();
        let path = dir.path().join("out.folded");
        let mut carrier = FileCarrier::open(&path).unwrap();
        carrier.write_all(b"whole\n").unwrap();
        carrier.commit().unwrap();
        carrier.write_all(b"hal").unwrap();
        assert!(carrier.roll_back());
        carrier.write_all(b"next\n").unwrap();
        carrier.commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole\nnext\n");
    }

    #[test]
    fn a_link_to_a_file_that_is_not_there_yet_is_followed() {
        let dir = dir();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("target"), &link).unwrap();
        FileCarrier::open(&link).unwrap().commit().unwrap();
        assert!(dir.path().join("target").exists());
    }

    #[test]
    fn an_error_names_the_cause_and_the_remedy() {
        let dir = dir();
        let check = |path: &Path, expected: &str| {
            let error = FileCarrier::open(path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(dir.path(), "it is a directory");
        check(&dir.path().join("no/where"), "try: mkdir -p");
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        check(&fifo, "has no reader");
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        check(&socket, "try: -o unix:");
    }

    #[test]
    fn a_fifo_with_a_reader_gets_the_bytes() {
        use std::io::Read;
        let dir = dir();
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&fifo)
            .unwrap();
        let mut carrier = FileCarrier::open(&fifo).unwrap();
        carrier.write_all(b"a 1\n").unwrap();
        carrier.commit().unwrap();
        let mut bytes = [0; 16];
        let length = reader.read(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"a 1\n");
        assert!(!carrier.roll_back());
    }
}
