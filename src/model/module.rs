//! Modules: the files (and the few things that are not files) that code lives in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::Pid;

/// A module's number in its run's [`Modules`] table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(pub u32);

/// The bytes of an ELF `NT_GNU_BUILD_ID` note.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildId(pub Box<[u8]>);

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What kind of thing a module is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ModuleKind {
    /// The running kernel with its loadable modules.
    Kernel,
    /// The code page that the kernel maps into every process.
    Vdso,
    /// A file, by the identity it had when it was mapped.
    File {
        /// Device number, as `stat` gives it (`st_dev`).
        dev: u64,
        /// Inode number.
        inode: u64,
    },
    /// Memory of one process that has no file: JIT code, heaps, `memfd` without a name. Its offsets are addresses.
    Anonymous {
        /// Whose memory it is.
        pid: Pid,
        /// Code in it may be replaced by other code: the times between which it was are told apart by number. Mappings have 0; stacks get
        /// theirs when they are counted.
        epoch: u32,
    },
    /// The functions of Python programs: the offset of a frame is the number of its name in the run.
    Python,
}

/// One module of a run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Module {
    /// What it is.
    pub kind: ModuleKind,
    /// The path under which the target mapped it, in the target's mount namespace; `[vdso]`, `[kernel]` or `[anon]` where there is none.
    pub path: PathBuf,
    /// A process that has (or had) it mapped, and where: the way to the file is through
    /// `/proc/PID/map_files/START-END`, else `/proc/PID/root`. Not part of the identity.
    pub seen_in: Option<SeenIn>,
}

/// A place where a module was seen mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeenIn {
    /// The process.
    pub pid: Pid,
    /// First address of the mapping.
    pub start: u64,
    /// Address behind the mapping's last byte.
    pub end: u64,
    /// The state of its file then; `None` where that could not be learnt.
    pub version: Option<FileVersion>,
}

/// A state of a file: that of the same device and inode which is written anew, or removed and made again, has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileVersion {
    /// When its inode was changed for the last time, which nobody can choose: seconds and nanoseconds.
    pub changed: (i64, i64),
    /// When its content was, as far as its owner says so.
    pub modified: (i64, i64),
    /// Bytes.
    pub size: u64,
}

impl FileVersion {
    /// Whether the content is the same, as far as that can be told: links to a file may come and go.
    pub fn has_content_of(self, other: FileVersion) -> bool {
        (self.modified, self.size) == (other.modified, other.size)
    }
}

impl Module {
    /// The short name of unnamed frames: the path's last component, or the bracketed kind.
    pub fn short_name(&self) -> String {
        let name = match self.path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => self.path.to_string_lossy().into_owned(),
        };
        // The kernel's mark of a file that has been unlinked.
        name.strip_suffix(" (deleted)")
            .map_or(name.clone(), str::to_owned)
    }
}

/// The modules of a run, each once. Ids are given in order of first sight and never change meaning.
#[derive(Debug)]
pub struct Modules {
    modules: Vec<Arc<Module>>,
    ids: FxHashMap<(ModuleKind, PathBuf), ModuleId>,
}

impl Modules {
    /// The kernel is the first module of every run.
    pub const KERNEL: ModuleId = ModuleId(0);

    /// A table that holds the kernel alone.
    pub fn new() -> Modules {
        let mut modules = Modules {
            modules: Vec::new(),
            ids: FxHashMap::default(),
        };
        modules.intern(Module {
            kind: ModuleKind::Kernel,
            path: PathBuf::from("[kernel]"),
            seen_in: None,
        });
        modules
    }

    /// The id of `module`, which is added if its kind and path are new, or its file is another than the one of that inode before. One that no
    /// process was seen in is from now on seen in this one's.
    pub fn intern(&mut self, module: Module) -> ModuleId {
        let next = ModuleId(
            u32::try_from(self.modules.len()).expect("under 2³² modules: memory ends first"),
        );
        let key = (module.kind.clone(), module.path.clone());
        let version = |module: &Module| module.seen_in.and_then(|seen_in| seen_in.version);
        let known = self.ids.get(&key).copied();
        if let Some(id) = known
            && let Some(known) = self.modules.get_mut(id.0 as usize)
        {
            match (version(known), version(&module)) {
                (Some(before), Some(now)) if before != now => (),
                // That of the first who could tell.
                (None, Some(_)) => {
                    *known = Arc::new(module);
                    return id;
                }
                (Some(_) | None, _) => {
                    if known.seen_in.is_none() && module.seen_in.is_some() {
                        *known = Arc::new(module);
                    }
                    return id;
                }
            }
        }
        self.ids.insert(key, next);
        self.modules.push(Arc::new(module));
        next
    }

    /// The id that a module of this kind and path has now.
    pub fn find(&self, kind: &ModuleKind, path: &Path) -> Option<ModuleId> {
        self.ids.get(&(kind.clone(), path.to_owned())).copied()
    }

    /// The module behind an id of this table.
    pub fn get(&self, id: ModuleId) -> &Arc<Module> {
        &self.modules[id.0 as usize]
    }

    /// The modules from a number on.
    pub fn from(&self, first: usize) -> &[Arc<Module>] {
        self.modules.get(first..).unwrap_or_default()
    }

    /// Number of modules.
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// Never true: the kernel is always there.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }
}

impl Default for Modules {
    fn default() -> Self {
        Modules::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_another_state_is_another_module() {
        let mut modules = Modules::new();
        let mut intern = |version: Option<(i64, u64)>| {
            modules.intern(Module {
                kind: ModuleKind::File { dev: 1, inode: 2 },
                path: "/bin/x".into(),
                seen_in: Some(SeenIn {
                    pid: Pid(1),
                    start: 0,
                    end: 1,
                    version: version.map(|(changed, size)| FileVersion {
                        changed: (changed, 0),
                        modified: (0, 0),
                        size,
                    }),
                }),
            })
        };
        // Where it cannot be learnt, it is what it was.
        let first = intern(None);
        assert_eq!(intern(Some((5, 3))), first);
        assert_eq!(intern(None), first);
        assert_eq!(intern(Some((5, 3))), first);
        let second = intern(Some((6, 3)));
        assert_ne!(second, first);
        assert_eq!(intern(Some((6, 3))), second);
        assert_eq!(intern(None), second);
        assert_eq!(modules.len(), 3);
    }
}
