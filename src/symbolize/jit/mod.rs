//! Names of code that is made at run time, from the files that runtimes write for profilers.
//!
//! ```text
//! /tmp/perf-PID.map      lines, in order             ─▶ perf_map ─▶ history ─┐
//! jit-PID.dump           records with their times    ─▶ jitdump  ─▶ history ─┴─▶ name(address, span of time)
//! /tmp/perfd-jit-PID.txt what a runtime says of its guards and caches
//! ```
//!
//! The files are read again and again, by whoever asks ([`Jit::read`]): they grow, and code takes the place of other code. A name is asked for a
//! span of time and given only if it holds in all of it. Whoever counts samples learns from [`Jit::read`] that code was replaced, and
//! keeps what was sampled before and after apart.

mod codes;
pub mod compilers;
mod dump_file;
mod history;
mod jitdump;
mod map_file;
mod names;
mod perf_map;
mod process;
mod report_file;
mod roots;

pub use codes::Codes;
pub use names::JitNames;
pub use roots::{OwnRoots, Root, Roots, open_dump};

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use process::Process;

use crate::model::{JitFigures, JitFileNote, JitRates, Module, MonoNs, Pid, Span, Unnamed};
use crate::sys;

/// Processes that are looked after; each takes two or three descriptors while it lives.
const MAX_PROCESSES: usize = 4096;
/// Bytes that all that was read may take.
const MEMORY_BUDGET: usize = 512 << 20;

/// The processes of a run that have code of their own making. Shared by the thread that reads and the one that names.
#[derive(Debug)]
pub struct Jit {
    proc_root: PathBuf,
    roots: Box<dyn Roots>,
    /// Bytes that all that was read may take.
    memory_budget: usize,
    processes: Mutex<FxHashMap<Pid, Process>>,
}

/// What one process says of its code.
#[derive(Clone, Debug)]
pub struct JitFacts {
    /// The process.
    pub pid: Pid,
    /// What it compiled; `None` if it does not say.
    pub figures: Option<JitFigures>,
    /// What it says of guards and caches.
    pub rates: JitRates,
    /// Its files that are not believed.
    pub notes: Vec<JitFileNote>,
}

impl Jit {
    /// Looks after nobody yet; `proc_root` is `/proc`.
    pub fn new(proc_root: &Path) -> Jit {
        let proc_root = proc_root.to_owned();
        Jit {
            roots: Box::new(OwnRoots {
                proc_root: proc_root.clone(),
            }),
            proc_root,
            memory_budget: MEMORY_BUDGET,
            processes: Mutex::default(),
        }
    }

    /// The same where somebody else opens files; all that was read takes `memory_budget` bytes at most.
    pub fn within(roots: Box<dyn Roots>, memory_budget: usize) -> Jit {
        Jit {
            proc_root: PathBuf::new(),
            roots,
            memory_budget: memory_budget.min(MEMORY_BUDGET),
            processes: Mutex::default(),
        }
    }

    /// Looks after a process from now on; `code` is memory without a file that it runs, where that is known.
    pub fn watch(&self, pid: Pid, code: Option<(u64, u64)>) {
        let mut processes = self.processes();
        let Some(process) = self.process(&mut processes, pid) else {
            return;
        };
        if let Some((start, end)) = code {
            process.add_range(start, end);
        }
    }

    /// The process has mapped `module`, which is named as a jitdump is.
    pub fn add_dump(&self, pid: Pid, module: &Module) {
        self.add_opened_dump(pid, open_dump(&self.proc_root, module));
    }

    /// The process has mapped this jitdump, or one that could not be opened, and why.
    pub fn add_opened_dump(&self, pid: Pid, dump: Result<File, String>) {
        let mut processes = self.processes();
        if let Some(process) = self.process(&mut processes, pid) {
            process.add_dump(dump);
            process.read(&sys::now);
        }
    }

    /// The process became another program at `at`, or its number another process's.
    pub fn began_anew(&self, pid: Pid, at: MonoNs) {
        if let Some(process) = self.processes().get_mut(&pid) {
            process.began_anew(self.roots.open(pid), at);
        }
    }

    /// Forgets these processes, which had ended by `by`: nothing of theirs is named any more. One that got its number later stays.
    pub fn forget(&self, pids: &[Pid], by: MonoNs) {
        let mut processes = self.processes();
        for pid in pids {
            if processes.get(pid).is_some_and(|process| process.since < by) {
                processes.remove(pid);
            }
        }
    }

