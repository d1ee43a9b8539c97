//! Numbers that hold for runs of code: lines, files, sizes of frames, indices of inlined functions.
//!
//! A list of pairs of varints, from the function's entry on, its number −1 before the first pair: what the number
//! grows by (zigzag), and how many instruction units it then holds. A zero that is not the first number ends it.

use super::memory::Memory;

/// Pairs of one function at most; the largest functions of the standard library have some thousand.
const MAX_STEPS: u32 = 1 << 18;

/// A list, and the code that it is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Values {
    /// Address of the list.
    pub(super) list: u64,
    /// First byte of the function.
    pub(super) entry: u64,
    /// Behind its last byte.
    pub(super) end: u64,
    /// Bytes of an instruction unit.
    pub(super) quantum: u64,
}

impl Values {
    /// The number that holds at `address`.
    pub(super) fn at(&self, memory: &mut Memory, address: u64) -> Option<i32> {
        let mut found = None;
        self.each(memory, |_, end, value| {
            let is_there = address < end;
            if is_there {
                found = Some(value);
            }
            !is_there
        });
        found
    }

    /// Tells each run, in order (start, end, number), as long as `wants_more` says so. Runs that are damaged, and what
    /// is behind them, are not told.
    pub(super) fn each(
        &self,
        memory: &mut Memory,
        mut wants_more: impl FnMut(u64, u64, i32) -> bool,
    ) {
        let (mut at, mut pc, mut value) = (self.list, self.entry, -1i32);
        for step in 0..MAX_STEPS {
            let Some((difference, behind)) = memory.varint(at) else {
                return;
            };
            if difference == 0 && step > 0 {
                return;
            }
            let Some((n_units, behind)) = memory.varint(behind) else {
                return;
            };
            at = behind;
            value = value.wrapping_add(zigzag(difference));
            let end = pc.saturating_add(u64::from(n_units).saturating_mul(self.quantum));
            if pc >= self.end || !wants_more(pc, end.min(self.end), value) {
                return;
            }
            pc = end;
        }
    }
}

fn zigzag(number: u32) -> i32 {
    let half = (number >> 1).cast_signed();
    if number & 1 == 0 { half } else { !half }
}

#[cfg(test)]
mod tests {
    use super::super::super::Image;
    use super::*;

    fn check(list: &[u8], address: u64, expected: Option<i32>) {
        let mut memory = Memory::new(Image::of(list.to_vec(), 0x1000));
        let values = Values {
            list: 0x1000,
            entry: 0x100,
            end: 0x200,
            quantum: 4,
        };
        assert_eq!(values.at(&mut memory, address), expected, "{address:#x}");
    }

    #[test]
    fn a_number_holds_for_its_run() {
        // 7 for two units, 5 for three, and the end.
        let list = [16, 2, 3, 3, 0];
        check(&list, 0x100, Some(7));
        check(&list, 0x107, Some(7));
        check(&list, 0x108, Some(5));
        check(&list, 0x113, Some(5));
        check(&list, 0x114, None);
    }

    #[test]
    fn the_first_number_may_be_the_one_before_it() {
        check(&[0, 2, 2, 1, 0], 0x104, Some(-1));
        check(&[0, 2, 2, 1, 0], 0x108, Some(0));
        check(&[0, 0, 0], 0x100, None);
    }

    #[test]
    fn a_list_without_an_end_is_left() {
        check(&[2, 0].repeat(1 << 20), 0x100, None);
        check(&[0xff; 64], 0x100, None);
        check(&[], 0x100, None);
    }
}
