//! The copied part of a stack, read by address.

use crate::model::{Ended, Registers, StackCopy};

/// Addresses further above the copy than this are on no stack that has the copied bytes: the address is wrong, not the copy too short.
const LARGEST_STACK: u64 = 1 << 30;

/// A copied stack and how much of it was needed.
#[derive(Debug)]
pub struct Stack<'a> {
    /// Address of the first byte.
    base: u64,
    bytes: &'a [u8],
    is_cut: bool,
    /// Bytes from `base` to behind the highest one read.
    used: u64,
}

impl<'a> Stack<'a> {
    /// The copy that was taken with `registers`.
    pub fn new(registers: &Registers, copy: &StackCopy<'a>) -> Stack<'a> {
        Stack {
            base: registers.sp,
            bytes: copy.bytes,
            is_cut: copy.is_cut,
            used: 0,
        }
    }

    /// Bytes from the stack pointer to behind the highest byte read.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// The word at `address`.
    #[inline]
    pub(super) fn read(&mut self, address: u64) -> Result<u64, Ended> {
        let above = address.wrapping_sub(self.base);
        let word = usize::try_from(above)
            .ok()
            .and_then(|start| self.bytes.get(start..)?.first_chunk::<8>());
        match word {
            Some(word) => {
                self.used = self.used.max(above + 8);
                Ok(u64::from_le_bytes(*word))
            }
            // Below the copy is what the kernel does not copy: the red zone, or what was already popped.
            None if address < self.base => Err(Ended::BadFrame),
            None if above >= LARGEST_STACK => Err(Ended::BadFrame),
            None if self.is_cut => Err(Ended::CopyTooShort),
            // The kernel copies until it meets a page that is not there: one that was never touched, inside a large
            // array for example.
            None => Err(Ended::NotInMemory),
        }
    }
}
