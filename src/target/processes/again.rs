//! Processes of which the programs in the kernel are to be told once more.

use super::{Process, Processes};
use crate::model::{ModuleId, Pid, Tid};

impl Processes {
    /// Tells of a process again, if it is there.
    pub fn tell_again(&mut self, pid: Pid) {
        if self.processes.contains_key(&pid) {
            self.changed.insert(pid);
        }
    }

    /// Tells of all processes again that have a module mapped.
    pub fn tell_again_who_maps(&mut self, module: ModuleId) {
        let maps = |process: &Process| process.space.iter().any(|one| one.module == module);
        let all = self.processes.iter().filter(|(_, process)| maps(process));
        self.changed.extend(all.map(|(pid, _)| *pid));
    }

    /// Whether a thread has ended a moment ago, with its process or before it.
    pub fn has_just_ended(&self, pid: Pid, tid: Tid) -> bool {
        self.ended.task(pid, tid).is_some()
    }

    /// Whether a record has told of a process's beginning.
    pub fn was_forked(&self, pid: Pid) -> bool {
        self.processes
            .get(&pid)
            .is_some_and(|process| process.was_forked)
    }
}
