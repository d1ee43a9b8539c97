//! Relocations that add the load address: what pointers in the file's data will be, where the linker left zeros.

use std::ops::ControlFlow;

use super::elf::{Elf, LinkedAddress};
use super::headers::Class;
use super::read_at::fill;

/// One entry of a 64-bit `SHT_RELA` section: place, type and symbol, addend.
const ENTRY: usize = 24;
/// Entries that are in memory at once.
const WINDOW: usize = 4096 * ENTRY;
/// The largest table that is read through.
const MAX_TABLE: u64 = 64 << 20;

impl Elf {
    /// Tells `visit` each pointer that `.rela.dyn` makes without a symbol, by its place and the linked address that it
    /// will hold, until it has enough. 64-bit files only; what cannot be read is passed over.
    pub fn pointers(&self, mut visit: impl FnMut(LinkedAddress, LinkedAddress) -> ControlFlow<()>) {
        let Some(table) = self.headers().find(".rela.dyn") else {
            return;
        };
        if self.headers().class != Class::Bits64 || table.is_compressed() {
            return;
        }
        let size = table.size.min(MAX_TABLE);
        let mut window = vec![0; WINDOW];
        let mut at = 0;
        while at < size {
            let want = usize::try_from(size - at).map_or(WINDOW, |rest| rest.min(WINDOW));
            let offset = table.offset.saturating_add(at);
            let read = fill(self.bytes().as_ref(), &mut window[..want], offset).unwrap_or(0);
            for entry in window[..read].chunks_exact(ENTRY) {
                let word = |idx: usize| {
                    let bytes = entry[8 * idx..].first_chunk().copied();
                    bytes.map_or(0, u64::from_le_bytes)
                };
                let has_symbol = word(1) >> 32 != 0;
                if !has_symbol && visit(LinkedAddress(word(0)), LinkedAddress(word(2))).is_break() {
                    return;
                }
            }
            if read < want {
                return;
            }
            at += want as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_pointers_lie_in_our_segments() {
        let file = std::fs::File::open("/proc/self/exe").expect("our own executable");
        let elf = Elf::parse(Box::new(file)).expect("is elf");
        let mut n_pointers = 0;
        elf.pointers(|place, _| {
            let holds = |s: &super::super::Segment| {
                (s.address.0..s.address.0 + s.memory_size).contains(&place.0)
            };
            assert!(elf.segments().iter().any(holds), "{place:?}");
            n_pointers += 1;
            match n_pointers {
                10 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        });
        assert_eq!(
            n_pointers, 10,
            "a position-independent program has pointers"
        );
    }
}
