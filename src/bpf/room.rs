//! How much the maps have room for.

use super::wire::{MAX_COUNTS, MAX_DOMAINS, MAX_PROCESSES, MAX_PYTHONS, MAX_STACK_CHUNKS};

/// The fewest counts and chunks of stacks to make room for: 2 MiB in all. A burst of new stacks at a low rate still finds a place.
const FEWEST: u32 = 1024;

/// The fewest names and threads of Python to make room for.
const FEWEST_OF_PYTHON: u32 = 4096;

/// What there is room for in the kernel. Counts and stacks have their memory from the start, twice; the rest takes most of it as it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Distinct counts between two drains.
    pub counts: u32,
    /// Chunks of 64 frames of distinct stacks between two drains.
    pub stack_chunks: u32,
    /// Processes whose mappings are told; samples of others are left to the ring.
    pub processes: u32,
    /// Cgroups that samples are told apart by; where it is 0, nothing is spent on that.
    pub domains: u32,
}

impl Default for Room {
    /// Room for the highest rates on large hosts, and for no domains.
    fn default() -> Room {
        Room {
            counts: MAX_COUNTS,
            stack_chunks: MAX_STACK_CHUNKS,
            processes: MAX_PROCESSES,
            domains: 0,
        }
    }
}

impl Room {
    /// Room for four times as many samples as are expected between two drains, each with a stack of its own, and for domains.
    ///
    /// `processes` are the most that will be told of at a time.
    pub fn for_samples(between_drains: u64, processes: u32) -> Room {
        let most = u64::from(MAX_COUNTS.min(MAX_STACK_CHUNKS));
        let samples = between_drains.saturating_mul(4).min(most);
        let samples = u32::try_from(samples).expect("at most the limit, which has 32 bits");
        let entries = samples.next_power_of_two().max(FEWEST);
        Room {
            counts: entries,
            stack_chunks: entries,
            processes: processes.clamp(1, MAX_PROCESSES),
            domains: MAX_DOMAINS,
        }
    }

    /// The entries of each map that depends on it.
    pub(super) fn entries(&self) -> [(&'static str, u32); 8] {
        [
            ("counts_0", self.counts),
            ("counts_1", self.counts),
            ("stacks_0", self.stack_chunks),
            ("stacks_1", self.stack_chunks),
            ("spaces", self.processes),
            ("mappings", 4 * self.processes),
            ("changes", self.processes),
            // A map has one entry at least.
            ("domains", self.domains.max(1)),
        ]
    }

    /// The same where Python frames are read. Of names and threads a CPU takes a hundred at a time, so that few are too few.
    pub(super) fn of_python(&self) -> [(&'static str, u32); 3] {
        [
            ("pythons", self.processes.min(MAX_PYTHONS)),
            ("python_names", self.counts.max(FEWEST_OF_PYTHON)),
            ("python_threads", self.counts.max(FEWEST_OF_PYTHON)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_follows_the_samples_within_bounds() {
        let counts = |samples| Room::for_samples(samples, 100).counts;
        assert_eq!(counts(0), FEWEST);
        assert_eq!(counts(1000), 4096);
        assert_eq!(counts(u64::MAX), MAX_COUNTS);
        let room = Room::for_samples(10, 0);
        assert!(room.entries().iter().all(|(_, entries)| *entries > 0));
        assert_eq!(Room::for_samples(10, u32::MAX).processes, MAX_PROCESSES);
    }
}
