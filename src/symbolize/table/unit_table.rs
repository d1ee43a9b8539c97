//! The table of one unit: made from its parts, and asked.

use super::NONE;
use super::bytes::{number, partition};
use super::flatten::{Scope, ScopeRange, flatten};
use super::rows::{self, Packed, Row};

/// Inlined calls that are shown of one address; a compiler inlines some tens deep.
const MAX_CHAIN: usize = 256;
const HEADER: usize = 28;

/// What a table is made from.
#[derive(Debug, Default)]
pub(in crate::symbolize) struct Draft {
    pub(in crate::symbolize) scopes: Vec<Scope>,
    pub(in crate::symbolize) ranges: Vec<ScopeRange>,
    /// Sorted by start.
    pub(in crate::symbolize) rows: Vec<Row>,
    /// Numbers of the texts that are the files' paths.
    pub(in crate::symbolize) files: Vec<u32>,
}

impl Draft {
    /// The table; `None` if the unit's code lies more than 4 GiB apart.
    pub(in crate::symbolize) fn table(self) -> Option<Vec<u8>> {
        let pieces = flatten(self.ranges);
        let first_row = self.rows.first().map(|row| row.start);
        let first_piece = pieces.first().map(|piece| piece.0);
        let base = first_row.into_iter().chain(first_piece).min()?;
        let Packed {
            groups,
            bytes: lines,
        } = rows::pack(&self.rows, base)?;

        let mut bytes = Vec::new();
        bytes.extend_from_slice(&base.to_le_bytes());
        for len in [
            pieces.len(),
            self.scopes.len(),
            self.files.len(),
            groups.len(),
            lines.len(),
        ] {
            bytes.extend_from_slice(&u32::try_from(len).ok()?.to_le_bytes());
        }
        let mut put = |number: u32| bytes.extend_from_slice(&number.to_le_bytes());
        for (start, _) in &pieces {
            put(u32::try_from(start - base).ok()?);
        }
        pieces.iter().for_each(|(_, scope)| put(*scope));
        for scope in &self.scopes {
            put(scope.parent);
            put(scope.name);
            put(scope.call_file);
            put(scope.call_line);
        }
        self.files.iter().for_each(|file| put(*file));
        groups.iter().for_each(|(start, _)| put(*start));
        groups.iter().for_each(|(_, place)| put(*place));
        bytes.extend_from_slice(&lines);
        Some(bytes)
    }
}

/// A file's text number and a line; 0 where no line of the source stands for the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::symbolize) struct Place {
    pub(in crate::symbolize) file: u32,
    pub(in crate::symbolize) line: u32,
}

/// One function at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::symbolize) struct Found {
    /// Its name's text number; `None` for a function whose name is not known.
    pub(in crate::symbolize) name: Option<u32>,
    /// Where in it the address is, or the call of the function before.
    pub(in crate::symbolize) place: Option<Place>,
    /// Whether it was inlined into the next one.
    pub(in crate::symbolize) is_inlined: bool,
}

/// A table to be asked. It may be damaged: then it knows less.
#[derive(Debug)]
pub(in crate::symbolize) struct UnitTable {
    bytes: Vec<u8>,
    base: u64,
    n_pieces: usize,
    scopes_at: usize,
    files_at: usize,
    groups_at: usize,
    n_groups: usize,
    lines_at: usize,
}

impl UnitTable {
    /// `None` if these are not the bytes of a table.
    pub(in crate::symbolize) fn new(bytes: Vec<u8>) -> Option<UnitTable> {
        let base = u64::from_le_bytes(*bytes.first_chunk()?);
        let len = |index| number(&bytes, 8, index).map(|len| len as usize);
        let (n_pieces, n_scopes, n_files) = (len(0)?, len(1)?, len(2)?);
        let (n_groups, n_line_bytes) = (len(3)?, len(4)?);
        let scopes_at = HEADER + n_pieces * 8;
        let files_at = scopes_at + n_scopes * 16;
        let groups_at = files_at + n_files * 4;
        let lines_at = groups_at + n_groups * 8;
        (bytes.len() == lines_at + n_line_bytes).then_some(UnitTable {
            bytes,
            base,
            n_pieces,
            scopes_at,
            files_at,
            groups_at,
            n_groups,
            lines_at,
        })
    }

    /// Bytes of memory held.
    pub(in crate::symbolize) fn memory(&self) -> usize {
        self.bytes.len() + size_of::<UnitTable>()
    }

