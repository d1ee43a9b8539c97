//! The table of processes and threads of a run, kept by records in time order.

mod again;
mod ended;
mod shown;
mod verify;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use ended::Ended;
pub use ended::LAST_MOMENTS;
use shown::kind_and_path;

use super::versions::Versions;
use super::{CommId, Comms, forked};
use crate::model::{
    AddressSpace, Avma, FileOffset, Mapping, Module, ModuleId, ModuleKind, Modules, MonoNs, Pid,
    Tid,
};
use crate::procfs::{maps, tasks};
use crate::sys;
use crate::sys::record::SideBand;

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

/// What is known of a process.
#[derive(Clone, Debug, Default)]
struct Process {
    /// Shared with samples that wait for a table: they see what was mapped at their time.
    space: Arc<AddressSpace>,
    /// Its threads in the table; with the last one it goes.
    n_tasks: usize,
    /// A moment at which it was there: what records say of an earlier one is about another process of that number, or known already.
    since: MonoNs,
    /// Whether a record has told of its beginning.
    was_forked: bool,
    /// When it became the program that it is, if that was seen.
    executed: Option<MonoNs>,
}

/// An exit record within this time of an exec may be a part of it.
const BEHIND_EXEC: Duration = Duration::from_millis(10);

/// The living processes of a run.
#[derive(Debug)]
pub struct Processes {
    proc_root: PathBuf,
    processes: FxHashMap<Pid, Process>,
    tasks: FxHashMap<Tid, Task>,
    ended: Ended,
    /// Processes whose mappings have changed, or that are gone, since that was last asked.
    changed: FxHashSet<Pid>,
    versions: Versions,
    /// Modules of all processes.
    pub modules: Modules,
    /// Names of all threads.
    pub comms: Comms,
}

impl Processes {
    /// The name of the idle threads of all CPUs, which are thread 0 all of them.
    pub const IDLE: &[u8] = b"swapper";

    /// No process yet; `/proc` is looked for at `proc_root`.
    pub fn new(proc_root: PathBuf) -> Processes {
        Processes {
            versions: Versions::new(proc_root.clone()),
            proc_root,
            processes: FxHashMap::default(),
            tasks: FxHashMap::default(),
            ended: Ended::default(),
            changed: FxHashSet::default(),
            modules: Modules::new(),
            comms: Comms::default(),
        }
    }

    /// Adds a running process as `/proc` shows it: its threads' names and its mappings, which hold from `since` on.
    /// Returns the modules it has mapped.
    ///
    /// # Errors
    /// Those of reading `/proc/PID/maps`; that there is none, if it has ended, though nobody has asked for its status yet.
    pub fn add_running(&mut self, pid: Pid, since: MonoNs) -> io::Result<Vec<ModuleId>> {
        let lines = maps::executable(&self.proc_root, pid)?;
        // No exit record would ever take it out again.
        if !tasks::runs(&self.proc_root, pid)? {
            return Err(io::ErrorKind::NotFound.into());
        }
        let process = self.processes.entry(pid).or_default();
        process.since = process.since.max(since);
        for tid in tasks::threads(&self.proc_root, pid).unwrap_or_default() {
            if let Ok(comm) = tasks::comm(&self.proc_root, pid, tid) {
                let comm = self.comms.intern(&comm);
                let is_new = self.tasks.get(&tid).is_some_and(|task| task.is_new);
                self.add_task(tid, Task { pid, comm, is_new }, since);
            }
        }
        let mut mapped = Vec::new();
        for line in lines {
            mapped.extend(self.map(pid, since, &line));
        }
        Ok(mapped)
    }

    /// The modules that a command will most likely map, while its process `pid` is still a copy of perfd: its `file`, and of what is mapped
    /// there all but perfd itself: the loader, the C library, the vDSO.
    ///
    /// # Errors
    /// Those of reading `/proc/PID/maps`.
    pub fn foresee(&mut self, pid: Pid, file: Option<&Path>) -> io::Result<Vec<ModuleId>> {
        let ourselves = fs::read_link(self.proc_root.join(pid.to_string()).join("exe"))?;
        let lines = maps::executable(&self.proc_root, pid)?;
        // As the kernel will say it.
        let file = file.and_then(|file| {
            let path = file.canonicalize().ok()?;
            let found = path.metadata().ok()?;
            let (dev, inode) = (found.dev(), found.ino());
            Some((ModuleKind::File { dev, inode }, path))
        });
        let shared = lines
            .iter()
            .filter(|line| line.path != ourselves)
            .filter_map(|line| kind_and_path(pid, line))
            .filter(|(kind, _)| matches!(kind, ModuleKind::File { .. } | ModuleKind::Vdso));
        let modules = &mut self.modules;
        let intern = |(kind, path)| {
            modules.intern(Module {
                kind,
                path,
                seen_in: None,
            })
        };
        Ok(file.into_iter().chain(shared).map(intern).collect())
    }

