//! The table of processes and threads of a run, kept by records in time order.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::model::{
    AddressSpace, Avma, FileOffset, Mapping, Module, ModuleId, ModuleKind, Modules, MonoNs, Pid,
    SeenIn, Tid,
};
use crate::procfs::{maps, tasks};
use crate::sys::record::SideBand;

/// A thread name's number in [`Comms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommId(pub u32);

/// The distinct thread names of a run.
#[derive(Debug, Default)]
pub struct Comms {
    names: Vec<Arc<str>>,
    ids: FxHashMap<Arc<str>, CommId>,
}

impl Comms {
    /// The number of a name; bytes that are not UTF-8 are kept as `\xNN`.
    pub fn intern(&mut self, raw: &[u8]) -> CommId {
        let name: String = raw
            .utf8_chunks()
            .flat_map(|chunk| {
                let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
                std::iter::once(chunk.valid().to_owned()).chain(invalid)
            })
            .collect();
        if let Some(id) = self.ids.get(name.as_str()) {
            return *id;
        }
        let id = CommId(u32::try_from(self.names.len()).expect("memory ends before 2³² names"));
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.ids.insert(name, id);
        id
    }

    /// The names from a number on.
    pub fn from(&self, first: usize) -> &[Arc<str>] {
        self.names.get(first..).unwrap_or_default()
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The name behind a number of this table.
    pub fn get(&self, id: CommId) -> &Arc<str> {
        &self.names[id.0 as usize]
    }
}

/// What is known of a thread.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// Its process.
    pub pid: Pid,
    /// Its name now.
    pub comm: CommId,
    /// Whether it came up during the run, and did not stand in `/proc` when its process was added.
    pub is_new: bool,
}

/// What a record changed, as far as other stages need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A module is mapped: its unwind rows will be wanted.
    Mapped(ModuleId),
    /// A thread or process was created.
    Forked {
        /// The creating thread.
        parent: Tid,
        /// The new thread.
        child: Tid,
    },
    /// A thread ended.
    Exited(Tid),
    /// Nothing of that kind.
    Nothing,
}

/// All processes seen in a run.
#[derive(Debug)]
pub struct Processes {
    proc_root: PathBuf,
    spaces: FxHashMap<Pid, AddressSpace>,
    tasks: FxHashMap<Tid, Task>,
    /// Modules of all processes.
    pub modules: Modules,
    /// Names of all threads.
    pub comms: Comms,
}

impl Processes {
    /// No process yet; `/proc` is looked for at `proc_root`.
    pub fn new(proc_root: PathBuf) -> Processes {
        Processes {
            proc_root,
            spaces: FxHashMap::default(),
            tasks: FxHashMap::default(),
            modules: Modules::new(),
            comms: Comms::default(),
        }
    }

    /// Adds a running process as `/proc` shows it: its threads' names and its mappings, which hold from `since` on.
    /// Returns the modules it has mapped.
    ///
    /// # Errors
    /// Those of reading `/proc/PID/maps`.
    pub fn add_running(&mut self, pid: Pid, since: MonoNs) -> io::Result<Vec<ModuleId>> {
        self.spaces.entry(pid).or_default();
        let lines = maps::executable(&self.proc_root, pid)?;
        for tid in tasks::threads(&self.proc_root, pid).unwrap_or_default() {
            if let Ok(comm) = tasks::comm(&self.proc_root, pid, tid) {
                let comm = self.comms.intern(&comm);
                let is_new = self.tasks.get(&tid).is_some_and(|task| task.is_new);
                self.tasks.insert(tid, Task { pid, comm, is_new });
            }
        }
        let mut mapped = Vec::new();
        for line in lines {
            mapped.extend(self.map(pid, since, &line));
        }
        Ok(mapped)
    }

