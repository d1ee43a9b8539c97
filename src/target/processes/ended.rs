//! Threads that have ended a moment ago.
//!
//! The kernel writes the exit record in the middle of a task's end (`perf_event_exit_task` in `do_exit`). What events of whole CPUs sample
//! behind that, until the task is switched away from for ever, is the task's still.

use std::time::Duration;

use rustc_hash::FxHashMap;

use super::Task;
use crate::model::{MonoNs, Pid, Tid};

/// How long after its exit record samples of a thread may come: it may have to wait for a CPU in the middle of its end.
pub const LAST_MOMENTS: Duration = Duration::from_secs(1);

/// Those whose exit records have been read.
#[derive(Debug, Default)]
pub(super) struct Ended {
    tasks: FxHashMap<Tid, (Task, MonoNs)>,
    swept: MonoNs,
}

impl Ended {
    /// A thread has ended at `time`.
    pub(super) fn add(&mut self, tid: Tid, task: Task, time: MonoNs) {
        if self.swept.plus(LAST_MOMENTS) < time {
            self.swept = time;
            self.tasks
                .retain(|_, (_, at)| time <= at.plus(LAST_MOMENTS));
        }
        self.tasks.insert(tid, (task, time));
    }

    /// A thread begins that has this number now.
    pub(super) fn forget(&mut self, tid: Tid) {
        self.tasks.remove(&tid);
    }

    /// Records were lost: who has which number now is not known.
    pub(super) fn forget_all(&mut self) {
        self.tasks.clear();
    }

    /// Whether the last thread that is known of that number has ended.
    pub(super) fn has(&self, tid: Tid) -> bool {
        self.tasks.contains_key(&tid)
    }

    /// A thread of a process that has ended a moment ago, as it was.
    pub(super) fn task(&self, pid: Pid, tid: Tid) -> Option<Task> {
        let (task, _) = self.tasks.get(&tid)?;
        (task.pid == pid).then_some(*task)
    }
}
