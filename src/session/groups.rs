//! Sets of targets, each once, with a number: what a process is in, and what its samples count for.

use rustc_hash::FxHashMap;

use crate::model::TargetId;

/// A set's number in [`Groups`]; in a run that has no targets of its own, all is [`GroupId::NONE`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct GroupId(u32);

impl GroupId {
    /// No target.
    pub(super) const NONE: GroupId = GroupId(0);
}

/// The sets that there are.
#[derive(Debug)]
pub(super) struct Groups {
    /// By number; sorted, each target once.
    sets: Vec<Box<[TargetId]>>,
    ids: FxHashMap<Box<[TargetId]>, GroupId>,
}

impl Groups {
    /// The set that has nothing in it.
    pub(super) fn new() -> Groups {
        Groups {
            sets: vec![Box::default()],
            ids: [(Box::default(), GroupId::NONE)].into_iter().collect(),
        }
    }

    /// The targets of a set, sorted.
    pub(super) fn targets(&self, group: GroupId) -> &[TargetId] {
        &self.sets[group.0 as usize]
    }

    /// Whether a target is in a set.
    pub(super) fn has(&self, group: GroupId, target: TargetId) -> bool {
        self.targets(group).binary_search(&target).is_ok()
    }

    /// How many sets there are.
    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// A set and more targets.
    pub(super) fn and(&mut self, group: GroupId, more: &[TargetId]) -> GroupId {
        if more.iter().all(|target| self.has(group, *target)) {
            return group;
        }
        let mut all: Vec<TargetId> = self.targets(group).iter().chain(more).copied().collect();
        all.sort_unstable();
        all.dedup();
        self.intern(all)
    }

    /// The targets of a set that are to be kept.
    pub(super) fn only(
        &mut self,
        group: GroupId,
        mut keep: impl FnMut(TargetId) -> bool,
    ) -> GroupId {
        let of = self.targets(group);
        let kept: Vec<TargetId> = of.iter().copied().filter(|target| keep(*target)).collect();
        match kept.len() == of.len() {
            true => group,
            false => self.intern(kept),
        }
    }

    fn intern(&mut self, targets: Vec<TargetId>) -> GroupId {
        let targets: Box<[TargetId]> = targets.into();
        if let Some(id) = self.ids.get(&targets) {
            return *id;
        }
        let id = u32::try_from(self.sets.len()).expect("memory ends before 2³² sets");
        self.sets.push(targets.clone());
        self.ids.insert(targets, GroupId(id));
        GroupId(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sets_have_one_number_however_they_came_about() {
        let mut groups = Groups::new();
        let [a, b, c] = [1, 2, 3].map(TargetId);
        let ab = groups.and(GroupId::NONE, &[b, a, b]);
        let abc = groups.and(ab, &[c]);
        assert_eq!(groups.targets(abc), [a, b, c]);
        assert_eq!(groups.and(ab, &[a]), ab);
        assert_eq!(groups.only(abc, |target| target != c), ab);
        assert_eq!(groups.only(abc, |_| true), abc);
        assert_eq!(groups.only(abc, |_| false), GroupId::NONE);
        assert!(groups.has(abc, b) && !groups.has(ab, c));
        assert_eq!(groups.len(), 3);
    }
}
