//! Which units there are, and which of them have code where.
//!
//! Only the first entry of each unit is read for it. What a linker threw away is at address 0, or at the end of the address space, and
//! not where the file has code.

use std::ops::Range;

use super::Corrupt;
use super::abbreviations;
use super::forms::{Bases, Extent, Lists};
use super::header::{UnitHeader, UnitKind};
use super::root::{Root, Wanted};
use super::sections::Sections;
use crate::symbolize::store::UnitRange;

/// More units than any program has: Chromium has some 40,000.
const MAX_UNITS: usize = 1 << 18;
/// Entries in lists of ranges of all units together, those that stand for no range too.
const MAX_RANGES: usize = 1 << 22;
/// Gaps so small between two functions of one unit are padding.
const PADDING: u64 = 32;
/// Units whose ranges overlap are asked in turn, but no more of them.
const MAX_CANDIDATES: usize = 8;
/// How far back a range that covers an address is looked for.
const MAX_STEPS: usize = 256;

/// Units by the addresses of their code.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Sorted by start.
    ranges: Vec<UnitRange>,
    /// For each range the greatest end up to it: where it is below an address, none before covers it.
    reach: Vec<u64>,
}

impl Index {
    /// Reads the first entries of all units in `.debug_info`, of a file that has code at `code`.
    pub(super) fn read(sections: &mut Sections, code: &Range<u64>) -> Result<Index, Corrupt> {
        let mut ranges = Vec::new();
        let mut offset = 0;
        let mut n_units = 0;
        let mut n_entries: usize = 0;
        let all_tables = sections.abbrev.size();
        sections
            .abbrev
            .allow(all_tables.saturating_add(abbreviations::FOR_A_UNIT));
        while offset < sections.info.size() {
            let parsed = UnitHeader::read(&mut sections.info, offset)?;
            if let Some(header) = parsed.header.filter(|header| header.kind == UnitKind::Code) {
                n_units += 1;
                if n_units > MAX_UNITS {
                    return Err(Corrupt);
                }
                let place = |extent: &Extent<'_>, bases: &Bases, sections: &mut Sections| {
                    let mut lists = Lists {
                        header: &header,
                        bases,
                        addr: &mut sections.addr,
                        ranges: &mut sections.ranges,
                        rnglists: &mut sections.rnglists,
                    };
                    extent.ranges(&mut lists, &mut |start, end| {
                        n_entries += 1;
                        if n_entries > MAX_RANGES {
                            return Err(Corrupt);
                        }
                        push(&mut ranges, start, end, header.offset, code);
                        Ok(())
                    })
                };
                Root::read(&header, sections, None, Wanted::Extent, place)?;
            }
            offset = parsed.end;
        }
        Ok(Index::new(merge(ranges)))
    }

    /// From ranges, sorted by start.
    pub(super) fn new(ranges: Vec<UnitRange>) -> Index {
        let mut greatest = 0;
        let reach = ranges.iter().map(|range| {
            greatest = range.end.max(greatest);
            greatest
        });
        Index {
            reach: reach.collect(),
            ranges,
        }
    }

    /// The units that may have code at `address`, by their places in `.debug_info`; the range that begins last comes first.
    pub(super) fn units_at(&self, address: u64) -> impl Iterator<Item = u64> {
        let behind = self.ranges.partition_point(|range| range.start <= address);
        let before = self.ranges[..behind].iter().zip(&self.reach[..behind]);
        before
            .rev()
            .take_while(move |(_, reach)| **reach > address)
            .take(MAX_STEPS)
            .filter(move |(range, _)| range.end > address)
            .map(|(range, _)| range.unit)
            .take(MAX_CANDIDATES)
    }

    /// The ranges, as they were given.
    pub(super) fn into_ranges(self) -> Vec<UnitRange> {
        self.ranges
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.ranges.capacity() * size_of::<UnitRange>() + self.reach.capacity() * 8
    }
}

fn push(ranges: &mut Vec<UnitRange>, start: u64, end: u64, unit: u64, code: &Range<u64>) {
    if start >= end || !code.contains(&start) {
        return;
    }
    let end = end.min(code.end);
    if let Some(last) = ranges.last_mut()
        && last.unit == unit
        && start
            .checked_sub(last.end)
            .is_some_and(|gap| gap <= PADDING)
    {
        last.end = end;
        return;
    }
    ranges.push(UnitRange { start, end, unit });
}

/// Sorted by start, with neighbours of one unit as one.
fn merge(mut ranges: Vec<UnitRange>) -> Vec<UnitRange> {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let is_next = next.unit == last.unit
            && next
                .start
                .checked_sub(last.end)
                .is_none_or(|gap| gap <= PADDING);
        if is_next {
            last.end = last.end.max(next.end);
        }
        is_next
    });
    ranges.shrink_to_fit();
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64, unit: u64) -> UnitRange {
        UnitRange { start, end, unit }
    }

    #[test]
    fn all_units_that_cover_an_address_are_found() {
        let ranges = vec![
            range(0, 1000, 1),
            range(10, 20, 2),
            range(15, 30, 3),
            range(50, 60, 2),
        ];
        let index = Index::new(ranges);
        let at = |address| index.units_at(address).collect::<Vec<_>>();
        assert_eq!(at(0), [1]);
        assert_eq!(at(17), [3, 2, 1]);
        assert_eq!(at(20), [3, 1]);
        assert_eq!(at(999), [1]);
        assert!(at(1000).is_empty());
        assert!(Index::default().units_at(5).next().is_none());
    }

    #[test]
    fn neighbours_of_one_unit_are_one_range_and_others_are_not() {
        let merged = merge(vec![
            range(100, 110, 1),
            range(0, 10, 1),
            range(16, 30, 1),
            range(30, 40, 2),
            range(40, 50, 1),
        ]);
        assert_eq!(
            merged,
            [
                range(0, 30, 1),
                range(30, 40, 2),
                range(40, 50, 1),
                range(100, 110, 1)
            ]
        );
    }

    #[test]
    fn what_was_thrown_away_is_not_taken_in() {
        let mut ranges = Vec::new();
        let code = 0x1000..0x2000;
        for (start, end) in [(0, 10), (u64::MAX - 1, u64::MAX), (0x1ff0, 0x2100)] {
            push(&mut ranges, start, end, 7, &code);
        }
        assert_eq!(ranges, [range(0x1ff0, 0x2000, 7)]);
    }
}
