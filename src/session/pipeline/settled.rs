//! Up to when samples are counted, and which of them still wait: for a table, or for what is known of code made at run time.

use std::time::Duration;

use super::Pipeline;
use crate::model::MonoNs;
use crate::session::era::Era;
use crate::session::members::Whose;

impl Pipeline {
    /// Whether everything that was taken is counted.
    pub(in crate::session) fn is_settled(&self) -> bool {
        self.backlog.is_empty() && self.held.is_empty()
    }

    /// The same; with `is_answered`, samples in code made at run time that came since the reader was asked belong to the next window.
    pub(in crate::session) fn is_settled_but_for(&self, is_answered: bool) -> bool {
        self.backlog.is_empty() && (is_answered || self.held.is_empty())
    }

    /// Whether everything is counted that was taken in this era or an earlier one.
    pub(in crate::session) fn is_counted_up_to(&self, era: Era) -> bool {
        let waits = |whose: &Whose| whose.era.is_up_to(era);
        !self.backlog.any(waits) && !self.held.any(waits)
    }

    /// The time up to which everything is counted, of what was taken out of the rings up to `taken`.
    pub(in crate::session) fn counted_until(&self, taken: MonoNs) -> MonoNs {
        let waiting = [self.backlog.first_time(), self.held.first_time()];
        let first = waiting.into_iter().flatten().min();
        first.map_or(taken, |waits| {
            waits.minus(Duration::from_nanos(1)).min(taken)
        })
    }
}
