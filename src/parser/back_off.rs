//! How soon a child is started again after one has failed.

use std::time::{Duration, Instant};

/// Failures in a row for which the next child is started at once: a file that kills takes two.
const FREE: u32 = 6;
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct BackOff {
    n_failures: u32,
    not_before: Option<Instant>,
}

impl BackOff {
    /// Whether a child may be started.
    pub(super) fn may_start(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// A request was answered.
    pub(super) fn succeeded(&mut self) {
        *self = BackOff::default();
    }

    /// A child has failed, or could not be started.
    pub(super) fn failed(&mut self, now: Instant) {
        self.n_failures = self.n_failures.saturating_add(1);
        if let Some(beyond) = self.n_failures.checked_sub(FREE + 1) {
            let factor = 1_u32.checked_shl(beyond).unwrap_or(u32::MAX);
            let rest = FIRST_REST.saturating_mul(factor).min(LONGEST_REST);
            self.not_before = now.checked_add(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_to_a_bound_and_ends_with_the_first_success() {
        let now = Instant::now();
        let mut back_off = BackOff::default();
        for _ in 0..FREE {
            back_off.failed(now);
            assert!(back_off.may_start(now));
        }
        let mut rest = || {
            back_off.failed(now);
            assert!(!back_off.may_start(now));
            let until = back_off.not_before.expect("a pause");
            assert!(back_off.may_start(until));
            until - now
        };
        let rests: Vec<Duration> = (0..40).map(|_| rest()).collect();
        assert_eq!(rests[..3], [100, 200, 400].map(Duration::from_millis));
        assert_eq!(rests[39], LONGEST_REST);
        back_off.succeeded();
        assert!(back_off.may_start(now));
    }
}
