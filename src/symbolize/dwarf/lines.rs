//! A unit's line program: rows of addresses, files and lines (§6.2 of the DWARF 5 standard; gimli runs it).

use std::collections::hash_map::Entry;
use std::ops::Range;

use gimli::{DebugLine, DebugLineOffset, EndianSlice, LittleEndian};
use rustc_hash::FxHashMap;

use super::Corrupt;
use super::forms::{Text, Value, text, with_text};
use super::header::UnitHeader;
use super::root::Root;
use super::sections::Sections;
use crate::symbolize::store::Growing;
use crate::symbolize::table::{NONE, Row};

/// Longest path; what is longer has no name.
const MAX_PATH: usize = 8 << 10;

/// The files of a unit as its table numbers them: those that some row or call names.
#[derive(Default)]
pub(super) struct Files {
    /// The path that each file of the line program has.
    paths: Vec<Vec<u8>>,
    /// Files of DWARF 4 and before are counted from 1.
    first: u64,
    /// The number in the table, by that in the line program.
    numbers: FxHashMap<u64, u32>,
    /// Numbers of the texts that the table's files are.
    pub(super) texts: Vec<u32>,
}

impl Files {
    /// The table's number of a file of the line program.
    pub(super) fn number(&mut self, file: u64, growing: &Growing) -> u32 {
        let Files {
            paths,
            first,
            numbers,
            texts,
        } = self;
        *numbers.entry(file).or_insert_with(|| {
            let path = file
                .checked_sub(*first)
                .and_then(|idx| paths.get(usize::try_from(idx).ok()?))
                .filter(|path| !path.is_empty() && path.len() <= MAX_PATH);
            let Some(path) = path else {
                return NONE;
            };
            let Ok(number) = u32::try_from(texts.len()) else {
                return NONE;
            };
            texts.push(growing.path(path));
            number
        })
    }
}

/// Runs the line program of a unit: its files, and the rows of what has code at `code`, sorted.
pub(super) fn read(
    root: &Root,
    header: &UnitHeader,
    sections: &mut Sections,
    mut alternate: Option<&mut Sections>,
    code: &Range<u64>,
    growing: &Growing,
) -> Result<(Files, Vec<Row>), Corrupt> {
    let Some(offset) = root.lines else {
        return Ok(Default::default());
    };
    let size = program_size(sections, offset)?;
    let mut bytes = Vec::new();
    sections.line.read(offset, size, &mut bytes)?;
    let program = DebugLine::new(&bytes, LittleEndian)
        .program(
            DebugLineOffset(0),
            header.encoding.address_size,
            Some(EndianSlice::new(&root.directory, LittleEndian)),
            Some(EndianSlice::new(&root.name, LittleEndian)),
        )
        .map_err(|_| Corrupt)?;

    let mut files = Files {
        first: u64::from(program.header().version() < 5),
        ..Files::default()
    };
    let mut string = |value: Value<'_>| -> Result<Vec<u8>, Corrupt> {
        let place = text(value, header, &root.bases, &mut sections.str_offsets)?;
        let place = place.unwrap_or(Text::Inline(&[]));
        with_text(place, sections, alternate.as_deref_mut(), <[u8]>::to_vec)
    };
    let mut directories: FxHashMap<u64, Vec<u8>> = FxHashMap::default();
    for file in program.header().file_names() {
        let index = file.directory_index();
        let directory = match directories.entry(index) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let directory = match program.header().directory(index) {
                    Some(value) => string(value)?,
                    None => Vec::new(),
                };
                new.insert(joined(&root.directory, &directory))
            }
        };
        let name = string(file.path_name())?;
        files.paths.push(joined(directory, &name));
    }

    let mut sequences = Sequences::default();
    let mut rows = program.rows();
    while let Some((_, row)) = rows.next_row().map_err(|_| Corrupt)? {
        if row.end_sequence() {
            sequences.end(row.address(), code);
            continue;
        }
        sequences.rows.push(Row {
            start: row.address(),
            file: files.number(row.file_index(), growing),
            line: row
                .line()
                .map_or(0, |line| u32::try_from(line.get()).unwrap_or(u32::MAX)),
        });
    }
    Ok((files, sequences.sorted()))
}

