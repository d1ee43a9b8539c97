//! Which copies of unwind tables are kept: the policy alone, without tables, threads or a clock.
//!
//! A table has up to two copies, one that perfd walks with and one in the kernel, and each stands for all modules whose tables are equal.
//! All copies share one budget. Where a new one does not fit, others go: first those of modules that no process has mapped any more, then
//! those of mapped ones, each time the least recently used first. What is mapped and in use stays, unless a sample waits for the new copy.
//! What is neither mapped nor used for long is given back, though there is room for it, if that is asked for.

use rustc_hash::FxHashMap;

use crate::model::{ModuleId, MonoNs};
use crate::unwind::Fingerprint;

/// Who uses a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// perfd's own walk, of samples that come through the ring.
    Perfd,
    /// The kernel's walk.
    Kernel,
}

/// A table in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CopyId {
    pub(super) table: Fingerprint,
    pub(super) place: Place,
}

/// How much a copy is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Use {
    /// Whether a living process has one of its modules mapped.
    pub(super) is_mapped: bool,
    /// When it was used last, or made.
    pub(super) last: MonoNs,
}

impl Use {
    /// Somebody is at work with it: it has to stay.
    pub(super) const IN_WORK: Use = Use {
        is_mapped: true,
        last: MonoNs(u64::MAX),
    };
}

/// How much a new copy is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// A sample waits for it. It is let in, if need be beyond the budget by what has been used since then: what one stack needs must be there
    /// together.
    Now {
        /// When the sample began to wait.
        since: MonoNs,
    },
    /// Samples go another way without it. It is let in if there is room when all is gone that is not mapped or has not been used since then.
    /// So copies do not take turns in a budget that is too small for all that are in use: each stays some time.
    Later {
        /// Before when an idle copy was used last.
        idle_since: MonoNs,
    },
}

/// A copy that has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Evicted {
    pub(super) copy: CopyId,
    /// What it stood for.
    pub(super) modules: Vec<ModuleId>,
}

struct Kept {
    bytes: u64,
    modules: Vec<ModuleId>,
}

/// The copies that are kept.
pub(super) struct TableCache {
    budget: u64,
    bytes: u64,
    copies: FxHashMap<CopyId, Kept>,
}

impl TableCache {
    /// None yet.
    pub(super) fn new(budget: u64) -> TableCache {
        TableCache {
            budget,
            bytes: 0,
            copies: FxHashMap::default(),
        }
    }

