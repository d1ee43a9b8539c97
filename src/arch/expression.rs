//! The DWARF expressions that occur in unwind information, recognized by their bytes.
//!
//! There are few: signal frames, realigned stacks, and hand-written assembly that keeps the old stack pointer on the
//! stack. Others are not evaluated.

use gimli::{EndianSlice, LittleEndian, Reader, Register};

/// The value of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// `base + offset`
    Sum { base: Register, offset: i64 },
    /// `[base + offset] + addend`
    Deref {
        base: Register,
        offset: i64,
        addend: u64,
    },
}

const DEREF: u8 = 0x06;
const PLUS_UCONST: u8 = 0x23;
/// `DW_OP_breg0`; the next 31 are those of the other registers.
const BREG0: u8 = 0x70;
const BREG31: u8 = BREG0 + 31;

/// What an expression means; `None` if it is not one of those.
pub(super) fn recognize(bytes: &[u8]) -> Option<Expression> {
    let mut rest = EndianSlice::new(bytes, LittleEndian);
    let base = match rest.read_u8().ok()? {
        operation @ BREG0..=BREG31 => Register(u16::from(operation - BREG0)),
        _ => return None,
    };
    let offset = rest.read_sleb128().ok()?;
    if rest.is_empty() {
        return Some(Expression::Sum { base, offset });
    }
    if rest.read_u8().ok()? != DEREF {
        return None;
    }
    let addend = if rest.is_empty() {
        0
    } else if rest.read_u8().ok()? == PLUS_UCONST {
        rest.read_uleb128().ok()?
    } else {
        return None;
    };
    rest.is_empty().then_some(Expression::Deref {
        base,
        offset,
        addend,
    })
}

#[cfg(test)]
mod tests {
    use gimli::X86_64;

    use super::*;

    fn check(bytes: &[u8], expected: Option<Expression>) {
        assert_eq!(recognize(bytes), expected, "{bytes:02x?}");
    }

    #[test]
    fn registers_sums_and_words_of_the_stack_are_recognized() {
        check(
            &[0x77, 0xa0, 0x01, 0x06],
            Some(Expression::Deref {
                base: X86_64::RSP,
                offset: 160,
                addend: 0,
            }),
        );
        check(
            &[0x76, 0x78, 0x06],
            Some(Expression::Deref {
                base: X86_64::RBP,
                offset: -8,
                addend: 0,
            }),
        );
        check(
            &[0x77, 0x28, 0x06, 0x23, 0x08],
            Some(Expression::Deref {
                base: X86_64::RSP,
                offset: 40,
                addend: 8,
            }),
        );
        check(
            &[0x76, 0x00],
            Some(Expression::Sum {
                base: X86_64::RBP,
                offset: 0,
            }),
        );
    }

    #[test]
    fn other_expressions_are_not_guessed_at() {
        check(&[], None);
        check(&[0x77], None);
        check(&[0x77, 0x80], None);
        check(&[0x90, 0x08], None);
        check(&[0x77, 0x08, 0x06, 0x06], None);
        check(&[0x77, 0x08, 0x06, 0x23], None);
        check(&[0x77, 0x08, 0x06, 0x23, 0x08, 0x06], None);
    }
}