    /// Adds a process of which nothing is known yet but its name, and that it is there at a moment.
    pub fn add_empty(&mut self, pid: Pid, comm: &[u8], since: MonoNs) {
        let comm = self.comms.intern(comm);
        self.processes.entry(pid).or_default().since = since;
        self.changed.insert(pid);
        let task = Task {
            pid,
            comm,
            is_new: true,
        };
        self.add_task(pid.main_thread(), task, since);
    }

    /// The parent of a process, as `/proc` shows it now.
    pub fn parent(&self, pid: Pid) -> Option<Pid> {
        Some(tasks::stat(&self.proc_root, pid).ok()?.parent)
    }

    /// Forgets the processes that are not to be kept.
    pub fn retain(&mut self, mut keep: impl FnMut(Pid) -> bool) {
        let changed = &mut self.changed;
        self.processes.retain(|pid, _| {
            let is_kept = keep(*pid);
            if !is_kept {
                changed.insert(*pid);
            }
            is_kept
        });
        self.tasks
            .retain(|_, task| self.processes.contains_key(&task.pid));
    }

    /// How many processes there are.
    pub fn len(&self) -> usize {
        self.processes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// The name of a thread that no record has named, from `/proc`; `[unknown]` if it is gone.
    pub fn learn_comm(&mut self, pid: Pid, tid: Tid) -> CommId {
        if let Some(task) = self.ended.task(pid, tid) {
            return task.comm;
        }
        let comm = match tid {
            Tid(0) => Ok(Processes::IDLE.to_vec()),
            _ => tasks::comm(&self.proc_root, pid, tid),
        };
        // A thread that is gone is not added: no exit record would ever take it out again.
        let Ok(comm) = comm else {
            return self.comms.intern(b"[unknown]");
        };
        let comm = self.comms.intern(&comm);
        self.add_task(
            tid,
            Task {
                pid,
                comm,
                is_new: true,
            },
            sys::now(),
        );
        comm
    }

    /// What a process has mapped; `None` if it was never heard of.
    pub fn space(&self, pid: Pid) -> Option<&Arc<AddressSpace>> {
        Some(&self.processes.get(&pid)?.space)
    }

    /// Forgets the code of a process that `/proc` does not show any more: no record tells of what was unmapped.
    pub fn forget_unmapped(&mut self, pid: Pid) {
        let (Some(process), Ok(lines)) = (
            self.processes.get_mut(&pid),
            maps::executable(&self.proc_root, pid),
        ) else {
            return;
        };
        let is_there = |mapping: &Mapping| {
            let overlaps =
                |line: &maps::MapsLine| line.start < mapping.end && mapping.start < line.end;
            lines.iter().any(overlaps)
        };
        Arc::make_mut(&mut process.space).retain(is_there);
        self.changed.insert(pid);
    }

    /// The processes whose mappings are others than when they were last taken.
    pub fn changed(&self) -> impl Iterator<Item = Pid> {
        self.changed.iter().copied()
    }

    /// The processes whose mappings are others than when this was last asked; those that are gone have none.
    pub fn take_changed(&mut self) -> FxHashSet<Pid> {
        std::mem::take(&mut self.changed)
    }

    /// The modules that living processes have mapped.
    pub fn mapped(&self) -> FxHashSet<ModuleId> {
        let spaces = self.processes.values().map(|process| &process.space);
        let mappings = spaces.flat_map(|space| space.iter());
        mappings.map(|mapping| mapping.module).collect()
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

    /// Whether a record is about a process of the table, about what such a one has forked, or about another that has got its number.
    pub fn concerns_known(&self, record: &SideBand<'_>) -> bool {
        let pid = match record {
            SideBand::Mmap { pid, .. } | SideBand::Comm { pid, .. } => pid,
            SideBand::Fork {
                pid,
                parent_pid,
                tid,
                ..
            } => {
                let is_known = |pid| self.processes.contains_key(pid);
                return is_known(parent_pid) || is_known(pid) || self.ended.has(*tid);
            }
            SideBand::Exit { .. }
            | SideBand::Lost { .. }
            | SideBand::Throttled { .. }
            | SideBand::Other => return true,
        };
        self.processes.contains_key(pid)
    }

    /// Applies one record. Returns the module that it has mapped, whose unwind rows will be wanted.
    pub fn apply(&mut self, time: MonoNs, record: &SideBand<'_>) -> Option<ModuleId> {
        match record.clone() {
            SideBand::Mmap {
                executable: false, ..
            } => None,
            // Processes of other pid namespaces, which perfd sees as 0 all of them.
            SideBand::Mmap { pid: Pid(0), .. }
            | SideBand::Comm { pid: Pid(0), .. }
            | SideBand::Fork { pid: Pid(0), .. } => None,
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
            }
            SideBand::Comm {
                pid,
                tid,
                comm,
                by_exec,
            } => {
                let comm = self.comms.intern(&comm);
                let is_new = self.tasks.get(&tid).is_some_and(|task| task.is_new);
                self.add_task(tid, Task { pid, comm, is_new }, time);
                if by_exec {
                    let process = self.process(pid, time);
                    process.space = Arc::default();
                    process.executed = Some(time);
                    self.changed.insert(pid);
                }
                None
            }
            SideBand::Fork {
                pid,
                parent_pid,
                tid,
                parent_tid,
            } => {
                self.ended.forget(tid);
                if pid != parent_pid {
                    if self.is_told_already(pid, time) {
                        return None;
                    }
                    // The number is used again, and no record has told of its end.
                    self.remove_process(pid);
                    if let Some(parent) = self.processes.get(&parent_pid) {
                        let mut space = parent.space.clone();
                        forked::own_anonymous(pid, &mut self.modules, &mut space);
                        let child = Process {
                            space,
                            n_tasks: 0,
                            since: time,
                            was_forked: true,
                            executed: None,
                        };
                        self.processes.insert(pid, child);
                        self.changed.insert(pid);
                    }
                }
                if let Some(parent) = self.tasks.get(&parent_tid) {
                    let child = Task {
                        pid,
                        comm: parent.comm,
                        is_new: true,
                    };
                    self.add_task(tid, child, time);
                }
                None
            }
            SideBand::Exit { tid, .. } => {
                let task = self.tasks.get(&tid).copied()?;
                // The end of another that had the number before.
                let is_none = self.is_told_already(task.pid, time) || self.outlives(task.pid, time);
                if !is_none {
                    self.remove_task(tid);
                    self.ended.add(tid, task, time);
                    if !self.processes.contains_key(&task.pid) {
                        // The first thread may have ended long before.
                        self.ended.add(Tid(task.pid.0), task, time);
                    }
                }
                None
            }
            SideBand::Lost { .. } | SideBand::Throttled { .. } | SideBand::Other => None,
        }
    }

    /// Whether an exit record is not of a process's end, but of an exec of a program with other rights: there the kernel takes its events from
    /// it (`perf_event_exit_task` in `begin_new_exec`), and writes the same record for that, some µs behind that of the exec.
    fn outlives(&self, pid: Pid, time: MonoNs) -> bool {
        let process = self.processes.get(&pid);
        let is_behind_exec = |process: &Process| {
            let executed = process.executed;
            executed.is_some_and(|at| at <= time && time < at.plus(BEHIND_EXEC))
        };
        process.is_some_and(is_behind_exec) && tasks::lives_on(&self.proc_root, pid)
    }

    /// Whether a process was added after that moment, as it was then.
    fn is_told_already(&self, pid: Pid, time: MonoNs) -> bool {
        let process = self.processes.get(&pid);
        process.is_some_and(|process| time < process.since)
    }

    /// Forgets a process with all its threads.
    fn remove_process(&mut self, pid: Pid) {
        if self.processes.remove(&pid).is_some() {
            self.tasks.retain(|_, task| task.pid != pid);
            self.changed.insert(pid);
        }
    }

    /// A process of the table, added if it was not there at a moment at which it was heard of.
    fn process(&mut self, pid: Pid, heard_of: MonoNs) -> &mut Process {
        let unknown = || Process {
            since: heard_of,
            ..Process::default()
        };
        self.processes.entry(pid).or_insert_with(unknown)
    }

    fn add_task(&mut self, tid: Tid, task: Task, since: MonoNs) {
        self.remove_task_of_other_process(tid, task.pid);
        if self.tasks.insert(tid, task).is_none() {
            self.process(task.pid, since).n_tasks += 1;
        }
    }

    /// A thread whose exit record was lost, and whose number has come back elsewhere.
    fn remove_task_of_other_process(&mut self, tid: Tid, pid: Pid) {
        if self.tasks.get(&tid).is_some_and(|known| known.pid != pid) {
            self.remove_task(tid);
        }
    }

    /// Forgets a thread, and its process with the last one.
    fn remove_task(&mut self, tid: Tid) {
        let Some(task) = self.tasks.remove(&tid) else {
            return;
        };
        let Some(process) = self.processes.get_mut(&task.pid) else {
            return;
        };
        process.n_tasks = process.n_tasks.saturating_sub(1);
        if process.n_tasks == 0 {
            self.processes.remove(&task.pid);
            self.changed.insert(task.pid);
        }
    }

    fn map(&mut self, pid: Pid, since: MonoNs, line: &maps::MapsLine) -> Option<ModuleId> {
        let (kind, path) = kind_and_path(pid, line)?;
        let file_offset = match kind {
            ModuleKind::Anonymous { .. } => FileOffset(line.start.0),
            ModuleKind::Vdso => FileOffset(0),
            _ => line.file_offset,
        };
        let (versions, modules) = (&mut self.versions, &mut self.modules);
        let module = versions.intern(modules, (pid, since), line, (kind, path));
        let (start, end) = (line.start, line.end);
        self.changed.insert(pid);
        let space = &mut self.process(pid, since).space;
        Arc::make_mut(space).insert(Mapping {
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
mod tests;