    /// How many processes are looked after.
    pub fn len(&self) -> usize {
        self.processes().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.processes().is_empty()
    }

    /// Reads what is new of these processes, and returns those in which code has taken the place of other code since that was last
    /// asked, and when the last such change was over.
    pub fn read(&self, pids: &[Pid]) -> Vec<(Pid, MonoNs)> {
        let mut processes = self.processes();
        let mut changed = Vec::new();
        for pid in pids {
            if let Some(process) = processes.get_mut(pid) {
                process.read(&sys::now);
                let at = process.take_changed(sys::now());
                changed.extend(at.map(|at| (*pid, at)));
            }
        }
        keep_within_budget(&mut processes, self.memory_budget);
        changed
    }

    /// Reads what is new of these processes; changes are told when they are asked for.
    pub fn read_files(&self, pids: &[Pid]) {
        let mut processes = self.processes();
        for pid in pids {
            if let Some(process) = processes.get_mut(pid) {
                process.read(&sys::now);
            }
        }
        keep_within_budget(&mut processes, self.memory_budget);
    }

    /// Reads what is new of all processes.
    pub fn read_all(&self) {
        let mut processes = self.processes();
        for process in processes.values_mut() {
            process.read(&sys::now);
        }
        keep_within_budget(&mut processes, self.memory_budget);
    }

    /// What all processes say of themselves, by number.
    pub fn facts(&self) -> Vec<JitFacts> {
        let processes = self.processes();
        let mut facts: Vec<JitFacts> = processes
            .iter()
            .map(|(pid, process)| JitFacts {
                pid: *pid,
                figures: process.figures(),
                rates: process.report.rates,
                notes: process.notes(),
            })
            .collect();
        facts.sort_by_key(|facts| facts.pid);
        facts
    }

    /// The function of a process at `address` while samples of `span` were taken, or why it has no name.
    pub fn name(&self, pid: Pid, address: u64, span: Span) -> Result<Arc<str>, Unnamed> {
        let processes = self.processes();
        let process = processes.get(&pid).ok_or(Unnamed::Anonymous)?;
        process.name(address, span)
    }

    fn process<'a>(
        &self,
        processes: &'a mut FxHashMap<Pid, Process>,
        pid: Pid,
    ) -> Option<&'a mut Process> {
        if !processes.contains_key(&pid) {
            if processes.len() >= MAX_PROCESSES {
                return None;
            }
            let mut process = Process::new(self.roots.open(pid), sys::now());
            // At once: what stands in its files was there before the next sample.
            process.read(&sys::now);
            processes.insert(pid, process);
        }
        processes.get_mut(&pid)
    }

    fn processes(&self) -> MutexGuard<'_, FxHashMap<Pid, Process>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The largest have to go first.
fn keep_within_budget(processes: &mut FxHashMap<Pid, Process>, budget: usize) {
    let mut memory: usize = processes.values().map(Process::memory).sum();
    while memory > budget {
        let Some(largest) = processes
            .values_mut()
            .max_by_key(|process| process.memory())
        else {
            return;
        };
        memory = memory.saturating_sub(largest.memory().max(1));
        largest.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched(jit: &Jit, pid: u32) -> bool {
        jit.facts().iter().any(|facts| facts.pid == Pid(pid))
    }

    #[test]
    fn there_is_room_for_others_when_processes_have_left() {
        let jit = Jit::new(Path::new("/nowhere"));
        let n = u32::try_from(MAX_PROCESSES).expect("few");
        (0..n).for_each(|pid| jit.watch(Pid(pid), None));
        jit.watch(Pid(n), None);
        assert!(!watched(&jit, n));
        let now = sys::now();
        jit.forget(&[Pid(5), Pid(6)], now);
        jit.watch(Pid(n), None);
        assert!(watched(&jit, n) && !watched(&jit, 5) && !watched(&jit, 6));
        assert_eq!(jit.len(), MAX_PROCESSES - 1);
    }

    #[test]
    fn who_has_the_number_now_is_not_forgotten_with_who_had_it() {
        let jit = Jit::new(Path::new("/nowhere"));
        jit.watch(Pid(5), None);
        let by = sys::now();
        jit.began_anew(Pid(5), sys::now());
        jit.forget(&[Pid(5)], by);
        assert!(watched(&jit, 5));
        jit.forget(&[Pid(5)], sys::now());
        assert!(!watched(&jit, 5));
    }
}
