//! The part that a compiler has split from a function, where no symbol says so: a stripped interpreter has the name of
//! `_PyEval_EvalFrameDefault`, but none of its `.cold` part, which may well be where most of it is.
//!
//! The two parts jump into each other, and nothing else jumps into the middle of a function. Where functions begin, the index of
//! `.eh_frame` says (`.eh_frame_hdr`): the split part has an entry of its own.

use std::ops::Range;

use rustc_hash::FxHashMap;

use crate::object::{Elf, ElfError, LinkedAddress};

/// Jumps from each part into the other that have to be seen: bytes that only look like one may lead there by chance, but not often.
const ENOUGH: usize = 3;
/// `DW_EH_PE_datarel | DW_EH_PE_sdata4`, as all linkers write the index.
const RELATIVE: u8 = 0x3b;
/// `DW_EH_PE_udata4`
const COUNT: u8 = 0x03;
/// Bytes of a function that are looked at: in Debian's interpreters the larger part has 60 to 90 KB.
const MAX_FUNCTION: u64 = 4 << 20;

/// The split part of the function there; `None` if it has none.
pub(super) fn split_part(elf: &Elf, function: &Range<u64>) -> Option<Range<u64>> {
    let starts = function_starts(elf)?;
    let mut into: FxHashMap<u64, usize> = FxHashMap::default();
    visit_jumps(elf, function, |target| {
        if let Some(part) = middle_of(&starts, target)
            && !function.contains(&target)
        {
            *into.entry(part.start).or_default() += 1;
        }
    })?;
    let (start, n) = into.into_iter().max_by_key(|(start, n)| (*n, *start))?;
    let part = middle_of(&starts, start + 1)?;
    let mut n_back = 0;
    visit_jumps(elf, &part, |target| {
        n_back += usize::from(function.contains(&target) && target != function.start);
    })?;
    (n >= ENOUGH && n_back >= ENOUGH).then_some(part)
}

fn visit_jumps(elf: &Elf, code: &Range<u64>, visit: impl FnMut(u64)) -> Option<()> {
    let size = code.end.checked_sub(code.start)?;
    let size = usize::try_from(size.min(MAX_FUNCTION)).ok()?;
    let bytes = elf.bytes_at(LinkedAddress(code.start), size).ok()?;
    elf.machine().visit_jumps(&bytes, code.start, visit);
    Some(())
}

/// The function whose bytes, but for the first one, the address is among. It reaches to the next one.
fn middle_of(starts: &[u64], address: u64) -> Option<Range<u64>> {
    let behind = starts.partition_point(|start| *start <= address);
    let start = *starts.get(behind.checked_sub(1)?)?;
    let end = *starts.get(behind)?;
    (start != address).then_some(start..end)
}

/// The starts of all functions that have rows, sorted.
fn function_starts(elf: &Elf) -> Option<Vec<u64>> {
    let index: Result<_, ElfError> = elf.section(".eh_frame_hdr");
    let index = index.ok()??;
    let [
        1,
        _,
        COUNT,
        RELATIVE,
        _,
        _,
        _,
        _,
        n_0,
        n_1,
        n_2,
        n_3,
        entries @ ..,
    ] = &*index.bytes
    else {
        return None;
    };
    let n = usize::try_from(u32::from_le_bytes([*n_0, *n_1, *n_2, *n_3])).ok()?;
    let start = |entry: &[u8]| {
        let distance: [u8; 4] = entry[..4].try_into().expect("eight bytes");
        let distance = i32::from_le_bytes(distance);
        index.address.0.wrapping_add_signed(distance.into())
    };
    let mut starts: Vec<u64> = entries.chunks_exact(8).take(n).map(start).collect();
    starts.sort_unstable();
    Some(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_middle_of_the_function_around_it_unless_it_is_its_start() {
        let starts = [10, 20, 30];
        assert_eq!(middle_of(&starts, 11), Some(10..20));
        assert_eq!(middle_of(&starts, 29), Some(20..30));
        for address in [5, 10, 20, 30, 31] {
            assert_eq!(middle_of(&starts, address), None, "{address}");
        }
    }

    #[test]
    fn functions_begin_where_the_index_says() {
        let file = std::fs::File::open("/proc/self/exe").expect("our own executable");
        let elf = Elf::parse(Box::new(file)).expect("is elf");
        let starts = function_starts(&elf).expect("linkers write one");
        let named = elf.symbols_named(crate::object::SymbolTables::All, |name| name == "main");
        let main = named.expect("readable")[0].address.0;
        assert!(starts.binary_search(&main).is_ok());
    }
}