    /// Bytes that all copies take.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether there is room for so many bytes more.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.bytes.saturating_add(bytes) <= self.budget
    }

    /// The modules that a copy stands for; empty if it is not kept.
    pub(super) fn modules(&self, copy: CopyId) -> &[ModuleId] {
        self.copies
            .get(&copy)
            .map_or(&[], |kept| kept.modules.as_slice())
    }

    /// Lets a copy stand for one more module; `false` if it is not kept.
    pub(super) fn share(&mut self, copy: CopyId, module: ModuleId) -> bool {
        let kept = self.copies.get_mut(&copy);
        kept.is_some_and(|kept| {
            if !kept.modules.contains(&module) {
                kept.modules.push(module);
            }
            true
        })
    }

    /// Takes in a new copy, and says which ones have to go for it; `None` if it is not to be. `usage` tells of a copy's modules.
    pub(super) fn admit(
        &mut self,
        copy: CopyId,
        bytes: u64,
        module: ModuleId,
        need: Need,
        usage: impl Fn(CopyId, &[ModuleId]) -> Use,
    ) -> Option<Vec<Evicted>> {
        debug_assert!(!self.copies.contains_key(&copy));
        let evicted = self.make_room(bytes, need, usage)?;
        self.bytes += bytes;
        let modules = vec![module];
        self.copies.insert(copy, Kept { bytes, modules });
        Some(evicted)
    }

    fn make_room(
        &mut self,
        bytes: u64,
        need: Need,
        usage: impl Fn(CopyId, &[ModuleId]) -> Use,
    ) -> Option<Vec<Evicted>> {
        let mut excess = self.bytes.saturating_add(bytes).saturating_sub(self.budget);
        if excess == 0 {
            return Some(Vec::new());
        }
        let spared = match need {
            Need::Now { since } => since,
            Need::Later { idle_since } => idle_since,
        };
        let mut idle: Vec<(Use, CopyId, u64)> = self
            .copies
            .iter()
            .map(|(copy, kept)| (usage(*copy, &kept.modules), *copy, kept.bytes))
            .filter(|(used, _, _)| !used.is_mapped || used.last < spared)
            .collect();
        // Those that are not mapped first, then the least recently used.
        idle.sort_unstable_by_key(|(used, _, _)| *used);
        let room: u64 = idle.iter().map(|(_, _, bytes)| bytes).sum();
        if matches!(need, Need::Later { .. }) && room < excess {
            return None;
        }
        let mut evicted = Vec::new();
        for (_, copy, bytes) in idle {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(bytes);
            let modules = self.remove(copy);
            evicted.push(Evicted { copy, modules });
        }
        Some(evicted)
    }

    /// Forgets the copies that are not mapped and were used before that time alone; returns them.
    pub(super) fn take_stale(
        &mut self,
        before: MonoNs,
        usage: impl Fn(CopyId, &[ModuleId]) -> Use,
    ) -> Vec<Evicted> {
        let stale = self.copies.iter().filter(|(copy, kept)| {
            let used = usage(**copy, &kept.modules);
            !used.is_mapped && used.last < before
        });
        let stale: Vec<CopyId> = stale.map(|(copy, _)| *copy).collect();
        let evicted = stale.into_iter().map(|copy| Evicted {
            copy,
            modules: self.remove(copy),
        });
        evicted.collect()
    }

    /// Forgets a copy; returns what it stood for.
    pub(super) fn remove(&mut self, copy: CopyId) -> Vec<ModuleId> {
        let Some(kept) = self.copies.remove(&copy) else {
            return Vec::new();
        };
        self.bytes -= kept.bytes;
        kept.modules
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: u64 = 100;

    fn copy(table: u64) -> CopyId {
        CopyId {
            table: Fingerprint::of_number(table),
            place: Place::Perfd,
        }
    }

    fn module(table: u64) -> ModuleId {
        ModuleId(u32::try_from(table).expect("small"))
    }

    /// Three copies of 30 bytes, of modules 1 to 3 that were used at those times.
    struct Bench {
        cache: TableCache,
        unmapped: Vec<u64>,
    }

    fn bench(unmapped: &[u64]) -> Bench {
        let mut bench = Bench {
            cache: TableCache::new(BUDGET),
            unmapped: unmapped.to_vec(),
        };
        for table in 1..=3 {
            let need = Need::Later {
                idle_since: MonoNs(0),
            };
            assert_eq!(bench.admit(table, 30, need), Some(vec![]));
        }
        bench
    }

    impl Bench {
        fn admit(&mut self, table: u64, bytes: u64, need: Need) -> Option<Vec<u64>> {
            let unmapped = &self.unmapped;
            let usage = |_: CopyId, modules: &[ModuleId]| Use {
                is_mapped: !modules.iter().all(|id| unmapped.contains(&id.0.into())),
                last: MonoNs(modules.iter().map(|id| id.0.into()).max().unwrap_or(0)),
            };
            let evicted = self
                .cache
                .admit(copy(table), bytes, module(table), need, usage)?;
            let modules = evicted.iter().flat_map(|evicted| &evicted.modules);
            Some(modules.map(|id| id.0.into()).collect())
        }
    }

    fn later(idle_since: u64) -> Need {
        Need::Later {
            idle_since: MonoNs(idle_since),
        }
    }

    fn now(since: u64) -> Need {
        Need::Now {
            since: MonoNs(since),
        }
    }

    /// Admits table 9 of `bytes`; `None`: it was refused.
    #[track_caller]
    fn check(unmapped: &[u64], bytes: u64, need: Need, expected: Option<&[u64]>, left: u64) {
        let mut bench = bench(unmapped);
        let evicted = bench.admit(9, bytes, need);
        assert_eq!(evicted.as_deref(), expected);
        assert_eq!(bench.cache.bytes(), left);
        assert_eq!(bench.cache.modules(copy(9)).is_empty(), expected.is_none());
    }

    #[test]
    fn what_is_given_back_is_not_mapped_and_was_not_used_for_long() {
        let given_back = |unmapped: &[u64], before: u64| {
            let mut bench = bench(unmapped);
            let usage = |_: CopyId, modules: &[ModuleId]| Use {
                is_mapped: !modules.iter().all(|id| unmapped.contains(&id.0.into())),
                last: MonoNs(modules.iter().map(|id| id.0.into()).max().unwrap_or(0)),
            };
            let taken = bench.cache.take_stale(MonoNs(before), usage);
            assert_eq!(bench.cache.bytes(), 90 - 30 * taken.len() as u64);
            let mut modules: Vec<ModuleId> =
                taken.into_iter().flat_map(|taken| taken.modules).collect();
            modules.sort_unstable();
            modules
        };
        assert_eq!(given_back(&[], 4), []);
        assert_eq!(given_back(&[1, 3], 3), [module(1)]);
        assert_eq!(given_back(&[1, 3], 4), [module(1), module(3)]);
    }

    #[test]
    fn what_fits_evicts_nothing() {
        check(&[1, 2, 3], 10, later(99), Some(&[]), 100);
    }

    #[test]
    fn what_is_not_mapped_goes_first_and_then_the_least_recently_used() {
        check(&[3], 40, later(9), Some(&[3]), 100);
        check(&[2, 3], 60, later(9), Some(&[2, 3]), 90);
        check(&[], 20, later(9), Some(&[1]), 80);
        check(&[3], 60, later(9), Some(&[3, 1]), 90);
    }

    #[test]
    fn what_is_in_use_does_not_make_room_for_what_can_wait_and_nothing_goes_in_vain() {
        check(&[], 20, later(1), None, 90);
        check(&[], 60, later(2), None, 90);
        check(&[3], 80, later(2), None, 90);
        check(&[3], 60, later(2), Some(&[3, 1]), 90);
        check(&[1, 2, 3], 101, later(9), None, 90);
    }

    #[test]
    fn what_a_sample_waits_for_comes_in_beyond_the_budget_only_by_what_was_used_meanwhile() {
        check(&[], 20, now(2), Some(&[1]), 80);
        check(&[], 60, now(2), Some(&[1]), 120);
        check(&[], 200, now(0), Some(&[]), 290);
        // The next one brings it back.
        let mut bench = bench(&[]);
        assert_eq!(bench.admit(9, 60, now(2)), Some(vec![1]));
        assert_eq!(bench.admit(10, 10, now(10)), Some(vec![2]));
        assert_eq!(bench.cache.bytes(), 100);
    }

    #[test]
    fn a_copy_stands_for_every_module_that_shares_it_and_for_none_when_it_is_gone() {
        let mut bench = bench(&[1]);
        assert!(bench.cache.share(copy(1), ModuleId(7)));
        assert!(bench.cache.share(copy(1), ModuleId(7)));
        assert_eq!(bench.cache.modules(copy(1)), [ModuleId(1), ModuleId(7)]);
        assert_eq!(bench.cache.bytes(), 90);
        // Module 7 is mapped, and was used last of all.
        assert_eq!(bench.admit(9, 40, later(9)), Some(vec![2]));
        assert_eq!(bench.cache.remove(copy(1)), [ModuleId(1), ModuleId(7)]);
        assert!(!bench.cache.share(copy(1), ModuleId(8)));
        assert_eq!(bench.cache.bytes(), 70);
    }

    #[test]
    fn copies_in_two_places_are_two() {
        let mut bench = bench(&[]);
        let in_kernel = CopyId {
            place: Place::Kernel,
            ..copy(1)
        };
        assert!(!bench.cache.share(in_kernel, module(1)));
        let usage = |_: CopyId, _: &[ModuleId]| unreachable!("it fits");
        let evicted = bench.cache.admit(in_kernel, 10, module(1), later(0), usage);
        assert_eq!(evicted, Some(vec![]));
        assert!(!bench.cache.has_room(1));
    }
}
