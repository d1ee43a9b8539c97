//! The runtime's `moduledata`: a record in the program's data that says where the text begins and where the records of
//! inlined functions are. It has no symbol in a stripped program; it is found by what it points to.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::super::{Elf, LinkedAddress};
use super::memory::Memory;

/// `moduledata` in words: `pcHeader`, `funcnametab`, `cutab` (slices of three words), …
const HEADER: usize = 0;
const NAMES: usize = 1;
const UNITS: usize = 4;
/// `text`
const TEXT: usize = 22;
/// `gofunc` up to Go 1.19, and from 1.20 on, which put two words before it.
const FUNCTION_DATA_118: usize = 38;
const FUNCTION_DATA_120: usize = 40;
/// Words that are looked at.
const N_WORDS: usize = 41;

/// Bytes of data that are searched at most.
const MAX_SEARCH: u64 = 64 << 20;
const WINDOW: usize = 64 << 10;
/// Places that point to the table's header.
const MAX_CANDIDATES: usize = 64;

/// What tells the record from others that point to the table.
pub(super) struct Known {
    /// Where the table is.
    pub(super) header: u64,
    /// Where its names are.
    pub(super) names: u64,
    /// Where its files by compilation unit are.
    pub(super) units: u64,
    /// Bytes of a pointer.
    pub(super) width: u64,
    /// Whether Go is 1.20 or later.
    pub(super) is_120: bool,
}

/// What is wanted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ModuleData {
    /// Where the text begins.
    pub(super) text: u64,
    /// What offsets of function data count from.
    pub(super) function_data: u64,
}

/// The record that points to the table; pointers are as the linker left them in the file, or as relocations make them.
pub(super) fn find(elf: &Elf, memory: &mut Memory, known: &Known) -> Option<ModuleData> {
    let in_place = search(memory, known);
    let found = in_place
        .into_iter()
        .find_map(|place| read(memory, known, place, &BTreeMap::new()));
    found.or_else(|| find_relocated(elf, memory, known))
}

fn find_relocated(elf: &Elf, memory: &mut Memory, known: &Known) -> Option<ModuleData> {
    let mut places = Vec::new();
    elf.pointers(|place, target| {
        if target.0 == known.header {
            places.push(place.0);
        }
        match places.len() < MAX_CANDIDATES {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    if places.is_empty() {
        return None;
    }
    let mut pointers = BTreeMap::new();
    let size = N_WORDS as u64 * known.width;
    elf.pointers(|place, target| {
        let is_near = |start: &u64| (*start..start.saturating_add(size)).contains(&place.0);
        if places.iter().any(is_near) {
            pointers.insert(place.0, target.0);
        }
        match pointers.len() < MAX_CANDIDATES * N_WORDS {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    places
        .into_iter()
        .find_map(|place| read(memory, known, place, &pointers))
}

/// Places in the data that hold the address of the table.
fn search(memory: &Memory, known: &Known) -> Vec<u64> {
    let width = if known.width == 4 { 4 } else { 8 };
    let wanted = known.header.to_le_bytes();
    let mut found = Vec::new();
    let mut window = vec![0; WINDOW];
    let mut left = MAX_SEARCH;
    for range in memory.image().data() {
        // A segment at the very end of the address space has no such place.
        let Some(mut at) = range.start.checked_next_multiple_of(8) else {
            continue;
        };
        while at < range.end && left > 0 && found.len() < MAX_CANDIDATES {
            if memory.image().read(LinkedAddress(at), &mut window) == 0 {
                break;
            }
            let words = window.chunks_exact(width).enumerate();
            let hits = words.filter(|(_, word)| *word == &wanted[..width]);
            found.extend(hits.map(|(idx, _)| at.saturating_add((idx * width) as u64)));
            at = at.saturating_add(WINDOW as u64);
            left = left.saturating_sub(WINDOW as u64);
        }
    }
    found.truncate(MAX_CANDIDATES);
    found
}

/// The record at `place`, if it is one.
fn read(
    memory: &mut Memory,
    known: &Known,
    place: u64,
    pointers: &BTreeMap<u64, u64>,
) -> Option<ModuleData> {
    let mut word = |idx: usize| {
        let at = place.checked_add(idx as u64 * known.width)?;
        match pointers.get(&at) {
            Some(target) => Some(*target),
            None => memory.pointer(at, known.width),
        }
    };
    let is_record =
        word(HEADER)? == known.header && word(NAMES)? == known.names && word(UNITS)? == known.units;
    let function_data = match known.is_120 {
        true => FUNCTION_DATA_120,
        false => FUNCTION_DATA_118,
    };
    let found = ModuleData {
        text: word(TEXT)?,
        function_data: word(function_data)?,
    };
    (is_record && found.text != 0 && found.function_data != 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::super::super::Image;
    use super::*;

    #[test]
    fn the_record_is_told_from_others_that_point_to_the_table() {
        let mut words = vec![0u64; 200];
        let known = Known {
            header: 0x1000,
            names: 0x1040,
            units: 0x2000,
            width: 8,
            is_120: true,
        };
        words[3] = 0x1000;
        let record = 50;
        for (idx, value) in [
            (HEADER, 0x1000),
            (NAMES, 0x1040),
            (UNITS, 0x2000),
            (TEXT, 0x40_1000),
            (FUNCTION_DATA_120, 0x50_0000),
        ] {
            words[record + idx] = value;
        }
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut memory = Memory::new(Image::of(bytes, 0x60_0000));
        let places = search(&memory, &known);
        assert_eq!(places, [0x60_0000 + 3 * 8, 0x60_0000 + 50 * 8]);
        let read = |memory: &mut Memory, place| read(memory, &known, place, &BTreeMap::new());
        assert_eq!(read(&mut memory, places[0]), None);
        let expected = ModuleData {
            text: 0x40_1000,
            function_data: 0x50_0000,
        };
        assert_eq!(read(&mut memory, places[1]), Some(expected));
    }
}
