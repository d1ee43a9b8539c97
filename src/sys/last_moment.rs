//! A moment behind which nothing is waited for any more, which may be set while others wait already.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::now;
use crate::model::MonoNs;

/// How late who waits may learn of it.
const LOOK: Duration = Duration::from_millis(250);

/// The moment, for all who hold a clone of it. There is none until it is set.
#[derive(Clone, Debug)]
pub struct LastMoment {
    /// Nanoseconds; `u64::MAX`: not set.
    moment: Arc<AtomicU64>,
}

impl Default for LastMoment {
    fn default() -> LastMoment {
        LastMoment {
            moment: Arc::new(AtomicU64::new(u64::MAX)),
        }
    }
}

/// The same moment, not one that is as late: one may still be set, and the other not.
impl PartialEq for LastMoment {
    fn eq(&self, other: &LastMoment) -> bool {
        Arc::ptr_eq(&self.moment, &other.moment)
    }
}

impl Eq for LastMoment {}

impl LastMoment {
    /// Sets it.
    pub fn set(&self, moment: MonoNs) {
        self.moment.store(moment.0, Relaxed);
    }

    /// Whether it has passed.
    pub fn has_passed(&self) -> bool {
        self.moment.load(Relaxed) <= now().0
    }

    /// How long may be waited at a time, by who would wait until `deadline`; then it is to be asked again. `None`: that has passed, or this.
    pub fn wait_for(&self, deadline: Option<Instant>) -> Option<Duration> {
        let left = match deadline {
            None => LOOK,
            Some(deadline) => deadline.checked_duration_since(Instant::now())?,
        };
        let own = Duration::from_nanos(self.moment.load(Relaxed).saturating_sub(now().0));
        let wait = left.min(own).min(LOOK);
        (!wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_for_all_and_none_until_it_is_set() {
        let moment = LastMoment::default();
        let held = moment.clone();
        assert!(!held.has_passed());
        assert_eq!(held.wait_for(None), Some(LOOK));
        moment.set(now());
        assert!(held.has_passed());
        assert_eq!(held.wait_for(None), None);
        assert_eq!(moment, held);
        assert_ne!(moment, LastMoment::default());
    }

    #[test]
    fn what_comes_first_ends_a_wait() {
        let moment = LastMoment::default();
        assert_eq!(moment.wait_for(Some(Instant::now())), None);
        moment.set(now().plus(Duration::from_millis(100)));
        let an_hour = Instant::now() + Duration::from_secs(3600);
        assert!(moment.wait_for(Some(an_hour)) <= Some(Duration::from_millis(100)));
    }
}
