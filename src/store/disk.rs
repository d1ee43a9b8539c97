//! What a store asks of a file system, and the real one.
//!
//! Names here are those that the store made, or that stand in its own folder: no path comes from outside.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::sys;

/// The beginning of the names of files that are not whole yet, where the file system has no files without a name.
const HIDDEN: &str = ".perfd-new-";

/// A file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Bytes that it takes.
    pub bytes: u64,
}

/// The operations of a store, each of which may fail.
pub trait Disk: Send {
    /// Names of the folders; those that are not text are none of ours.
    fn folders(&mut self) -> io::Result<Vec<String>>;
    /// The regular files of a folder.
    fn files(&mut self, folder: &str) -> io::Result<Vec<Entry>>;
    /// Makes a folder, if it is not there.
    fn make_folder(&mut self, folder: &str) -> io::Result<()>;
    /// Begins a file that has no name yet.
    fn create(&mut self, folder: &str) -> io::Result<Box<dyn NewFile>>;
    /// Takes a file away.
    fn remove(&mut self, folder: &str, name: &str) -> io::Result<()>;
    /// Takes a folder away, if it is empty.
    fn remove_folder(&mut self, folder: &str) -> io::Result<()>;
}

/// A file that nobody sees until it is whole. Dropped before that it was never there.
pub trait NewFile: Write {
    /// Brings what was written to the medium and gives the file its name.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken; then the file may be given another.
    fn publish(&mut self, name: &str) -> io::Result<()>;
}

/// A folder of a real file system, locked: two stores in it would remove each other's files.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    names: Names,
    _lock: Flock<File>,
    n_created: u64,
}

/// What a file is called until it is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Nothing, where the file system has files without a name.
    NoneYet,
    /// Something hidden, as on file systems that have none.
    Hidden,
}

impl RealDisk {
    /// Makes the folder if need be and locks it.
    ///
    /// # Errors
    /// `WouldBlock` if another store is in it.
    pub fn open(root: &Path, names: Names) -> io::Result<RealDisk> {
        make(root)?;
        let folder = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY)
            .open(root)?;
        let lock = Flock::lock(folder, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, error)| io::Error::from(error))?;
        Ok(RealDisk {
            root: root.to_owned(),
            names,
            _lock: lock,
            n_created: 0,
        })
    }
}

/// Readable by its owner and group: names of functions and threads say what a host does.
fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o750).create(folder)
}

impl Disk for RealDisk {
    fn folders(&mut self) -> io::Result<Vec<String>> {
        folders_of(&self.root)
    }

    fn files(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        files_of(&self.root.join(folder))
    }

    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        make(&self.root.join(folder))
    }

    fn create(&mut self, folder: &str) -> io::Result<Box<dyn NewFile>> {
        let folder = self.root.join(folder);
        if self.names == Names::NoneYet {
            match sys::create_nameless(&folder) {
                Ok(file) => return Ok(Box::new(Nameless { file, folder })),
                Err(error) if sys::has_no_nameless_files(&error) => self.names = Names::Hidden,
                Err(error) => return Err(error),
            }
        }
        self.n_created += 1;
        let name = format!("{HIDDEN}{}-{}", std::process::id(), self.n_created);
        Ok(Box::new(Hidden::create(folder, &name)?))
    }

    fn remove(&mut self, folder: &str, name: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(folder).join(name))
    }

    fn remove_folder(&mut self, folder: &str) -> io::Result<()> {
        fs::remove_dir(self.root.join(folder))
    }
}

/// Whether a file was being written when its perfd ended.
pub(super) fn is_leftover(name: &str) -> bool {
    name.starts_with(HIDDEN)
}

/// Names of the folders in a folder; links are not followed.
pub(super) fn folders_of(root: &Path) -> io::Result<Vec<String>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(root)? {
        let entry = entry?;
        if let (true, Ok(name)) = (entry.file_type()?.is_dir(), entry.file_name().into_string()) {
            folders.push(name);
        }
    }
    folders.sort();
    Ok(folders)
}

/// The regular files of a folder, by name.
pub(super) fn files_of(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        match entry.metadata() {
            Ok(found) if found.is_file() => files.push(Entry {
                name,
                bytes: found.blocks() * 512,
            }),
            Ok(_) => (),
            // Taken away since it was listed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => (),
            Err(error) => return Err(error),
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

struct Nameless {
    file: File,
    folder: PathBuf,
}

impl Write for Nameless {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl NewFile for Nameless {
    fn publish(&mut self, name: &str) -> io::Result<()> {
        self.file.sync_data()?;
        sys::name_file(&self.file, &self.folder.join(name))
    }
}

/// A file with a name that is none of ours, taken away if it gets no other.
struct Hidden {
    file: File,
    folder: PathBuf,
    path: Option<PathBuf>,
}

impl Hidden {
    fn create(folder: PathBuf, name: &str) -> io::Result<Hidden> {
        let path = folder.join(name);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o640)
            .open(&path)?;
        Ok(Hidden {
            file,
            folder,
            path: Some(path),
        })
    }
}

impl Write for Hidden {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl NewFile for Hidden {
    fn publish(&mut self, name: &str) -> io::Result<()> {
        self.file.sync_data()?;
        let to = self.folder.join(name);
        // Nobody else writes here, so that nobody takes the name in between.
        if to.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if let Some(path) = &self.path {
            fs::rename(path, to)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // If this fails too, the next start takes it away.
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_files(disk: &mut RealDisk) -> Vec<String> {
        let files = disk.files("t").unwrap();
        files.into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn a_file_of_either_kind_is_there_when_it_is_whole() {
        for names in [Names::NoneYet, Names::Hidden] {
            let dir = tempfile::tempdir().unwrap();
            let mut disk = RealDisk::open(dir.path(), names).unwrap();
            disk.make_folder("t").unwrap();
            let mut file = disk.create("t").unwrap();
            file.write_all(b"half").unwrap();
            assert!(all_files(&mut disk).iter().all(|name| is_leftover(name)));
            drop(file);
            assert_eq!(all_files(&mut disk), [""; 0]);
            let mut file = disk.create("t").unwrap();
            file.write_all(b"whole").unwrap();
            file.publish("a").unwrap();
            assert_eq!(all_files(&mut disk), ["a"]);
            let mut other = disk.create("t").unwrap();
            let taken = other.publish("a").unwrap_err();
            assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
            other.publish("b").unwrap();
            drop(other);
            assert_eq!(all_files(&mut disk), ["a", "b"]);
            assert_eq!(fs::read(dir.path().join("t/a")).unwrap(), b"whole");
            disk.remove("t", "a").unwrap();
            disk.remove("t", "b").unwrap();
            disk.remove_folder("t").unwrap();
            assert_eq!(disk.folders().unwrap(), [""; 0]);
        }
    }

    #[test]
    fn a_folder_has_one_store_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let open = || RealDisk::open(dir.path(), Names::NoneYet);
        let first = open().unwrap();
        let error = open().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        open().unwrap();
    }
}
