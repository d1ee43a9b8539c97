//! The scheduling priority of perfd's own threads.

/// What a background thread of perfd adds to its nice value: it yields to the target without starving beside it.
const NICER: i32 = 5;

/// Lowers the calling thread's priority. A nice value is per thread on Linux (setpriority(2), "C library/kernel differences").
pub fn lower_priority() {
    // SAFETY: a plain system call on numbers; 0 is the calling thread. It can only fail for want of permission, which
    // lowering does not need, and then the thread keeps its priority.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICER) };
}
