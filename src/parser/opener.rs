//! What perfd opens for its child: the rules by which foreign files may be read.
//!
//! The child is taken for an enemy. It may have, open for reading: regular files that begin as ELF files do, in the tree of a process
//! whose module it was given, or in perfd's own; what runtimes of targets leave for profilers, by the rules of
//! [`jit_file`](crate::procfs::jit_file); files of the cache under a key that is made of files that it was given. It may write
//! to files without a name, which get one by perfd, under such a key.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use super::message::{Ask, Bytes, Reply, WhyNot};
use super::process::About;
use crate::debug_files::{Found, NotFound, OwnTrees, Trees};
use crate::model::Pid;
use crate::object::ReadAt;
use crate::procfs::jit_file::{ProcessRoot, Temporary};
use crate::symbolize::{CacheFolder, Config};

/// The first bytes of every ELF file.
const MAGIC: [u8; 4] = [0x7f, b'E', b'L', b'F'];
/// Files that are being written for the cache at a time.
const MAX_CREATED: usize = 512;
/// Files and processes of a child that are remembered. Real hosts have some thousand.
const MAX_KNOWN: usize = 1 << 16;
/// Bytes of a key: what a file's name may have, less the number behind it.
const MAX_KEY: usize = 240;
/// Bytes of a path, as in the kernel.
const MAX_PATH: usize = 4096;

/// Opens files for one child.
pub(super) struct Opener {
    trees: OwnTrees,
    proc_root: PathBuf,
    cache: Option<CacheFolder>,
    /// Processes whose modules the child was given.
    pids: FxHashSet<Pid>,
    /// Stamps of the files that it was given, as they stand in keys.
    stamps: FxHashSet<String>,
    /// Processes whose runtimes' files it reads.
    watched: FxHashSet<Pid>,
    /// Roots that it has, by number.
    roots: FxHashMap<u32, ProcessRoot>,
    next_root: u32,
    /// Files that were made for it and have no name yet, with their inodes.
    created: Vec<(u64, File)>,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").finish_non_exhaustive()
    }
}

impl Opener {
    /// For children that name by `config`.
    pub(super) fn new(config: &Config) -> Opener {
        Opener {
            trees: OwnTrees::new(&config.proc_root),
            cache: config.cache.clone(),
            pids: FxHashSet::default(),
            stamps: FxHashSet::default(),
            proc_root: config.proc_root.clone(),
            watched: FxHashSet::default(),
            roots: FxHashMap::default(),
            next_root: 0,
            created: Vec::new(),
        }
    }

    /// The child may read what the runtime of this process writes.
    pub(super) fn watched(&mut self, pid: Pid) {
        self.watched.insert(pid);
    }

    /// It may not any more.
    pub(super) fn not_watched(&mut self, pid: Pid) {
        self.watched.remove(&pid);
    }

    /// The child is given this file.
    pub(super) fn about(&mut self, about: &About<'_>) {
        if self.pids.len() < MAX_KNOWN {
            self.pids.extend(about.pid);
        }
        self.given(about.file);
    }

    /// The next child has been given nothing.
    pub(super) fn forget_child(&mut self) {
        self.pids.clear();
        self.stamps.clear();
        self.created.clear();
        self.watched.clear();
        self.roots.clear();
    }

