//! Which of two equal events a thread's samples are taken from.
//!
//! A thread that is created while perfd attaches may get the events twice: inherited from its creator, and opened
//! by perfd because it stood in `/proc/PID/task`. Leaving it out on suspicion could lose it for the whole run; so
//! perfd opens it, and of its samples takes those of one owner only. The kernel gives an inherited event the
//! identifier of the one it was inherited from, so a sample tells which thread its event was opened on.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::model::Tid;

/// Counts the openings of a run's events: 0 at first, one more each time that all are opened anew.
pub(super) type Generation = u32;

/// For every thread, the thread on which the events that count for it were opened.
#[derive(Debug, Default)]
pub(super) struct Owners {
    opened: FxHashSet<(Generation, Tid)>,
    inherited: FxHashMap<Tid, (Generation, Tid)>,
}

impl Owners {
    /// perfd has opened the events on a thread.
    pub(super) fn open(&mut self, generation: Generation, tid: Tid) {
        self.opened.insert((generation, tid));
    }

    /// The events of a generation never ran.
    pub(super) fn abandon(&mut self, generation: Generation) {
        self.opened.retain(|(of, _)| *of != generation);
        self.inherited.retain(|_, (of, _)| *of != generation);
    }

    /// A thread was created by another one and has inherited what counts for that one.
    pub(super) fn fork(&mut self, generation: Generation, parent: Tid, child: Tid) {
        match self.owner(generation, parent) {
            Some(owner) => self.inherited.insert(child, (generation, owner)),
            None => self.inherited.remove(&child),
        };
    }

    /// A thread has ended; its number may come back as another thread.
    pub(super) fn exit(&mut self, generation: Generation, tid: Tid) {
        self.opened.remove(&(generation, tid));
        self.inherited.remove(&tid);
    }

    /// Whether a sample of thread `tid`, from an event that was opened on `owner`, counts. If its creation was not
    /// seen, the first owner that shows up is the one.
    pub(super) fn counts(&mut self, generation: Generation, tid: Tid, owner: Tid) -> bool {
        if let Some(expected) = self.owner(generation, tid) {
            return expected == owner;
        }
        self.inherited.insert(tid, (generation, owner));
        true
    }

    fn owner(&self, generation: Generation, tid: Tid) -> Option<Tid> {
        if self.opened.contains(&(generation, tid)) {
            return Some(tid);
        }
        let (of, owner) = *self.inherited.get(&tid)?;
        (of == generation).then_some(owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_was_opened_and_inherited_counts_once_and_so_do_its_children() {
        let mut owners = Owners::default();
        owners.open(0, Tid(1));
        owners.fork(0, Tid(1), Tid(2));
        owners.open(0, Tid(2));
        owners.fork(0, Tid(2), Tid(3));
        assert!(owners.counts(0, Tid(2), Tid(2)) && !owners.counts(0, Tid(2), Tid(1)));
        assert!(owners.counts(0, Tid(3), Tid(2)) && !owners.counts(0, Tid(3), Tid(1)));
    }

    #[test]
    fn a_reused_thread_number_takes_its_new_creators_events() {
        let mut owners = Owners::default();
        owners.open(0, Tid(1));
        owners.open(0, Tid(2));
        owners.exit(0, Tid(2));
        owners.fork(0, Tid(1), Tid(2));
        assert!(owners.counts(0, Tid(2), Tid(1)));
    }

    #[test]
    fn without_a_fork_record_the_first_owner_counts() {
        let mut owners = Owners::default();
        owners.open(0, Tid(1));
        assert!(owners.counts(0, Tid(7), Tid(1)));
        assert!(!owners.counts(0, Tid(7), Tid(2)));
    }
}
