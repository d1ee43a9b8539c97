//! How children have fared: counts that several parsers share, and anybody may look at.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The counts, as they grow.
#[derive(Debug, Default)]
pub struct Tally {
    pub(super) started: AtomicU64,
    pub(super) died: AtomicU64,
    pub(super) timed_out: AtomicU64,
    pub(super) nonsense: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) blamed: AtomicU64,
}

/// The counts at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Children that were started.
    pub started: u64,
    /// That died over a request, by a signal or a limit of the kernel's.
    pub died: u64,
    /// That were killed because they did not answer in time.
    pub timed_out: u64,
    /// That were killed because what they said may not be.
    pub nonsense: u64,
    /// Requests that were not made, because too many children in a row had failed.
    pub refused: u64,
    /// Files that are not tried again.
    pub blamed: u64,
}

impl Tally {
    /// As of now.
    pub fn facts(&self) -> Facts {
        Facts {
            started: self.started.load(Relaxed),
            died: self.died.load(Relaxed),
            timed_out: self.timed_out.load(Relaxed),
            nonsense: self.nonsense.load(Relaxed),
            refused: self.refused.load(Relaxed),
            blamed: self.blamed.load(Relaxed),
        }
    }
}

impl Facts {
    /// What a person should know of it, if there is something.
    pub fn note(&self) -> Option<String> {
        let counts = [
            (self.died, "died"),
            (self.timed_out, "did not answer in time"),
            (self.nonsense, "said what it may not"),
        ];
        let failed: Vec<String> = counts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, what)| format!("{what}: {n}"))
            .collect();
        if failed.is_empty() && self.refused == 0 {
            return None;
        }
        let mut note = format!("the parser of foreign files failed ({})", failed.join(", "));
        if self.blamed > 0 {
            note += &format!("; files that are not tried again: {}", self.blamed);
        }
        if self.refused > 0 {
            note += &format!(
                "; requests that were not made since it failed too often: {}",
                self.refused
            );
        }
        Some(note)
    }
}

/// Counts one.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_well_is_not_told() {
        let mut facts = Facts {
            started: 3,
            ..Facts::default()
        };
        assert_eq!(facts.note(), None);
        facts.died = 2;
        facts.timed_out = 1;
        facts.blamed = 1;
        let note = "the parser of foreign files failed (died: 2, did not answer in time: 1); files that are not tried again: 1";
        assert_eq!(facts.note().as_deref(), Some(note));
    }
}
