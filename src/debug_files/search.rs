//! The search for separate debug files, and for what several of them have in common.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::candidate::{self, Mismatch, Refused};
use super::debuginfod::{self, Client};
use super::{DebugFile, NotFound, Origin, OwnTrees, Tree, Trees};
use crate::model::{BuildId, Pid};
use crate::object::{Elf, ElfError};

/// A shorter build id does not tell files apart: the shortest that a linker makes has eight bytes.
const MIN_BUILD_ID: usize = 8;
/// Files that are told of when they do not match.
const MAX_REFUSED: usize = 8;

/// Where to look.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folders with debug files, in every tree.
    pub roots: Vec<PathBuf>,
    /// Servers to ask for what is in none of them.
    pub debuginfod: Option<debuginfod::Config>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            roots: vec![PathBuf::from("/usr/lib/debug")],
            debuginfod: None,
        }
    }
}

/// Finds files with debug information. It can be asked from several threads; those that ask a server wait for each other.
pub struct DebugFiles {
    roots: Vec<PathBuf>,
    trees: Box<dyn Trees>,
    debuginfod: Option<Client>,
    refused: Mutex<Vec<Refused>>,
}

/// A tree to look in, and the process whose it is.
struct Place<'a> {
    tree: Box<dyn Tree + 'a>,
    pid: Option<Pid>,
}

impl DebugFiles {
    /// Looks for nothing yet.
    pub fn new(proc_root: &Path, config: Config) -> DebugFiles {
        DebugFiles::within(Box::new(OwnTrees::new(proc_root)), config)
    }

    /// The same, in trees that somebody else opens files of.
    pub fn within(trees: Box<dyn Trees>, config: Config) -> DebugFiles {
        DebugFiles {
            roots: config.roots,
            trees,
            debuginfod: config.debuginfod.map(Client::new),
            refused: Mutex::default(),
        }
    }

    /// The debug file that was split off from `elf`: by build id, by `.gnu_debuglink`, from a server.
    pub fn separate(&self, elf: &Elf, origin: &Origin) -> Option<DebugFile> {
        let build_id = elf.build_id();
        let by_build_id = |build_id| self.in_roots(build_id, origin);
        build_id
            .as_ref()
            .and_then(by_build_id)
            .or_else(|| self.linked(elf, build_id.as_ref(), origin))
            .or_else(|| self.served(build_id.as_ref()?))
    }

    /// The file that holds what the debug information of `elf` has in common with that of others. `origin` is that of
    /// `elf`, which may be a debug file itself.
    pub fn alternate(&self, elf: &Elf, origin: &Origin) -> Option<DebugFile> {
        let link = elf.alternate_link().ok()??;
        let path = beside(origin, OsStr::from_bytes(&link.path));
        let check = |file| candidate::by_build_id(file, &link.build_id);
        self.in_roots(&link.build_id, origin)
            .or_else(|| self.first(origin, &[path], check))
            .or_else(|| self.served(&link.build_id))
    }

    /// What the user should know of the search: servers that do not answer, files that are there and do not fit.
    pub fn notes(&self) -> Vec<String> {
        let refused = self.refused();
        let refused = refused
            .iter()
            .map(|refused| format!("debug file {refused}"));
        let servers = self.debuginfod.as_ref().and_then(Client::note);
        refused.chain(servers).collect()
    }

    /// The first of several paths where the right file is, in the tree of the process, then in perfd's.
    pub(super) fn first(
        &self,
        origin: &Origin,
        paths: &[PathBuf],
        check: impl Fn(File) -> Result<Elf, Mismatch>,
    ) -> Option<DebugFile> {
        let target = origin.pid.and_then(|pid| self.trees.of_process(pid));
        let in_target = target.map(|tree| Place {
            tree,
            pid: origin.pid,
        });
        let on_host = std::iter::once_with(|| {
            let tree = self.trees.host()?;
            Some(Place { tree, pid: None })
        });
        let on_host = on_host.flatten();
        in_target.into_iter().chain(on_host).find_map(|place| {
            paths
                .iter()
                .find_map(|path| self.take(&place, path, &check))
        })
    }