    /// Appends the functions at `address`, innermost first; none if none covers it.
    pub(in crate::symbolize) fn functions(&self, address: u64, found: &mut Vec<Found>) {
        let distance = address.checked_sub(self.base);
        if let Some(distance) = distance.and_then(|distance| u32::try_from(distance).ok()) {
            self.walk_up(distance, found);
        }
    }

    /// Where in the source the address is.
    pub(in crate::symbolize) fn place(&self, address: u64) -> Option<Place> {
        self.row(u32::try_from(address.checked_sub(self.base)?).ok()?)
    }

    fn walk_up(&self, distance: u32, found: &mut Vec<Found>) -> Option<()> {
        let behind = partition(&self.bytes, HEADER, self.n_pieces, distance)?;
        let piece = behind.checked_sub(1)?;
        let mut scope = number(&self.bytes, HEADER + self.n_pieces * 4, piece)?;
        let mut place = self.row(distance);
        for _ in 0..MAX_CHAIN {
            if scope == NONE {
                break;
            }
            let field = |index| number(&self.bytes, self.scopes_at, scope as usize * 4 + index);
            let (parent, name) = (field(0)?, field(1)?);
            found.push(Found {
                name: (name != NONE).then_some(name),
                place,
                is_inlined: parent != NONE,
            });
            place = self.file(field(2)?).map(|file| Place {
                file,
                line: field(3).unwrap_or_default(),
            });
            // Callees stand behind their callers, so that there is no circle.
            if parent != NONE && parent >= scope {
                break;
            }
            scope = parent;
        }
        Some(())
    }

    fn row(&self, distance: u32) -> Option<Place> {
        let lines = self.bytes.get(self.lines_at..)?;
        let (file, line) = rows::find(&self.bytes, self.groups_at, self.n_groups, lines, distance)?;
        Some(Place {
            file: self.file(file)?,
            line,
        })
    }

    fn file(&self, index: u32) -> Option<u32> {
        if index == NONE || self.files_at + index as usize * 4 >= self.groups_at {
            return None;
        }
        number(&self.bytes, self.files_at, index as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        let scope = |parent, name, call_line| Scope {
            parent,
            name,
            call_file: if parent == NONE { NONE } else { 0 },
            call_line,
        };
        let range = |start, end, scope| ScopeRange { start, end, scope };
        let row = |start, file, line| Row { start, file, line };
        Draft {
            scopes: vec![scope(NONE, 7, 0), scope(0, 8, 12), scope(1, NONE, 30)],
            ranges: vec![
                range(0x1000, 0x1100, 0),
                range(0x1010, 0x1030, 1),
                range(0x1018, 0x1020, 2),
            ],
            rows: vec![row(0x1000, 0, 10), row(0x1018, 1, 99), row(0x1100, NONE, 0)],
            files: vec![70, 71],
        }
    }

    #[test]
    fn functions_come_innermost_first_each_with_its_place() {
        let table = UnitTable::new(draft().table().expect("small")).expect("whole");
        let found = |address| {
            let mut found = Vec::new();
            table.functions(address, &mut found);
            found
                .iter()
                .map(|one| {
                    let place = one.place.map(|place| (place.file, place.line));
                    (one.name, place, one.is_inlined)
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(found(0x1000), [(Some(7), Some((70, 10)), false)]);
        assert_eq!(
            found(0x1019),
            [
                (None, Some((71, 99)), true),
                (Some(8), Some((70, 30)), true),
                (Some(7), Some((70, 12)), false),
            ]
        );
        assert_eq!(found(0x10ff), [(Some(7), Some((71, 99)), false)]);
        assert!(found(0xfff).is_empty() && found(0x1100).is_empty() && found(u64::MAX).is_empty());
        assert_eq!(table.place(0x1100), None);
    }

    #[test]
    fn damage_to_a_table_costs_knowledge_alone() {
        let whole = draft().table().expect("small");
        for cut in 0..whole.len() {
            assert!(UnitTable::new(whole[..cut].to_vec()).is_none(), "{cut}");
        }
        for at in 8..whole.len() {
            for damage in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = damage;
                if let Some(table) = UnitTable::new(bytes) {
                    for address in (0xff0..0x1110).step_by(3) {
                        table.functions(address, &mut Vec::new());
                    }
                }
            }
        }
    }

    #[test]
    fn code_that_lies_too_far_apart_has_no_table() {
        let mut draft = draft();
        draft.ranges.push(ScopeRange {
            start: 1 << 40,
            end: (1 << 40) + 5,
            scope: 0,
        });
        assert_eq!(draft.table(), None);
        assert_eq!(Draft::default().table(), None);
    }
}
