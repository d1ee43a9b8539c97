//! The walk: from sampled registers and a copied stack to frames, leaf first.
//!
//! Each frame takes the rule of its code; code without a row takes a frame pointer step, so that JIT code (which
//! keeps frame pointers) and code that does not may alternate. What a walk cannot know it does not guess: a stack
//! is complete only if it ended at a frame whose return address is undefined or 0.

use super::stack::Stack;
use super::step::{Cursor, by_call_alone, by_frame_pointer, by_rule};
use super::{CfaKind, Pending, RowSource, Rows};
use crate::arch::host;
use crate::model::{
    AddressKind, AddressSpace, Avma, Ended, Frame, Mapping, ModuleId, Registers, StackCopy,
};

/// How a walk ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Why.
    pub ended: Ended,
    /// The module of the last frame; `None` if there is none.
    pub module: Option<ModuleId>,
    /// Bytes from the stack pointer upwards that the walk read from.
    pub used_stack: u64,
}

/// Appends the user frames, leaf first, at most `max_frames`.
///
/// On `Err` nothing has been appended: keep the sample until that table is there.
pub fn walk(
    registers: &Registers,
    stack: &StackCopy<'_>,
    space: &AddressSpace,
    rows: &impl RowSource,
    max_frames: usize,
    frames: &mut Vec<Frame>,
) -> Result<Walked, Pending> {
    let before = frames.len();
    let mut stack = Stack::new(registers, stack);
    let mut walk = Walk {
        place: None,
        space,
        rows,
    };
    let ended = walk.run(registers, &mut stack, max_frames, frames);
    let ended = ended.inspect_err(|_| frames.truncate(before))?;
    Ok(Walked {
        ended,
        module: frames[before..].last().map(|frame| frame.module),
        used_stack: stack.used(),
    })
}

/// Nothing is ever mapped below (`vm.mmap_min_addr`): a pc here comes from a call through a null pointer.
const LOWEST_CODE: u64 = 1 << 16;

struct Walk<'a, R> {
    /// The mapping of the last frame: most callers are in the same.
    place: Option<(&'a Mapping, Rows<'a>)>,
    space: &'a AddressSpace,
    rows: &'a R,
}

impl<'a, R: RowSource> Walk<'a, R> {
    fn run(
        &mut self,
        registers: &Registers,
        stack: &mut Stack<'_>,
        max_frames: usize,
        frames: &mut Vec<Frame>,
    ) -> Result<Ended, Pending> {
        let mut cursor = Cursor {
            pc: registers.pc,
            kind: if registers.in_syscall {
                AddressKind::Return
            } else {
                AddressKind::Interrupted
            },
            sp: registers.sp,
            sp_is_exact: true,
            fp: registers.fp,
            drap: Some(registers.drap),
            link: Some(registers.link),
            base: Some(registers.base),
        };
        let code_mask = host::code_mask(self.space.end());
        let before = frames.len();
        loop {
            let Some((mapping, rows)) = self.find(lookup(&cursor)) else {
                if registers.in_syscall
                    && cursor.kind == AddressKind::Return
                    && cursor.sp == registers.sp
                    && frames.len() == before
                {
                    // No system call stands before it: it is what a call through that register has come to.
                    cursor.kind = AddressKind::Interrupted;
                    continue;
                }
                if cursor.kind == AddressKind::Interrupted && cursor.pc < LOWEST_CODE {
                    match by_call_alone(&cursor, stack) {
                        Ok(caller) => {
                            cursor = Cursor {
                                pc: caller.pc & code_mask,
                                ..caller
                            }
                        }
                        Err(ended) => return Ok(ended),
                    }
                    continue;
                }
                return Ok(Ended::Unmapped);
            };
            if frames.len() - before >= max_frames {
                return Ok(Ended::DepthLimit);
            }
            let frame = Frame {
                module: mapping.module,
                kind: cursor.kind,
                offset: mapping.offset_of(Avma(cursor.pc)),
            };
            frames.push(frame);
            let rule = match rows {
                Rows::Table(table) => Some(table.lookup(frame.lookup())),
                Rows::None => None,
                Rows::Pending => return Err(Pending(mapping.module)),
            };
            let caller = match rule {
                Some(rule) if rule.cfa != CfaKind::None => by_rule(rule, &cursor, stack),
                _ => by_frame_pointer(&cursor, stack),
            };
            cursor = match caller {
                Ok(caller) => Cursor {
                    pc: caller.pc & code_mask,
                    ..caller
                },
                Err(ended) => return Ok(ended),
            };
            // A chain of frame pointers is taken for one only as long as it leads to code.
            let is_by_rule = rule.is_some_and(|rule| rule.cfa != CfaKind::None);
            if !is_by_rule && self.find(lookup(&cursor)).is_none() {
                return Ok(Ended::NoRow);
            }
        }
    }