    fn in_roots(&self, build_id: &BuildId, origin: &Origin) -> Option<DebugFile> {
        let below = build_id_path(build_id)?;
        let paths: Vec<PathBuf> = self.roots.iter().map(|root| root.join(&below)).collect();
        self.first(origin, &paths, |file| {
            candidate::by_build_id(file, build_id)
        })
    }

    fn linked(&self, elf: &Elf, build_id: Option<&BuildId>, origin: &Origin) -> Option<DebugFile> {
        let link = elf.debug_link().ok()??;
        let name = OsStr::from_bytes(&link.file_name);
        let folder = origin.path.parent().unwrap_or(Path::new("/"));
        let mut paths = vec![folder.join(name), folder.join(".debug").join(name)];
        let below = folder.strip_prefix("/").unwrap_or(folder);
        paths.extend(self.roots.iter().map(|root| root.join(below).join(name)));
        self.first(origin, &paths, |file| {
            candidate::by_link(file, &link, build_id)
        })
    }

    fn served(&self, build_id: &BuildId) -> Option<DebugFile> {
        if build_id.0.len() < MIN_BUILD_ID {
            return None;
        }
        let (elf, path) = self.debuginfod.as_ref()?.debug_file(build_id)?;
        let origin = Origin { path, pid: None };
        Some(DebugFile { elf, origin })
    }

    fn take(
        &self,
        place: &Place<'_>,
        path: &Path,
        check: impl Fn(File) -> Result<Elf, Mismatch>,
    ) -> Option<DebugFile> {
        let open = || -> Result<(Elf, Option<PathBuf>), Mismatch> {
            let found = place.tree.open(path).map_err(|error| match error {
                NotFound::Unreadable(error) => Mismatch::Unreadable(error),
                NotFound::NotRegular => Mismatch::NotRegular,
                NotFound::NotElf => Mismatch::Elf(ElfError::NotElf),
            })?;
            Ok((check(found.file)?, found.real_path))
        };
        match open() {
            Ok((elf, real_path)) => Some(DebugFile {
                elf,
                origin: Origin {
                    path: real_path.unwrap_or_else(|| path.to_owned()),
                    pid: place.pid,
                },
            }),
            Err(Mismatch::Unreadable(error)) if is_absence(&error) => None,
            Err(Mismatch::Stripped) => None,
            Err(why) => {
                self.refuse(path, why);
                None
            }
        }
    }

    fn refuse(&self, path: &Path, why: Mismatch) {
        let mut refused = self.refused();
        let is_known = refused.iter().any(|refused| refused.path == path);
        if !is_known && refused.len() < MAX_REFUSED {
            let path = path.to_owned();
            refused.push(Refused { path, why });
        }
    }

    fn refused(&self) -> MutexGuard<'_, Vec<Refused>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `.build-id/xx/yyyy.debug`, in lower case; `None` for an id that does not tell files apart.
fn build_id_path(build_id: &BuildId) -> Option<PathBuf> {
    if build_id.0.len() < MIN_BUILD_ID {
        return None;
    }
    let digits = build_id.to_string();
    let (first, rest) = digits.split_at_checked(2)?;
    Some(PathBuf::from(format!(".build-id/{first}/{rest}.debug")))
}

/// A path that a file gives, seen from the folder where the file lies.
pub(super) fn beside(origin: &Origin, path: &OsStr) -> PathBuf {
    let folder = origin.path.parent().unwrap_or(Path::new("/"));
    folder.join(path)
}

/// Whether it means that there is nothing to be told of.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_id_is_a_folder_and_a_file() {
        let id = BuildId(Box::from([0xab, 0xcd, 0xef, 1, 2, 3, 4, 5]));
        let path = build_id_path(&id).expect("long enough");
        assert_eq!(path, Path::new(".build-id/ab/cdef0102030405.debug"));
        assert_eq!(build_id_path(&BuildId(Box::from([1; 7]))), None);
    }

    #[test]
    fn it_can_be_asked_from_several_threads() {
        fn assert_sync<T: Send + Sync>() {}
        assert_sync::<DebugFiles>();
    }
}
