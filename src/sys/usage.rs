//! What perfd itself takes of the CPUs.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::ClockId;

use super::clock::read;

/// CPU time of all threads of this process so far, in nanoseconds; its children's is not in it.
pub fn cpu_time_of_process() -> u64 {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time of the calling thread so far, in nanoseconds.
pub fn cpu_time_of_thread() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of the children that have ended, in nanoseconds.
pub fn cpu_time_of_ended_children() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else {
        return 0;
    };
    let total = (usage.user_time() + usage.system_time()).num_nanoseconds();
    u64::try_from(total).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_a_part_of_its_process() {
        let before = cpu_time_of_thread();
        let thread = cpu_time_of_thread();
        assert!((before..=cpu_time_of_process()).contains(&thread));
    }
}
