//! `.init` and `.fini` of aarch64: `stp x29, x30, [sp, #-16]!`, what the linker gathers, `ldp x29, x30, [sp], #16; ret`.

use super::rows::LEAF;
use crate::arch::Known;
use crate::model::{FpKind, RaKind, Rule};

const PUSH: [u8; 4] = 0xa9bf_7bfdu32.to_le_bytes();
const POP: [u8; 4] = 0xa8c1_7bfdu32.to_le_bytes();
const RETURN: [u8; 4] = 0xd65f_03c0u32.to_le_bytes();
/// Instructions before the push: `nop`, or `paciasp` or `bti c`, behind a `nop` or not.
const MOST_BEFORE: usize = 2;

/// Between push and pop.
const PUSHED: Rule = Rule {
    cfa_offset: 16,
    fp_offset: -16,
    ra_offset: -8,
    fp: FpKind::AtCfa,
    ra: RaKind::AtCfa,
    ..LEAF
};

/// The rules of such a section; none if it is written in another way.
pub(in crate::arch) fn rules(code: &[u8]) -> Vec<Known> {
    let instructions = || code.chunks_exact(4);
    let push = instructions()
        .take(MOST_BEFORE + 1)
        .position(|at| at == PUSH);
    let pop = instructions().rposition(|at| at == POP);
    let (Some(push), Some(pop), true) = (push, pop, code.ends_with(&RETURN)) else {
        return Vec::new();
    };
    if pop < push {
        return Vec::new();
    }
    let known = |start: usize, end: usize, rule| Known {
        start: start as u64,
        end: end as u64,
        rule,
    };
    let (pushed, popped) = (4 * (push + 1), 4 * (pop + 1));
    vec![
        known(0, pushed, LEAF),
        known(pushed, popped, PUSHED),
        known(popped, code.len(), LEAF),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOP: [u8; 4] = 0xd503_201fu32.to_le_bytes();

    #[test]
    fn the_link_register_is_on_the_stack_between_push_and_pop() {
        let code = [NOP, PUSH, NOP, NOP, POP, RETURN].concat();
        let places: Vec<_> = rules(&code)
            .iter()
            .map(|known| (known.start, known.end, known.rule))
            .collect();
        assert_eq!(places, [(0, 8, LEAF), (8, 20, PUSHED), (20, 24, LEAF)]);
    }

    #[test]
    fn other_code_is_not_guessed_at() {
        assert_eq!(rules(&[]), []);
        assert_eq!(rules(&[POP, PUSH, RETURN].concat()), []);
        assert_eq!(rules(&[NOP, NOP, NOP, PUSH, POP, RETURN].concat()), []);
        assert_eq!(rules(&[PUSH, POP, NOP].concat()), []);
    }
}
