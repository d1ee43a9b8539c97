//! Before or behind which cuts of windows a sample was taken.

/// How often windows had been cut when a sample was taken. What waits for a table or for an answer keeps it, so that it counts for the window of
/// its own time, however late it is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Era(u32);

impl Era {
    /// The one that begins with the next cut.
    pub(super) fn next(self) -> Era {
        Era(self.0.wrapping_add(1))
    }

    /// Whether it is `other` or an earlier one. Numbers come round; no sample and no cut waits for half of them.
    pub(super) fn is_up_to(self, other: Era) -> bool {
        other.0.wrapping_sub(self.0) <= u32::MAX / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eras_keep_their_order_when_numbers_come_round() {
        let last = Era(u32::MAX);
        let first = last.next();
        assert_eq!(first, Era(0));
        assert!(last.is_up_to(first) && last.is_up_to(last));
        assert!(!first.is_up_to(last));
    }
}
