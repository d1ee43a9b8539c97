//! The walk: from sampled registers and a copied stack to frames, leaf first.
//!
//! Each frame takes the rule of its code; code without a row takes a frame pointer step, so that JIT code (which
//! keeps frame pointers) and code that does not may alternate. What a walk cannot know it does not guess: a stack
//! is complete only if it ended at a frame whose return address is undefined or 0.

use super::stack::Stack;
use super::step::{Cursor, by_call_alone, by_frame_pointer, by_rule};
use super::{CfaKind, Pending, RowSource, Rows};
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
            kind: AddressKind::Interrupted,
            sp: registers.sp,
            fp: registers.fp,
            extra: Some(registers.extra),
            base: None,
        };
        let before = frames.len();
        loop {
            let Some((mapping, rows)) = self.find(lookup(&cursor)) else {
                if cursor.kind == AddressKind::Interrupted && cursor.pc < LOWEST_CODE {
                    match by_call_alone(&cursor, stack) {
                        Ok(caller) => cursor = caller,
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
                _ => by_frame_pointer(&cursor, stack).and_then(|caller| {
                    match self.find(lookup(&caller)) {
                        Some(_) => Ok(caller),
                        None => Err(Ended::NoRow),
                    }
                }),
            };
            match caller {
                Ok(caller) => cursor = caller,
                Err(ended) => return Ok(ended),
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
