//! The DWARF expressions that occur in x86-64 unwind information, recognized by their bytes.
//!
//! There are few: procedure linkage tables, signal frames, realigned stacks, and hand-written assembly that
//! keeps the old stack pointer on the stack. Others are not evaluated.

use gimli::{EndianSlice, LittleEndian, Reader};

/// A register that expressions are based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Register {
    Sp,
    Fp,
}

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
    /// `sp + 8 + (pc & 15 ≥ threshold ? 8 : 0)`
    Plt { threshold: u8 },
}

const DEREF: u8 = 0x06;
const PLUS_UCONST: u8 = 0x23;
const LIT0: u8 = 0x30;
const BREG6_RBP: u8 = 0x76;
const BREG7_RSP: u8 = 0x77;

/// What an expression means; `None` if it is not one of those.
pub(super) fn recognize(bytes: &[u8]) -> Option<Expression> {
    if let Some(threshold) = plt_threshold(bytes) {
        return Some(Expression::Plt { threshold });
    }
    let mut rest = EndianSlice::new(bytes, LittleEndian);
    let base = match rest.read_u8().ok()? {
        BREG6_RBP => Register::Fp,
        BREG7_RSP => Register::Sp,
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

/// `breg7 8, breg16 0, lit15, and, lit{threshold}, ge, lit3, shl, plus`, which linkers write for `.plt`.
fn plt_threshold(bytes: &[u8]) -> Option<u8> {
    const BEFORE: [u8; 6] = [BREG7_RSP, 8, 0x80, 0, LIT0 + 15, 0x1a];
    const BEHIND: [u8; 4] = [0x2a, LIT0 + 3, 0x24, 0x22];
    let literal = bytes.strip_prefix(&BEFORE)?.strip_suffix(&BEHIND)?;
    let [literal] = literal else { return None };
    literal
        .checked_sub(LIT0)
        .filter(|threshold| *threshold < 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Option<Expression>) {
        assert_eq!(recognize(bytes), expected, "{bytes:02x?}");
    }

    #[test]
    fn the_expressions_of_x86_64_code_are_recognized() {
        check(
            &[0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22],
            Some(Expression::Plt { threshold: 11 }),
        );
        check(
            &[0x77, 0xa0, 0x01, 0x06],
            Some(Expression::Deref {
                base: Register::Sp,
                offset: 160,
                addend: 0,
            }),
        );
        check(
            &[0x76, 0x78, 0x06],
            Some(Expression::Deref {
                base: Register::Fp,
                offset: -8,
                addend: 0,
            }),
        );
        check(
            &[0x77, 0x28, 0x06, 0x23, 0x08],
            Some(Expression::Deref {
                base: Register::Sp,
                offset: 40,
                addend: 8,
            }),
        );
        check(
            &[0x76, 0x00],
            Some(Expression::Sum {
                base: Register::Fp,
                offset: 0,
            }),
        );
    }

    #[test]
    fn other_expressions_are_not_guessed_at() {
        check(&[], None);
        check(&[0x77], None);
        check(&[0x77, 0x80], None);
        check(&[0x75, 0x08], None);
        check(&[0x77, 0x08, 0x06, 0x06], None);
        check(&[0x77, 0x08, 0x06, 0x23], None);
        check(&[0x77, 0x08, 0x06, 0x23, 0x08, 0x06], None);
        check(
            &[0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x50, 0x2a, 0x33, 0x24, 0x22],
            None,
        );
    }
}