    /// Adds a process of which nothing is known yet but its name.
    pub fn add_empty(&mut self, pid: Pid, comm: &[u8]) {
        let comm = self.comms.intern(comm);
        self.spaces.entry(pid).or_default();
        self.tasks.insert(
            pid.main_thread(),
            Task {
                pid,
                comm,
                is_new: false,
            },
        );
    }

    /// Whether the parent of a process, as `/proc` shows it now, is one of the table.
    pub fn is_child_of_known(&self, pid: Pid) -> bool {
        tasks::stat(&self.proc_root, pid).is_ok_and(|stat| self.spaces.contains_key(&stat.parent))
    }

    /// The name of a thread that no record has named, from `/proc`; `[unknown]` if it is gone.
    pub fn learn_comm(&mut self, pid: Pid, tid: Tid) -> CommId {
        let comm = match tid {
            Tid(0) => Ok(b"swapper".to_vec()),
            _ => tasks::comm(&self.proc_root, pid, tid),
        };
        let comm = self.comms.intern(comm.as_deref().unwrap_or(b"[unknown]"));
        self.tasks.insert(
            tid,
            Task {
                pid,
                comm,
                is_new: true,
            },
        );
        comm
    }

    /// What a process has mapped; `None` if it was never heard of.
    pub fn space(&self, pid: Pid) -> Option<&AddressSpace> {
        self.spaces.get(&pid)
    }

    /// What is known of a thread.
    pub fn task(&self, tid: Tid) -> Option<&Task> {
        self.tasks.get(&tid)
    }

    /// The living threads that came up during the run.
    pub fn new_threads(&self) -> impl Iterator<Item = (Pid, Tid)> {
        let new = self.tasks.iter().filter(|(_, task)| task.is_new);
        new.map(|(tid, task)| (task.pid, *tid))
    }

    /// Applies one record.
    pub fn apply(&mut self, time: MonoNs, record: &SideBand<'_>) -> Change {
        match record.clone() {
            SideBand::Mmap {
                executable: false, ..
            } => Change::Nothing,
            SideBand::Mmap {
                pid,
                start,
                length,
                file_offset,
                dev,
                inode,
                path,
                ..
            } => {
                let line = maps::MapsLine {
                    start,
                    end: Avma(start.0.saturating_add(length)),
                    executable: true,
                    file_offset,
                    dev,
                    inode,
                    path: PathBuf::from(OsStr::from_bytes(&path)),
                };
                self.map(pid, time, &line)
                    .map_or(Change::Nothing, Change::Mapped)
            }
            SideBand::Comm {
                pid,
                tid,
                comm,
                by_exec,
            } => {
                let comm = self.comms.intern(&comm);
                let is_new = self.tasks.get(&tid).is_some_and(|task| task.is_new);
                self.tasks.insert(tid, Task { pid, comm, is_new });
                if by_exec {
                    self.spaces.entry(pid).or_default().clear();
                }
                Change::Nothing
            }
            SideBand::Fork {
                pid,
                parent_pid,
                tid,
                parent_tid,
            } => {
                if pid != parent_pid
                    && let Some(space) = self.spaces.get(&parent_pid)
                {
                    let space = space.clone();
                    self.spaces.insert(pid, space);
                }
                if let Some(parent) = self.tasks.get(&parent_tid) {
                    let child = Task {
                        pid,
                        comm: parent.comm,
                        is_new: true,
                    };
                    self.tasks.insert(tid, child);
                }
                Change::Forked {
                    parent: parent_tid,
                    child: tid,
                }
            }
            SideBand::Exit { pid, tid } => {
                self.tasks.remove(&tid);
                // The address space goes with the last thread, but the leader's record may come before those of
                // threads that still run; a space is small, so it stays until the pid comes back as a fork.
                let _ = pid;
                Change::Exited(tid)
            }
            SideBand::Lost { .. } | SideBand::Throttled { .. } | SideBand::Other => Change::Nothing,
        }
    }

