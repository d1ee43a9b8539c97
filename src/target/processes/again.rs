//! Processes of which the programs in the kernel are to be told once more.

use super::Processes;
use crate::model::{Pid, Tid};

impl Processes {
    /// Tells of a process again, if it is there.
    pub fn tell_again(&mut self, pid: Pid) {
        if self.processes.contains_key(&pid) {
            self.changed.insert(pid);
        }
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
