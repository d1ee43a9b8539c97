//! What one process has mapped executable, as the side-band records and `/proc/PID/maps` tell it.

use super::{Avma, FileOffset, ModuleId, MonoNs};

/// A run of addresses that shows a module's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: Avma,
    /// Address behind the last byte.
    pub end: Avma,
    /// Where in the module the first byte comes from; equal to `start` for anonymous memory.
    pub file_offset: FileOffset,
    /// The module.
    pub module: ModuleId,
    /// The moment from which this mapping is known to hold.
    pub since: MonoNs,
}

impl Mapping {
    /// Where in the module an address of this mapping comes from.
    pub fn offset_of(&self, address: Avma) -> FileOffset {
        FileOffset(
            address
                .0
                .wrapping_sub(self.start.0)
                .wrapping_add(self.file_offset.0),
        )
    }

    fn part(&self, start: Avma, end: Avma) -> Mapping {
        Mapping {
            start,
            end,
            file_offset: self.offset_of(start),
            ..*self
        }
    }
}

/// The executable mappings of one process.
#[derive(Clone, Debug, Default)]
pub struct AddressSpace {
    /// Sorted by start, disjoint.
    mappings: Vec<Mapping>,
}

impl AddressSpace {
    /// Nothing mapped.
    pub fn new() -> AddressSpace {
        AddressSpace::default()
    }

    /// The mapping that holds `address`.
    pub fn find(&self, address: Avma) -> Option<&Mapping> {
        let behind = self
            .mappings
            .partition_point(|mapping| mapping.start <= address);
        let mapping = self.mappings.get(behind.checked_sub(1)?)?;
        (address < mapping.end).then_some(mapping)
    }

    /// Behind the last address of all mappings; 0 if there is none.
    pub fn end(&self) -> Avma {
        self.mappings.last().map_or(Avma(0), |last| last.end)
    }

    /// Adds a mapping. Where it overlaps, the later one (by `since`) wins: a record that arrives late
    /// does not bring back what a newer one has replaced.
    pub fn insert(&mut self, new: Mapping) {
        if new.start >= new.end {
            return;
        }
        let first = self
            .mappings
            .partition_point(|mapping| mapping.end <= new.start);
        let behind = self
            .mappings
            .partition_point(|mapping| mapping.start < new.end);
        let mut merged = Vec::with_capacity(behind - first + 2);
        let mut rest = Some(new);
        for old in &self.mappings[first..behind] {
            if old.since > new.since {
                if let Some(part) = rest.take() {
                    if part.start < old.start {
                        merged.push(part.part(part.start, old.start));
                    }
                    rest = (old.end < part.end).then(|| part.part(old.end, part.end));
                }
                merged.push(*old);
                continue;
            }
            if old.start < new.start {
                merged.push(old.part(old.start, new.start));
            }
            if old.end > new.end {
                merged.push(old.part(new.end, old.end));
            }
        }
        merged.extend(rest);
        merged.sort_by_key(|mapping| mapping.start);
        self.mappings.splice(first..behind, merged);
        debug_assert!(
            self.mappings
                .windows(2)
                .all(|pair| pair[0].end <= pair[1].start)
        );
    }

    /// Gives every mapping the module that takes the place of its own.
    pub fn replace_modules(&mut self, mut module: impl FnMut(ModuleId) -> ModuleId) {
        for mapping in &mut self.mappings {
            mapping.module = module(mapping.module);
        }
    }

    /// Forgets the mappings that are not to be kept.
    pub fn retain(&mut self, keep: impl FnMut(&Mapping) -> bool) {
        self.mappings.retain(keep);
    }

    /// The mappings, sorted by start.
    pub fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(start: u64, end: u64, module: u32, since: u64) -> Mapping {
        Mapping {
            start: Avma(start),
            end: Avma(end),
            file_offset: FileOffset(start),
            module: ModuleId(module),
            since: MonoNs(since),
        }
    }

    fn check(inserted: &[Mapping], expected: &[(u64, u64, u32)]) {
        let mut space = AddressSpace::new();
        inserted.iter().for_each(|mapping| space.insert(*mapping));
        let got: Vec<_> = space
            .iter()
            .map(|mapping| (mapping.start.0, mapping.end.0, mapping.module.0))
            .collect();
        assert_eq!(got, expected);
        assert!(
            space
                .iter()
                .all(|mapping| mapping.file_offset.0 == mapping.start.0)
        );
    }

    #[test]
    fn a_later_mapping_replaces_what_it_overlaps() {
        check(
            &[mapping(0, 10, 1, 1), mapping(4, 6, 2, 2)],
            &[(0, 4, 1), (4, 6, 2), (6, 10, 1)],
        );
        check(
            &[
                mapping(0, 10, 1, 1),
                mapping(10, 20, 2, 1),
                mapping(5, 15, 3, 2),
            ],
            &[(0, 5, 1), (5, 15, 3), (15, 20, 2)],
        );
    }

    #[test]
    fn a_record_that_arrives_late_only_fills_holes() {
        check(
            &[mapping(4, 6, 2, 2), mapping(0, 10, 1, 1)],
            &[(0, 4, 1), (4, 6, 2), (6, 10, 1)],
        );
        check(
            &[
                mapping(2, 4, 2, 5),
                mapping(6, 8, 3, 5),
                mapping(0, 10, 1, 1),
            ],
            &[(0, 2, 1), (2, 4, 2), (4, 6, 1), (6, 8, 3), (8, 10, 1)],
        );
    }

    #[test]
    fn an_address_is_found_in_its_mapping_and_not_behind_it() {
        let mut space = AddressSpace::new();
        space.insert(mapping(16, 32, 1, 1));
        assert_eq!(space.find(Avma(15)), None);
        assert_eq!(
            space.find(Avma(16)).map(|found| found.module),
            Some(ModuleId(1))
        );
        assert_eq!(space.find(Avma(32)), None);
    }
}