    #[inline]
    fn find(&mut self, address: Avma) -> Option<(&'a Mapping, Rows<'a>)> {
        if let Some((mapping, rows)) = self.place
            && mapping.start <= address
            && address < mapping.end
        {
            return Some((mapping, rows));
        }
        let mapping = self.space.find(address)?;
        self.place = Some((mapping, self.rows.rows(mapping.module)));
        self.place
    }
}

/// The address whose code the frame is in: a return address may lie behind the end of it.
fn lookup(cursor: &Cursor) -> Avma {
    match cursor.kind {
        AddressKind::Interrupted => Avma(cursor.pc),
        AddressKind::Return => Avma(cursor.pc.wrapping_sub(1)),
    }
}

/// Frames of the kernel's own frame pointer chain (`--call-graph fp`), leaf first: the first address is an
/// interrupted one, the others are return addresses.
///
/// The chain is taken up to the first address that is not code. Whether it lacks frames nobody can tell: `Root`
/// says that all of it is there.
pub fn frames_of_chain(chain: &[u64], space: &AddressSpace, frames: &mut Vec<Frame>) -> Ended {
    if chain.is_empty() {
        return Ended::NoUserStack;
    }
    let mut kind = AddressKind::Interrupted;
    for pc in chain {
        let address = match kind {
            AddressKind::Interrupted => *pc,
            AddressKind::Return => pc.wrapping_sub(1),
        };
        let Some(mapping) = space.find(Avma(address)) else {
            return Ended::Unmapped;
        };
        frames.push(Frame {
            module: mapping.module,
            kind,
            offset: mapping.offset_of(Avma(*pc)),
        });
        kind = AddressKind::Return;
    }
    Ended::Root
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileOffset, MonoNs};
    use crate::unwind::encoder::Encoder;
    use crate::unwind::{FpKind, RaKind, Rule, Table};

    const SP: u64 = 0x7000;
    /// Module 0 has a table, module 1 never will (JIT code), module 2's is being built.
    const CODE: u64 = 0x10_0000;
    const JIT: u64 = 0x20_0000;
    const PENDING: u64 = 0x30_0000;
    const SIZE: u64 = 0x1000;

    /// Where in module 0 which rule holds.
    const SP_16: u64 = CODE;
    const SAVES_FP: u64 = CODE + 0x100;
    const FP_16: u64 = CODE + 0x200;
    const END: u64 = CODE + 0x300;
    const NO_ROW: u64 = CODE + 0x400;
    const UNSUPPORTED: u64 = CODE + 0x500;
    const SIGNAL: u64 = CODE + 0x600;

    struct Source(Table);

    impl RowSource for Source {
        fn rows(&self, module: ModuleId) -> Rows<'_> {
            match module.0 {
                0 => Rows::Table(&self.0),
                1 => Rows::None,
                _ => Rows::Pending,
            }
        }
    }

    fn source() -> Source {
        let plain = Rule {
            cfa_offset: 16,
            fp_offset: 0,
            ra_offset: -8,
            cfa: CfaKind::Sp,
            fp: FpKind::Same,
            ra: RaKind::AtCfa,
            flags: 0,
        };
        let saves_fp = Rule {
            fp: FpKind::AtCfa,
            fp_offset: -16,
            ..plain
        };
        let fp_16 = Rule {
            cfa: CfaKind::Fp,
            ..saves_fp
        };
        let signal = Rule {
            flags: Rule::SIGNAL,
            ..plain
        };
        let rows = [
            (SP_16, plain),
            (SAVES_FP, saves_fp),
            (FP_16, fp_16),
            (END, Rule::END),
            (NO_ROW, Rule::NONE),
            (UNSUPPORTED, Rule::UNSUPPORTED),
            (SIGNAL, signal),
            (SIGNAL + 0x100, Rule::NONE),
        ];
        let mut encoder = Encoder::new();
        for (address, rule) in rows {
            let pushed = encoder.push(address - CODE, rule);
            assert_eq!(pushed, Ok(()));
        }
        Source(encoder.finish(0).expect("small"))
    }

    fn space() -> AddressSpace {
        let mut space = AddressSpace::new();
        for (start, module) in [(CODE, 0), (JIT, 1), (PENDING, 2)] {
            space.insert(Mapping {
                start: Avma(start),
                end: Avma(start + SIZE),
                file_offset: FileOffset(if module == 0 { 0 } else { start }),
                module: ModuleId(module),
                since: MonoNs(0),
            });
        }
        space
    }

    /// Walks from `pc` over these words, and returns the addresses of the frames.
    fn walk_words(pc: u64, fp: u64, words: &[u64]) -> (Vec<u64>, Result<Ended, Pending>) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let registers = Registers {
            pc,
            sp: SP,
            fp,
            drap: 0,
            link: 0,
            base: 0,
            in_syscall: false,
        };
        let stack = StackCopy {
            bytes: &bytes,
            is_cut: false,
        };
        let mut frames = Vec::new();
        let walked = walk(&registers, &stack, &space(), &source(), 100, &mut frames);
        let addresses = frames.iter().map(|frame| match frame.module.0 {
            0 => CODE + frame.offset.0,
            _ => frame.offset.0,
        });
        (addresses.collect(), walked.map(|walked| walked.ended))
    }

    fn check(pc: u64, fp: u64, words: &[u64], expected: &[u64], ended: Ended) {
        let got = walk_words(pc, fp, words);
        assert_eq!(got, (expected.to_vec(), Ok(ended)), "{got:x?}");
    }

    #[test]
    fn a_stack_is_whole_at_an_undefined_return_address_and_at_0() {
        let caller = SP_16 + 5;
        check(
            SP_16,
            0,
            &[9, caller, 9, END + 1],
            &[SP_16, caller, END + 1],
            Ended::Root,
        );
        check(SP_16, 0, &[9, caller, 9, 0], &[SP_16, caller], Ended::Root);
    }

    #[test]
    fn a_return_address_belongs_to_the_call_before_it() {
        // Behind the last instruction of a function, where another rule holds already; and behind the mapping.
        check(SP_16, 0, &[9, NO_ROW], &[SP_16, NO_ROW], Ended::Root);
        check(SP_16, 0, &[9, CODE], &[SP_16], Ended::Unmapped);
        let behind = JIT + SIZE;
        check(SP_16, 0, &[9, behind], &[SP_16, behind], Ended::NoRow);
    }

    #[test]
    fn code_with_rows_and_code_with_frame_pointers_alternate() {
        let fp = SP + 16;
        let words = [
            9,
            JIT + 8,
            // The frame of JIT code: the caller's frame pointer and its return address.
            SP + 48,
            FP_16 + 8,
            9,
            9,
            // The frame at FP_16.
            0,
            END + 8,
        ];
        let expected = [SP_16, JIT + 8, FP_16 + 8, END + 8];
        check(SP_16, fp, &words, &expected, Ended::Root);
    }

    #[test]
    fn a_frame_pointer_that_does_not_lead_to_code_is_not_followed() {
        check(NO_ROW, SP, &[9, 0x1234], &[NO_ROW], Ended::NoRow);
        check(NO_ROW, 0, &[9, END + 1], &[NO_ROW], Ended::NoRow);
        check(NO_ROW, SP, &[9, 0], &[NO_ROW], Ended::NoRow);
        check(NO_ROW, u64::MAX, &[9, 0], &[NO_ROW], Ended::NoRegister);
        check(JIT, SP, &[9, END + 1], &[JIT, END + 1], Ended::Root);
    }

    #[test]
    fn a_frame_pointer_that_is_not_known_is_as_good_as_one_once_a_callee_saved_it() {
        let words = [SP + 16, FP_16 + 1, 0, END + 1];
        let expected = [SAVES_FP, FP_16 + 1, END + 1];
        check(SAVES_FP, u64::MAX, &words, &expected, Ended::Root);
        let words = [9, FP_16 + 1, 0, END + 1];
        let expected = [SP_16, FP_16 + 1];
        check(SP_16, u64::MAX, &words, &expected, Ended::NoRegister);
    }

    #[test]
    fn a_call_through_a_null_pointer_is_walked_from_its_caller() {
        // Where calls push, the return address is on the stack; else in the link register, which is 0 here.
        if host::CALL_PUSHES {
            let words = [SP_16 + 1, 9, END + 1];
            check(0, 0, &words, &[SP_16 + 1, END + 1], Ended::Root);
        } else {
            check(0, 0, &[SP_16 + 1], &[], Ended::Unmapped);
        }
        check(0, 0, &[0x1234], &[], Ended::Unmapped);
        check(
            0x1234_5678,
            0,
            &[SP_16 + 1, 9, END + 1],
            &[],
            Ended::Unmapped,
        );
    }

    #[test]
    fn an_interrupted_address_behind_a_signal_is_looked_up_as_it_is() {
        // Interrupted at the first instruction of a function: at −1 another rule holds.
        let words = [9, SP_16, 9, SIGNAL, 9, END + 1];
        let (frames, _) = walk_words(SIGNAL, 0, &words);
        assert_eq!(frames[..2], [SIGNAL, SP_16]);
        let words = [9, UNSUPPORTED, 9, 9];
        check(
            SIGNAL,
            0,
            &words,
            &[SIGNAL, UNSUPPORTED],
            Ended::UnsupportedRow,
        );
        // What it interrupted was a call through a null pointer.
        if host::CALL_PUSHES {
            check(SIGNAL, 0, &[9, 0, END + 1], &[SIGNAL, END + 1], Ended::Root);
        }
    }

    #[test]
    fn a_walk_that_has_to_wait_for_a_table_leaves_nothing_behind() {
        let words = [9, SP_16 + 1, 9, PENDING + 1];
        let (frames, walked) = walk_words(SP_16, 0, &words);
        assert_eq!((frames, walked), (vec![], Err(Pending(ModuleId(2)))));
    }

    #[test]
    fn a_chain_of_the_kernel_is_taken_as_far_as_it_is_code() {
        let of_chain = |chain: &[u64]| {
            let mut frames = Vec::new();
            let ended = frames_of_chain(chain, &space(), &mut frames);
            (frames.len(), ended)
        };
        assert_eq!(of_chain(&[]), (0, Ended::NoUserStack));
        assert_eq!(of_chain(&[CODE, CODE + 1, JIT + SIZE]), (3, Ended::Root));
        assert_eq!(of_chain(&[CODE, CODE, JIT + SIZE]), (1, Ended::Unmapped));
    }
}
