//! What is known of processes, checked against `/proc`.

use std::time::Duration;

use super::{Processes, Task};
use crate::model::{Pid, Tid};
use crate::procfs::tasks;

impl Processes {
    /// Checks every process and thread against `/proc`, to be done when records were lost: what has ended, and whose number has gone to another,
    /// is forgotten. Returns the processes that are; they are among the changed ones too.
    ///
    /// `boot_offset` is what the kernel adds to the clock of records to tell when a process was started (`sys::boot_offset`). It tells that in
    /// hundredths of a second: one that began in the same as another was last seen in is taken for it.
    pub fn verify_all(&mut self, boot_offset: Duration) -> Vec<Pid> {
        self.ended.forget_all();
        let mut gone = Vec::new();
        for (pid, process) in &self.processes {
            let last_seen = process.since.plus(boot_offset);
            // What cannot be asked is believed to be as it was.
            let is_same = match tasks::started(&self.proc_root, *pid) {
                Ok(since_boot) => since_boot <= Duration::from_nanos(last_seen.0),
                Err(error) => !tasks::is_gone(&error),
            };
            if !is_same || !tasks::runs(&self.proc_root, *pid).unwrap_or(true) {
                gone.push(*pid);
            }
        }
        for pid in &gone {
            self.remove_process(*pid);
        }
        let pids: Vec<Pid> = self.processes.keys().copied().collect();
        for pid in pids {
            let Ok(there) = tasks::threads(&self.proc_root, pid) else {
                continue;
            };
            let is_gone = |(tid, task): (&Tid, &Task)| {
                (task.pid == pid && !there.contains(tid)).then_some(*tid)
            };
            let ended: Vec<Tid> = self.tasks.iter().filter_map(is_gone).collect();
            ended.into_iter().for_each(|tid| self.remove_task(tid));
        }
        gone
    }
}
