//! The scheduling priority of perfd's own threads.

/// What a background thread of perfd adds to its nice value: it yields to the target without starving beside it.
const NICER: i32 = 5;

/// The least that a thread can have.
const NICEST: i32 = 19;

/// Lowers the calling thread's priority, from what perfd was given. A nice value is per thread on Linux (setpriority(2), "C library/kernel
/// differences").
pub fn lower_priority() {
    // SAFETY: a plain system call on numbers; 0 is the calling thread, which is there, so that -1 is a value.
    let given = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    // SAFETY: as above. It can only fail for want of permission, which lowering does not need, and then the thread keeps its priority.
    let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, (given + NICER).min(NICEST)) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_yields_to_those_that_have_what_perfd_was_given() {
        // SAFETY: as above.
        let nice = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let before = nice();
        lower_priority();
        assert_eq!(nice(), (before + NICER).min(NICEST));
        lower_priority();
        assert_eq!(nice(), (before + 2 * NICER).min(NICEST));
    }
}
