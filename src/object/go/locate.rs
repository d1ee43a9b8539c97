//! Where in a file the table is.

use super::super::{Elf, Image, LinkedAddress};

/// What the section is called; in position-independent programs the loader changes it.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Sections that no other linker makes. Where the C linker has put the table into `.data.rel.ro`, they tell that there is one.
const OTHERS: [&str; 3] = [".go.buildinfo", ".note.go.buildid", ".noptrdata"];
/// The table begins at a multiple of this.
const ALIGN: usize = 16;
/// Bytes that are searched at most.
const MAX_SEARCH: u64 = 256 << 20;
/// Bytes of it that are in memory at once.
const WINDOW: usize = 64 << 10;

/// Every address at which `elf` may have its table: that of the section; or, in a Go program without it and in a file
/// without section headers, those at which one of the known magics stands.
pub(super) fn candidates(elf: &Elf, image: &Image) -> Vec<u64> {
    let sections = SECTIONS.iter().filter_map(|name| elf.section_address(name));
    let found: Vec<u64> = sections.map(|address| address.0).collect();
    let has_any = |names: &[&str]| names.iter().any(|name| elf.section_address(name).is_some());
    let may_have_one = !elf.has_sections() || has_any(&OTHERS);
    match found.is_empty() && may_have_one {
        true => search(image),
        false => found,
    }
}

/// The first few places of a magic with a header behind it.
fn search(image: &Image) -> Vec<u64> {
    const MAX_CANDIDATES: usize = 16;
    let mut found = Vec::new();
    let mut left = MAX_SEARCH;
    let mut window = vec![0; WINDOW];
    for range in image.data() {
        // A segment at the very end of the address space has no such place.
        let Some(mut at) = range.start.checked_next_multiple_of(ALIGN as u64) else {
            continue;
        };
        while at < range.end && left > 0 && found.len() < MAX_CANDIDATES {
            if image.read(LinkedAddress(at), &mut window) == 0 {
                break;
            }
            let places = window.chunks_exact(ALIGN).enumerate();
            let hits = places.filter(|(_, bytes)| is_header(bytes));
            found.extend(hits.map(|(idx, _)| at.saturating_add((idx * ALIGN) as u64)));
            at = at.saturating_add(WINDOW as u64);
            left = left.saturating_sub(WINDOW as u64);
        }
    }
    found.truncate(MAX_CANDIDATES);
    found
}

/// A known magic, two zeros, the size of an instruction, and of a pointer.
fn is_header(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [
            0xfb | 0xfa | 0xf0 | 0xf1,
            0xff,
            0xff,
            0xff,
            0,
            0,
            1 | 2 | 4,
            4 | 8,
            ..
        ]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_magic_is_found_wherever_it_is_aligned() {
        let mut bytes = vec![0; 3 * WINDOW];
        let header = [0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 8];
        for at in [32, WINDOW + 24, 2 * WINDOW] {
            bytes[at..at + 8].copy_from_slice(&header);
        }
        let image = Image::of(bytes, 0x40_0000);
        let expected = [0x40_0000 + 32, 0x40_0000 + 2 * WINDOW as u64];
        assert_eq!(search(&image), expected);
    }

    #[test]
    fn a_segment_at_the_end_of_the_address_space_is_searched_as_far_as_it_goes() {
        for distance in [1, 15, 16, 17, 64] {
            let bytes = vec![0xf1; 64];
            assert!(search(&Image::of(bytes, u64::MAX - distance)).is_empty());
        }
    }

    #[test]
    fn a_file_full_of_magics_has_few_candidates() {
        let bytes = [0xf0, 0xff, 0xff, 0xff, 0, 0, 4, 8].repeat(1 << 16);
        assert!(search(&Image::of(bytes, 0)).len() <= 16);
    }
}
