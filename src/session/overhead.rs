//! `--max-overhead`: whether samples take more of a CPU than they may.
//!
//! Only decides; what is measured, and what becomes of the rate, is decided elsewhere.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::MonoNs;

/// The time that is judged: long enough for a few samples at low rates and for an average over what comes in bursts.
const WINDOW: Duration = Duration::from_secs(1);
/// Time between two readings.
const READ_EVERY: Duration = Duration::from_millis(100);

/// Readings of the last second.
pub(super) struct Overhead {
    /// Allowed share of one CPU.
    limit: f64,
    /// When, and nanoseconds taken until then; the first is a second old or younger than the last change.
    readings: VecDeque<(MonoNs, u64)>,
}

impl Overhead {
    pub(super) fn new(limit: f64) -> Overhead {
        Overhead {
            limit,
            readings: VecDeque::new(),
        }
    }

    /// Whether it is time for a reading.
    pub(super) fn is_due(&self, now: MonoNs) -> bool {
        let last = self.readings.back();
        last.is_none_or(|(at, _)| now.since(*at) >= READ_EVERY)
    }

    /// Takes a reading: `used_ns` until now. Returns the share of a CPU over the last second if it is beyond the limit; then the next
    /// second begins anew, at another rate.
    pub(super) fn observe(&mut self, now: MonoNs, used_ns: u64) -> Option<f64> {
        self.readings.push_back((now, used_ns));
        while self
            .readings
            .get(1)
            .is_some_and(|(at, _)| now.since(*at) >= WINDOW)
        {
            self.readings.pop_front();
        }
        let (since, used_before) = *self.readings.front()?;
        let time = now.since(since);
        if time < WINDOW {
            return None;
        }
        let used = Duration::from_nanos(used_ns.saturating_sub(used_before));
        let share = used.as_secs_f64() / time.as_secs_f64();
        if share <= self.limit {
            return None;
        }
        self.readings.clear();
        Some(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const NEVER: [u64; 0] = [];

    /// A reading every 100 ms, of `used_ms(n)` taken since the one before; returns the numbers of those that were too much.
    fn exceeded(limit: f64, n: u64, used_ms: impl Fn(u64) -> u64) -> Vec<u64> {
        let mut overhead = Overhead::new(limit);
        let mut used = 0;
        (0..n)
            .filter(|idx| {
                used += used_ms(*idx) * MS;
                let now = MonoNs(idx * 100 * MS);
                assert!(overhead.is_due(now));
                overhead.observe(now, used).is_some()
            })
            .collect()
    }

    #[test]
    fn a_whole_second_is_judged_and_after_a_change_the_next_whole_one() {
        // 3 % against 2 %.
        assert_eq!(exceeded(0.02, 30, |_| 3), [10, 21]);
        assert_eq!(exceeded(0.03, 30, |_| 3), NEVER);
    }

    #[test]
    fn a_burst_is_averaged_over_the_second_that_slides_over_it() {
        let burst = |at: u64, ms: u64| move |idx| if idx == at { ms } else { 0 };
        assert_eq!(exceeded(0.02, 60, burst(25, 19)), NEVER);
        assert_eq!(exceeded(0.02, 60, burst(25, 21)), [25]);
        // Before the first reading nothing is judged.
        assert_eq!(exceeded(0.02, 60, burst(0, 21)), NEVER);
    }
}
