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
/// Bytes of all paths of a unit: a byte of its program can name a directory of some KiB. What is beyond has no name.
const MAX_PATHS: usize = 32 << 20;
/// Bytes of a program's header, which lists the files, and of all of it.
const LARGEST_HEADER: u64 = 2 << 20;
const LARGEST: u64 = 64 << 20;
/// Rows of a unit's code. A row takes a byte of the program or more, and sixteen in memory.
const MAX_ROWS: usize = 8 << 20;

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
    let mut n_path_bytes = 0;
    let mut directories: FxHashMap<u64, Vec<u8>> = FxHashMap::default();
    for file in program.header().file_names() {
        if n_path_bytes > MAX_PATHS {
            break;
        }
        let index = file.directory_index();
        let directory = match directories.entry(index) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let directory = match program.header().directory(index) {
                    Some(value) => string(value)?,
                    None => Vec::new(),
                };
                let directory = joined(&root.directory, &directory);
                n_path_bytes += directory.len();
                new.insert(directory)
            }
        };
        let name = string(file.path_name())?;
        let path = joined(directory, &name);
        n_path_bytes += path.len();
        files.paths.push(path);
    }

    let mut sequences = Sequences::default();
    let mut rows = program.rows();
    while let Some((_, row)) = rows.next_row().map_err(|_| Corrupt)? {
        if row.end_sequence() {
            sequences.end(row.address(), code);
            continue;
        }
        if sequences.rows.len() >= MAX_ROWS {
            return Err(Corrupt);
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
    let bytes: [u8; 32] = match sections.line.array(offset) {
        Ok(bytes) => bytes,
        // A program of fewer bytes at the section's end.
        Err(Corrupt) => {
            let mut bytes = [0; 32];
            let rest = sections.line.at(offset, 32)?;
            bytes
                .get_mut(..rest.len())
                .ok_or(Corrupt)?
                .copy_from_slice(rest);
            bytes
        }
    };
    let word = |at: usize| {
        u64::from(u32::from_le_bytes([
            bytes[at],
            bytes[at + 1],
            bytes[at + 2],
            bytes[at + 3],
        ]))
    };
    let (is_64, length) = match word(0) {
        0xffff_ffff => (true, word(4) | word(8) << 32),
        length => (false, length),
    };
    let begins = if is_64 { 12 } else { 4 };
    let is_5 = u16::from_le_bytes([bytes[begins], bytes[begins + 1]]) >= 5;
    // Behind the version, and what sizes version 5 has there.
    let at = begins + if is_5 { 4 } else { 2 };
    let header = match is_64 {
        true => word(at) | word(at + 4) << 32,
        false => word(at),
    };
    let size = length.checked_add(begins as u64).ok_or(Corrupt)?;
    if header > LARGEST_HEADER || size > LARGEST {
        return Err(Corrupt);
    }
    Ok(size)
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
