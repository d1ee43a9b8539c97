//! Lines of addresses: rows `from this address on, this file and line`, packed in groups.
//!
//! A group begins with its first row's file and line; each row behind it says how far on it is (twice that, and one more where
//! the file is another), the file if so, and the difference of the lines.

use super::NONE;
use super::bytes::{number, partition, push_uleb128, uleb128, unzigzag, zigzag};

/// Rows of a group: finding one takes half of that many steps.
const GROUP: usize = 32;

/// From this address on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::symbolize) struct Row {
    pub(in crate::symbolize) start: u64,
    /// By its number in the table; [`NONE`] where no line is known.
    pub(in crate::symbolize) file: u32,
    /// 0 for code that no line of the source stands for.
    pub(in crate::symbolize) line: u32,
}

/// Rows in groups.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Packed {
    /// Where each group begins: the address, from the base on, and the place in `bytes`.
    pub(super) groups: Vec<(u32, u32)>,
    pub(super) bytes: Vec<u8>,
}

/// Packs `rows`, sorted, with starts within 4 GiB from `base` on.
pub(super) fn pack(rows: &[Row], base: u64) -> Option<Packed> {
    let Packed {
        mut groups,
        mut bytes,
    } = Packed::default();
    let start = |row: &Row| u32::try_from(row.start.checked_sub(base)?).ok();
    for group in rows.chunks(GROUP) {
        let first = group.first()?;
        groups.push((start(first)?, u32::try_from(bytes.len()).ok()?));
        push_uleb128(first.file.wrapping_add(1), &mut bytes);
        push_uleb128(first.line, &mut bytes);
        for (before, row) in group.iter().zip(&group[1..]) {
            let distance = start(row)?.checked_sub(start(before)?)?;
            let is_other_file = row.file != before.file;
            if distance >= 1 << 31 {
                return None;
            }
            push_uleb128(distance << 1 | u32::from(is_other_file), &mut bytes);
            if is_other_file {
                push_uleb128(row.file.wrapping_add(1), &mut bytes);
            }
            push_uleb128(zigzag(before.line, row.line), &mut bytes);
        }
    }
    Some(Packed { groups, bytes })
}

/// File and line at `distance` from the base. `groups` begin at `groups_at` in the table: first all starts, then all
/// places in `lines`.
pub(super) fn find(
    table: &[u8],
    groups_at: usize,
    n_groups: usize,
    lines: &[u8],
    distance: u32,
) -> Option<(u32, u32)> {
    let group = partition(table, groups_at, n_groups, distance)?.checked_sub(1)?;
    let start = number(table, groups_at, group)?;
    let places_at = groups_at + n_groups * 4;
    let mut at = number(table, places_at, group)? as usize;
    let end = match group + 1 < n_groups {
        true => number(table, places_at, group + 1)? as usize,
        false => lines.len(),
    };
    let lines = lines.get(..end)?;
    let mut file = uleb128(lines, &mut at)?.wrapping_sub(1);
    let mut line = uleb128(lines, &mut at)?;
    let mut reached = start;
    while at < lines.len() {
        let step = uleb128(lines, &mut at)?;
        reached = reached.wrapping_add(step >> 1);
        if reached > distance {
            break;
        }
        if step & 1 != 0 {
            file = uleb128(lines, &mut at)?.wrapping_sub(1);
        }
        line = unzigzag(line, uleb128(lines, &mut at)?);
    }
    (file != NONE).then_some((file, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[Row], base: u64) -> (Vec<u8>, usize, Vec<u8>) {
        let Packed { groups, bytes } = pack(rows, base).expect("sane rows");
        let starts = groups.iter().flat_map(|group| group.0.to_le_bytes());
        let places = groups.iter().flat_map(|group| group.1.to_le_bytes());
        (starts.chain(places).collect(), groups.len(), bytes)
    }

    #[test]
    fn every_address_has_the_row_that_begins_last_before_it() {
        let rows: Vec<Row> = (0..1000u32)
            .map(|idx| Row {
                start: 5000 + u64::from(idx * idx % 7 + idx * 10),
                file: match idx % 11 {
                    0 => NONE,
                    _ => idx / 20,
                },
                line: idx * 31 % 900,
            })
            .collect();
        let (table, n_groups, lines) = table(&rows, 4990);
        for address in 4990..15_100 {
            let expected = rows
                .iter()
                .rfind(|row| row.start <= address)
                .filter(|row| row.file != NONE)
                .map(|row| (row.file, row.line));
            let distance = u32::try_from(address - 4990).expect("small");
            assert_eq!(find(&table, 0, n_groups, &lines, distance), expected);
        }
    }

    #[test]
    fn what_cannot_be_packed_is_refused() {
        let row = |start| Row {
            start,
            file: 0,
            line: 1,
        };
        assert!(pack(&[row(5)], 6).is_none());
        assert!(pack(&[row(5), row(4)], 0).is_none());
        assert!(pack(&[row(1 << 33)], 0).is_none());
        assert_eq!(pack(&[], 0), Some(Packed::default()));
    }

    #[test]
    fn damaged_rows_give_no_line_and_no_panic() {
        let rows: Vec<Row> = (0..100)
            .map(|idx| Row {
                start: idx * 3,
                file: 0,
                line: 5,
            })
            .collect();
        let (table, n_groups, lines) = table(&rows, 0);
        for cut in 0..lines.len() {
            find(&table, 0, n_groups, &lines[..cut], 299);
        }
        for cut in 0..table.len() {
            find(&table[..cut], 0, n_groups, &lines, 299);
        }
    }
}
