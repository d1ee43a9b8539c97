//! Processes of which the programs in the kernel are to be told once more.

use super::Processes;
use crate::model::Pid;

impl Processes {
    /// Tells of a process again, if it is there.
    pub fn tell_again(&mut self, pid: Pid) {
        if self.processes.contains_key(&pid) {
            self.changed.insert(pid);
        }
    }

    /// Whether a record has told of a process's beginning.
    pub fn was_forked(&self, pid: Pid) -> bool {
        self.processes
            .get(&pid)
            .is_some_and(|process| process.was_forked)
    }
}