/// Bytes of the program, which its first bytes say.
fn program_size(sections: &mut Sections, offset: u64) -> Result<u64, Corrupt> {
    let length = u32::from_le_bytes(sections.line.array(offset)?);
    match length {
        0xffff_ffff => {
            let at = offset.checked_add(4).ok_or(Corrupt)?;
            let length = u64::from_le_bytes(sections.line.array(at)?);
            length.checked_add(12).ok_or(Corrupt)
        }
        length => Ok(u64::from(length) + 4),
    }
}

/// `path`, which is relative to `directory` unless it begins with a slash.
fn joined(directory: &[u8], path: &[u8]) -> Vec<u8> {
    if path.starts_with(b"/") || directory.is_empty() {
        return path.to_vec();
    }
    if path.is_empty() {
        return directory.to_vec();
    }
    let mut whole = directory.to_vec();
    if !whole.ends_with(b"/") {
        whole.push(b'/');
    }
    whole.extend_from_slice(path);
    whole
}

/// Rows of runs of code, which a line program has in any order.
#[derive(Default)]
struct Sequences {
    rows: Vec<Row>,
    /// Where in `rows` the present sequence begins.
    begins: usize,
    /// First row, row behind the last, and address of the end, of those that are kept.
    kept: Vec<(usize, usize, u64)>,
}

impl Sequences {
    /// The present sequence ends before `end`.
    fn end(&mut self, end: u64, code: &Range<u64>) {
        let (from, to) = (self.begins, self.rows.len());
        let rows = &self.rows[from..];
        let is_code = rows.first().is_some_and(|row| code.contains(&row.start));
        let ends_last = rows.last().is_some_and(|row| row.start <= end);
        if is_code && ends_last && rows.is_sorted_by_key(|row| row.start) {
            self.kept.push((from, to, end));
        } else {
            self.rows.truncate(from);
        }
        self.begins = self.rows.len();
    }

    /// All rows by address: of those at one address the last, and none for an address that the one before has too.
    fn sorted(mut self) -> Vec<Row> {
        self.kept.sort_by_key(|(from, _, _)| self.rows[*from].start);
        let mut sorted: Vec<Row> = Vec::with_capacity(self.rows.len() + self.kept.len());
        let mut reached = 0;
        for (from, to, end) in &self.kept {
            for row in &self.rows[*from..*to] {
                if row.start < reached {
                    continue;
                }
                match sorted.last_mut() {
                    Some(last) if last.start == row.start => *last = *row,
                    Some(last) if (last.file, last.line) == (row.file, row.line) => {}
                    _ => sorted.push(*row),
                }
            }
            if *end > reached {
                sorted.push(Row {
                    start: *end,
                    file: NONE,
                    line: 0,
                });
                reached = *end;
            }
        }
        sorted.dedup_by(|next, last| (next.file, next.line) == (last.file, last.line));
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_as_the_standard_says() {
        let check = |directory: &[u8], path: &[u8], expected: &[u8]| {
            assert_eq!(joined(directory, path), expected);
        };
        check(b"/src", b"a.c", b"/src/a.c");
        check(b"/src/", b"a.c", b"/src/a.c");
        check(b"/src", b"/usr/a.h", b"/usr/a.h");
        check(b"", b"a.c", b"a.c");
        check(b"/src", b"", b"/src");
    }

    #[test]
    fn sequences_are_sorted_and_end_where_they_end() {
        let row = |start, line| Row {
            start,
            file: 0,
            line,
        };
        let gap = |start| Row {
            start,
            file: NONE,
            line: 0,
        };
        let code = 10..1000;
        let mut sequences = Sequences::default();
        for (rows, end) in [
            // Thrown away by the linker.
            (vec![row(0, 9), row(5, 9)], 8),
            (vec![row(50, 1), row(50, 2), row(52, 2), row(55, 3)], 60),
            (vec![row(20, 4), row(30, 5)], 50),
            // Not sorted: not to be trusted.
            (vec![row(70, 1), row(65, 2)], 80),
            // Inside of what is known already.
            (vec![row(21, 7)], 25),
        ] {
            sequences.rows.extend(rows);
            sequences.end(end, &code);
        }
        assert_eq!(
            sequences.sorted(),
            [row(20, 4), row(30, 5), row(50, 2), row(55, 3), gap(60)]
        );
    }
}
