//! Which state of a file a process has mapped: a program that is built anew in the place of another may get its inode, and is another module all
//! the same.
//!
//! Looked up when a mapping is heard of, once for all that were made until then: no more often than records are read.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::major;
use rustc_hash::FxHashMap;

use crate::model::{FileVersion, Module, ModuleId, ModuleKind, Modules, MonoNs, Pid, SeenIn};
use crate::procfs::maps::MapsLine;
use crate::sys::{self, VersionedFile, version_at, version_behind_link};

/// The states of the files of all modules.
#[derive(Debug)]
pub(super) struct Versions {
    proc_root: PathBuf,
    /// When each module's file was looked at the last time.
    looked: FxHashMap<ModuleId, MonoNs>,
}

impl Versions {
    pub(super) fn new(proc_root: PathBuf) -> Versions {
        Versions {
            proc_root,
            looked: FxHashMap::default(),
        }
    }

    /// The module that a process has mapped at `since`: a new one, if its file is in another state than when that was last mapped.
    pub(super) fn intern(
        &mut self,
        modules: &mut Modules,
        (pid, since): (Pid, MonoNs),
        line: &MapsLine,
        (kind, path): (ModuleKind, PathBuf),
    ) -> ModuleId {
        let known = modules.find(&kind, &path);
        // Whatever was mapped before a file was looked at, it was what it was then, or an older one.
        let is_looked_at = |known: &ModuleId| self.looked.get(known).is_some_and(|at| since <= *at);
        if let Some(known) = known.filter(is_looked_at) {
            return known;
        }
        let now = sys::now();
        let version = match kind {
            ModuleKind::File { dev, inode } => self.version(pid, since, line, (dev, inode)),
            _ => None,
        };
        let is_file = matches!(kind, ModuleKind::File { .. });
        let module = modules.intern(Module {
            kind,
            path,
            seen_in: Some(SeenIn {
                pid,
                start: line.start.0,
                end: line.end.0,
                version,
            }),
        });
        if is_file {
            self.looked.insert(module, now);
        }
        module
    }

    fn version(
        &self,
        pid: Pid,
        since: MonoNs,
        line: &MapsLine,
        (dev, inode): (u64, u64),
    ) -> Option<FileVersion> {
        let is_it = |found: &VersionedFile| found.inode == inode;
        if let Some(mapped) = self.mapped(pid, line).filter(is_it) {
            return Some(mapped.version);
        }
        let found = self.at_path(pid, &line.path).filter(is_it)?;
        let is_same_device = found.dev == dev || major(found.dev) == 0 || major(dev) == 0;
        // One that was written since may have been another when it was mapped.
        let is_older = ns(found.version.changed) <= sys::unix_ns_at(since);
        (is_same_device && is_older).then_some(found.version)
    }

    /// The very file that is mapped, while it is.
    fn mapped(&self, pid: Pid, line: &MapsLine) -> Option<VersionedFile> {
        let process = self.proc_root.join(pid.to_string());
        let (start, end) = (line.start.0, line.end.0);
        let link = process.join(format!("map_files/{start:x}-{end:x}"));
        version_behind_link(&link).ok().or_else(|| {
            let exe = process.join("exe");
            let is_exe = std::fs::read_link(&exe).is_ok_and(|linked| linked == line.path);
            is_exe.then(|| version_behind_link(&exe).ok()).flatten()
        })
    }

    /// What is at the path now, as the process sees it, or perfd if that has ended.
    fn at_path(&self, pid: Pid, path: &Path) -> Option<VersionedFile> {
        let open = |root: &Path| File::open(root).ok();
        let root = open(&self.proc_root.join(pid.to_string()).join("root"));
        let root = root.or_else(|| open(Path::new("/")))?;
        version_at(root.as_fd(), path).ok()
    }
}

fn ns((seconds, nanos): (i64, i64)) -> u64 {
    let seconds = u64::try_from(seconds).unwrap_or(0);
    let nanos = u64::try_from(nanos).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
