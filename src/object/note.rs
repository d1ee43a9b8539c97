//! ELF notes, of which perfd wants one: `NT_GNU_BUILD_ID`.

use super::headers::NoteRange;
use crate::model::BuildId;

/// Bytes of notes that are looked at; real files have under 200.
const MAX_NOTES: u64 = 64 << 10;
/// Longest build id that is believed: SHA-1 has 20 bytes, `--build-id=0x…` is free.
pub(super) const MAX_BUILD_ID: usize = 64;
const NT_GNU_BUILD_ID: u32 = 3;

/// The build id in the first of several places that has one; `read` gives the bytes at an offset, if it can.
pub(super) fn build_id_in(
    mut ranges: impl Iterator<Item = NoteRange>,
    read: impl Fn(u64, u64) -> Option<Vec<u8>>,
) -> Option<BuildId> {
    ranges.find_map(|range| {
        let bytes = read(range.offset, range.size.min(MAX_NOTES))?;
        build_id(&bytes, range.align)
    })
}

/// The build id among the notes in `bytes`, each padded to `align` (4, or 8 for GNU properties).
fn build_id(mut bytes: &[u8], align: u64) -> Option<BuildId> {
    let align = if align == 8 { 8 } else { 4 };
    loop {
        let (header, rest) = bytes.split_first_chunk::<12>()?;
        let word = |at: usize| {
            u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
        };
        let (name_size, value_size, kind) = (word(0) as usize, word(4) as usize, word(8));
        let name = rest.get(..name_size)?;
        let value_at = padded(12 + name_size, align) - 12;
        let value = rest.get(value_at..)?.get(..value_size)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return (1..=MAX_BUILD_ID)
                .contains(&value.len())
                .then(|| BuildId(value.into()));
        }
        bytes = rest.get(padded(12 + value_at + value_size, align) - 12..)?;
    }
}

fn padded(size: usize, align: usize) -> usize {
    size.next_multiple_of(align)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(kind: u32, name: &[u8], value: &[u8]) -> Vec<u8> {
        let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small").to_le_bytes();
        let mut note = [size(name), size(value), kind.to_le_bytes()].concat();
        note.extend_from_slice(name);
        note.resize(note.len().next_multiple_of(4), 0);
        note.extend_from_slice(value);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    }

    #[test]
    fn the_build_id_is_found_behind_other_notes() {
        let notes = [
            note(1, b"GNU\0", &[0; 16]),
            note(3, b"Go\0", &[9; 5]),
            note(3, b"GNU\0", &[0xab; 20]),
        ]
        .concat();
        let id = build_id(&notes, 4).expect("there is one");
        assert_eq!(id.to_string(), "ab".repeat(20));
    }

    #[test]
    fn notes_that_lie_about_their_size_are_no_build_id() {
        let whole = note(3, b"GNU\0", &[1; 20]);
        for cut in 0..whole.len() {
            assert_eq!(build_id(&whole[..cut], 4), None, "cut at {cut}");
        }
        assert_eq!(build_id(&[0xff; 64], 4), None);
        assert_eq!(build_id(&note(3, b"GNU\0", &[]), 4), None);
    }
}
