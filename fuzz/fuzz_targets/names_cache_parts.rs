//! Files of kept names whose check sums are right and whose content is anything.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
struct Kept {
    /// Names and paths: flags, the linkage name, bytes.
    texts: Vec<(u8, u8, Vec<u8>)>,
    pieces: Vec<Vec<u8>>,
    tables: Vec<Table>,
    /// Start, size, unit.
    ranges: Vec<(u16, u16, u8)>,
    damage: Vec<(u16, u8)>,
}

#[derive(Arbitrary, Debug)]
struct Table {
    unit: u8,
    base: u16,
    pieces: Vec<(u8, u8)>,
    scopes: Vec<[u8; 4]>,
    files: Vec<u8>,
    groups: Vec<(u8, u8)>,
    lines: Vec<u8>,
}

/// Small numbers, and the one that stands for none.
fn number(byte: u8) -> u32 {
    match byte {
        255 => u32::MAX,
        byte => byte.into(),
    }
}

fn push_all(numbers: impl IntoIterator<Item = u32>, bytes: &mut Vec<u8>) {
    numbers
        .into_iter()
        .for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
}

fn len<T>(list: &[T]) -> u32 {
    u32::try_from(list.len()).expect("small")
}

impl Table {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = u64::from(self.base).to_le_bytes().to_vec();
        let Table { pieces, scopes, files, groups, lines, .. } = self;
        push_all([len(pieces), len(scopes), len(files), len(groups), len(lines)], &mut bytes);
        push_all(pieces.iter().map(|piece| number(piece.0)), &mut bytes);
        push_all(pieces.iter().map(|piece| number(piece.1)), &mut bytes);
        push_all(scopes.iter().flatten().map(|field| number(*field)), &mut bytes);
        push_all(files.iter().map(|file| number(*file)), &mut bytes);
        push_all(groups.iter().map(|group| number(group.0)), &mut bytes);
        push_all(groups.iter().map(|group| number(group.1)), &mut bytes);
        bytes.extend_from_slice(lines);
        bytes
    }
}

/// Appends bytes, and to the directory where they are.
fn put(bytes: &[u8], file: &mut Vec<u8>, directory: &mut Vec<u8>) {
    directory.extend_from_slice(&(file.len() as u64).to_le_bytes());
    push_all([len(bytes), crc32fast::hash(bytes)], directory);
    file.extend_from_slice(bytes);
}

libfuzzer_sys::fuzz_target!(|kept: Kept| {
    let mut file = Vec::new();
    let mut first = Vec::new();
    for (flags, linkage, bytes) in &kept.texts {
        let size = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        first.extend_from_slice(&size.to_le_bytes());
        first.push(*flags);
        push_all([number(*linkage)], &mut first);
        first.extend_from_slice(bytes);
    }
    let pieces = [&[first], kept.pieces.as_slice()].concat();
    let mut tables: Vec<(u64, Vec<u8>)> = kept
        .tables
        .iter()
        .map(|table| (u64::from(table.unit % 4), table.bytes()))
        .collect();
    tables.sort();
    let mut directory = Vec::new();
    push_all([len(&pieces), len(&tables), len(&kept.ranges)], &mut directory);
    for piece in &pieces {
        put(piece, &mut file, &mut directory);
    }
    for (unit, table) in &tables {
        directory.extend_from_slice(&unit.to_le_bytes());
        put(table, &mut file, &mut directory);
    }
    for (start, size, unit) in &kept.ranges {
        let start = u64::from(*start);
        for value in [start, start + u64::from(*size), u64::from(unit % 4)] {
            directory.extend_from_slice(&value.to_le_bytes());
        }
    }
    for (at, byte) in &kept.damage {
        let at = usize::from(*at) % directory.len();
        directory[at] = *byte;
    }
    let mut end = Vec::new();
    put(&directory, &mut file, &mut end);
    file.extend_from_slice(&end);
    file.extend_from_slice(b"perfd names v1\r\n");
    entries::names_cache(&file);
});
