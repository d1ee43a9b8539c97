//! What perfd itself takes of the CPUs.

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