    fn map(&mut self, pid: Pid, since: MonoNs, line: &maps::MapsLine) -> Option<ModuleId> {
        let (kind, path) = match line.path.as_os_str().as_bytes() {
            b"[vdso]" => (ModuleKind::Vdso, PathBuf::from("[vdso]")),
            // The page of the old vsyscalls is emulated: no user code ever runs there.
            b"[vsyscall]" => return None,
            _ if line.inode != 0 => (
                ModuleKind::File {
                    dev: line.dev,
                    inode: line.inode,
                },
                line.path.clone(),
            ),
            _ => (ModuleKind::Anonymous { pid }, PathBuf::from("[anon]")),
        };
        let file_offset = match kind {
            ModuleKind::Anonymous { .. } => FileOffset(line.start.0),
            ModuleKind::Vdso => FileOffset(0),
            _ => line.file_offset,
        };
        let seen_in = Some(SeenIn {
            pid,
            start: line.start.0,
            end: line.end.0,
        });
        let module = self.modules.intern(Module {
            kind,
            path,
            seen_in,
        });
        let (start, end) = (line.start, line.end);
        self.spaces.entry(pid).or_default().insert(Mapping {
            start,
            end,
            file_offset,
            module,
            since,
        });
        Some(module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mmap(pid: u32, start: u64, path: &'static [u8]) -> SideBand<'static> {
        SideBand::Mmap {
            pid: Pid(pid),
            start: Avma(start),
            length: 0x1000,
            file_offset: FileOffset(0),
            dev: 1,
            inode: path.len() as u64,
            path: path.into(),
            executable: true,
        }
    }

    fn module_at(processes: &Processes, pid: u32, address: u64) -> Option<String> {
        let mapping = *processes.space(Pid(pid))?.find(Avma(address))?;
        Some(processes.modules.get(mapping.module).short_name())
    }

    #[test]
    fn a_forked_process_has_its_parents_mappings_until_it_execs() {
        let mut processes = Processes::new("/proc".into());
        let fork = SideBand::Fork {
            pid: Pid(2),
            parent_pid: Pid(1),
            tid: Tid(2),
            parent_tid: Tid(1),
        };
        let exec = SideBand::Comm {
            pid: Pid(2),
            tid: Tid(2),
            comm: b"ls".into(),
            by_exec: true,
        };
        processes.apply(MonoNs(1), &mmap(1, 0x1000, b"/bin/sh"));
        processes.apply(MonoNs(2), &fork);
        assert_eq!(module_at(&processes, 2, 0x1800).as_deref(), Some("sh"));
        processes.apply(MonoNs(3), &exec);
        processes.apply(MonoNs(4), &mmap(2, 0x1000, b"/usr/bin/ls"));
        assert_eq!(module_at(&processes, 2, 0x1800).as_deref(), Some("ls"));
        assert_eq!(module_at(&processes, 1, 0x1800).as_deref(), Some("sh"));
    }

    #[test]
    fn a_thread_bears_its_creators_name_until_it_gets_its_own() {
        let mut processes = Processes::new("/proc".into());
        let name = |tid, comm: &'static [u8]| SideBand::Comm {
            pid: Pid(1),
            tid: Tid(tid),
            comm: comm.into(),
            by_exec: false,
        };
        let fork = SideBand::Fork {
            pid: Pid(1),
            parent_pid: Pid(1),
            tid: Tid(9),
            parent_tid: Tid(1),
        };
        processes.apply(MonoNs(1), &name(1, &b"main"[..]));
        processes.apply(MonoNs(2), &fork);
        let comm = |processes: &Processes, tid| {
            processes
                .comms
                .get(processes.task(Tid(tid)).unwrap().comm)
                .to_string()
        };
        assert_eq!(comm(&processes, 9), "main");
        processes.apply(MonoNs(3), &name(9, &b"worker\xff"[..]));
        assert_eq!(
            (comm(&processes, 9).as_str(), comm(&processes, 1).as_str()),
            ("worker\\xff", "main")
        );
    }
}