    /// Does what the child asks for. `None`: no child of ours asks that.
    pub(super) fn serve(&mut self, ask: Ask) -> Option<(Reply, Vec<File>)> {
        match ask {
            Ask::HasOwnTree(pid) => {
                let pid = self.known(pid)?;
                let is_there = self.trees.of_process(pid).is_some();
                Some((if is_there { Reply::Yes } else { Reply::No }, Vec::new()))
            }
            Ask::Open { pid, path } => {
                let pid = match pid {
                    Some(pid) => Some(self.known(pid)?),
                    None => None,
                };
                if path.0.len() > MAX_PATH {
                    return None;
                }
                Some(match self.open(pid, &path.into_path()) {
                    Ok(Found { file, real_path }) => {
                        self.given(&file);
                        let real_path = real_path.as_deref().map(Bytes::of_path);
                        (Reply::Opened { real_path }, vec![file])
                    }
                    Err(why) => (Reply::NotOpened(why), Vec::new()),
                })
            }
            Ask::Files { key } => {
                let files = self.cache(&key)?.shelf().files(&key);
                let numbers = files.iter().map(|(number, _)| u32::try_from(*number));
                let numbers = numbers.collect::<Result<Vec<u32>, _>>().ok()?;
                let files = files.into_iter().map(|(_, file)| file).collect();
                Some((Reply::Files(numbers), files))
            }
            Ask::Create => {
                let has_room = self.created.len() < MAX_CREATED;
                let cache = self.cache.as_ref()?;
                let created = has_room.then(|| cache.shelf().create()).flatten();
                Some(match created.and_then(|file| self.keep_hold(file).ok()) {
                    Some(file) => (Reply::Created, vec![file]),
                    None => (Reply::No, Vec::new()),
                })
            }
            Ask::Keep { inode, key } => {
                let at = self.created.iter().position(|(known, _)| *known == inode)?;
                let (_, file) = self.created.swap_remove(at);
                self.cache(&key)?.shelf().keep(&file, &key);
                Some((Reply::Done, Vec::new()))
            }
            Ask::Root(pid) => {
                let pid = *self.watched.get(&Pid(pid))?;
                if self.roots.len() >= MAX_KNOWN {
                    return None;
                }
                let Ok(root) = ProcessRoot::open(&self.proc_root, pid) else {
                    return Some((Reply::No, Vec::new()));
                };
                let (number, own_pid) = (self.next_root, root.own_pid);
                self.next_root = number.checked_add(1)?;
                self.roots.insert(number, root);
                let root = number;
                Some((Reply::Root { root, own_pid }, Vec::new()))
            }
            Ask::IsAlive(root) => {
                let is_alive = self.roots.get(&root)?.is_alive();
                Some((if is_alive { Reply::Yes } else { Reply::No }, Vec::new()))
            }
            Ask::Temporary {
                root,
                kind,
                max_size,
            } => {
                let root = self.roots.get_mut(&root)?;
                let name = kind.name(root.own_pid);
                Some(match root.open_temporary(&name, max_size) {
                    Ok(Some(Temporary { file, is_stale })) => {
                        (Reply::Temporary { is_stale }, vec![file])
                    }
                    Ok(None) => (Reply::No, Vec::new()),
                    Err(refused) => (Reply::Refused(refused), Vec::new()),
                })
            }
            Ask::LetGo(root) => {
                self.roots.remove(&root)?;
                Some((Reply::Done, Vec::new()))
            }
            Ask::Remove { key, number } => {
                let number = usize::try_from(number).ok()?;
                self.cache(&key)?.shelf().remove(&key, number);
                Some((Reply::Done, Vec::new()))
            }
        }
    }

    fn known(&self, pid: u32) -> Option<Pid> {
        self.pids.get(&Pid(pid)).copied()
    }

    fn open(&self, pid: Option<Pid>, path: &Path) -> Result<Found, WhyNot> {
        let tree = match pid {
            Some(pid) => self.trees.of_process(pid),
            None => self.trees.host(),
        };
        let tree = tree.ok_or(WhyNot::Errno(libc::ENOENT))?;
        let found = tree.open(path).map_err(|error| match error {
            NotFound::Unreadable(error) => why_not(&error),
            NotFound::NotRegular => WhyNot::NotRegular,
            NotFound::NotElf => WhyNot::NotElf,
        })?;
        match begins_as_elf(&found.file) {
            Ok(true) => Ok(found),
            Ok(false) => Err(WhyNot::NotElf),
            Err(error) => Err(why_not(&error)),
        }
    }

    /// The cache, if the key is one that this child may use: a build id, and the stamps of files that it was given.
    fn cache(&self, key: &str) -> Option<&CacheFolder> {
        let (build_id, stamps) = key.split_once('-')?;
        let is_hex = build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let are_given = stamps.split('-').all(|stamp| self.stamps.contains(stamp));
        let is_ours = key.len() <= MAX_KEY && is_hex && are_given;
        self.cache.as_ref().filter(|_| is_ours)
    }

    fn given(&mut self, file: &File) {
        if self.stamps.len() < MAX_KNOWN {
            self.stamps
                .extend(file.stamp().map(|stamp| stamp.to_string()));
        }
    }

    /// Keeps a second descriptor of a file that the child gets.
    fn keep_hold(&mut self, file: File) -> io::Result<File> {
        let inode = file.metadata()?.ino();
        self.created.push((inode, file.try_clone()?));
        Ok(file)
    }
}

/// Whether a file's first bytes are those of an ELF file.
pub(super) fn begins_as_elf(file: &File) -> io::Result<bool> {
    let mut first = [0; MAGIC.len()];
    match file.read_exact_at(&mut first, 0) {
        Ok(()) => Ok(first == MAGIC),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn why_not(error: &io::Error) -> WhyNot {
    WhyNot::Errno(error.raw_os_error().unwrap_or(libc::EIO))
}
