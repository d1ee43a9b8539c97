//! Resource limits: open files, of which every event takes one, and locked memory, which rings are made of.
//!
//! Raises the soft limit of open files only; what is above the hard limit is for the user to change. A command that
//! perfd starts inherits the limits of the moment: fork it first, raise then.

use std::io;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// RLIMIT_NOFILE before and after [`raise_open_files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// The soft limit that perfd was started with.
    pub before: u64,
    /// The soft limit now.
    pub now: u64,
    /// The hard limit.
    pub hard: u64,
}

/// Raises the soft limit of open files to the hard one.
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let (before, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if before < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(OpenFiles {
        before,
        now: hard.max(before),
        hard,
    })
}

/// RLIMIT_NOFILE as it is: soft and hard.
pub fn open_files() -> io::Result<(u64, u64)> {
    Ok(getrlimit(Resource::RLIMIT_NOFILE)?)
}

/// The soft RLIMIT_MEMLOCK in bytes; `None` is no limit.
pub fn locked_memory() -> io::Result<Option<u64>> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
    Ok((soft != RLIM_INFINITY).then_some(soft))
}

/// What a user is told who ran out of open files: the limit, what takes them, what helps.
pub fn more_open_files() -> Vec<String> {
    let hard = open_files().map_or("unknown".to_owned(), |(_, hard)| hard.to_string());
    vec![
        format!("the hard limit of open files (ulimit -Hn) is {hard}"),
        "each event takes an open file for each thread and CPU".to_owned(),
        "try: fewer events or threads, or as root: ulimit -n 1048576".to_owned(),
    ]
}

/// What decides how much ring memory perfd may map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingMemoryFacts {
    /// `kernel.perf_event_mlock_kb`.
    pub mlock_kb: u64,
    /// CPUs that are online.
    pub cpus: u64,
    /// RLIMIT_MEMLOCK in bytes, soft; `None` is no limit.
    pub memlock: Option<u64>,
    /// `kernel.perf_event_paranoid`.
    pub paranoid: i32,
    /// Whether perfd has CAP_IPC_LOCK.
    pub has_ipc_lock: bool,
}

/// Bytes of rings that perfd may map in all, control pages included; `None` is no limit.
///
/// The rule of the kernel's `perf_mmap`: a user has `mlock_kb × CPUs` for all his processes together, what is above
/// it counts against RLIMIT_MEMLOCK of this process, and the sum is only enforced
/// while `perf_event_paranoid > −1` and the process lacks CAP_IPC_LOCK. CAP_PERFMON does not lift it. Other
/// profilers of the same user may have taken a part, so that a mapping can fail below this number.
pub fn ring_memory(facts: RingMemoryFacts) -> Option<u64> {
    if facts.paranoid < 0 || facts.has_ipc_lock {
        return None;
    }
    let of_user = facts
        .mlock_kb
        .saturating_mul(1024)
        .saturating_mul(facts.cpus);
    Some(of_user.saturating_add(facts.memlock?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: RingMemoryFacts = RingMemoryFacts {
        mlock_kb: 516,
        cpus: 4,
        memlock: Some(8 << 20),
        paranoid: 2,
        has_ipc_lock: false,
    };

    #[test]
    fn a_user_has_the_sysctl_for_each_cpu_and_the_process_its_rlimit() {
        assert_eq!(ring_memory(USUAL), Some(4 * 516 * 1024 + (8 << 20)));
    }

    #[test]
    fn ring_memory_is_unlimited_with_ipc_lock_a_trusting_kernel_or_no_rlimit() {
        for facts in [
            RingMemoryFacts {
                paranoid: -1,
                ..USUAL
            },
            RingMemoryFacts {
                has_ipc_lock: true,
                ..USUAL
            },
            RingMemoryFacts {
                memlock: None,
                ..USUAL
            },
        ] {
            assert_eq!(ring_memory(facts), None);
        }
    }

    #[test]
    fn the_soft_limit_of_open_files_ends_up_at_the_hard_one() {
        let limits = raise_open_files().expect("allowed to everybody");
        assert_eq!(limits.now, limits.hard);
        assert_eq!(open_files().expect("readable"), (limits.now, limits.hard));
    }
}
