//! `.init` and `.fini` of x86-64: `sub $8, %rsp`, what the linker gathers, `add $8, %rsp; ret`.

use crate::arch::Known;
use crate::model::{CfaKind, FpKind, RaKind, Rule};

const ENDBR: [u8; 4] = [0xf3, 0x0f, 0x1e, 0xfa];
const HEAD: [u8; 4] = [0x48, 0x83, 0xec, 0x08];
const TAIL: [u8; 5] = [0x48, 0x83, 0xc4, 0x08, 0xc3];
/// The `ret` of the tail.
const RETURN: usize = 1;

/// The rules of such a section; none if it is written in another way.
pub(in crate::arch) fn rules(code: &[u8]) -> Vec<Known> {
    let pushed = if code.starts_with(&ENDBR) {
        ENDBR.len()
    } else {
        0
    } + HEAD.len();
    let is_usual = code.get(..pushed).is_some_and(|head| head.ends_with(&HEAD))
        && code[pushed..].ends_with(&TAIL);
    if !is_usual {
        return Vec::new();
    }
    let popped = code.len() - RETURN;
    vec![
        known(0, pushed, 8),
        known(pushed, popped, 16),
        known(popped, code.len(), 8),
    ]
}

fn known(start: usize, end: usize, cfa_offset: i32) -> Known {
    Known {
        start: start as u64,
        end: end as u64,
        rule: Rule {
            cfa_offset,
            fp_offset: 0,
            ra_offset: -8,
            cfa: CfaKind::Sp,
            fp: FpKind::Same,
            ra: RaKind::AtCfa,
            flags: 0,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stack_is_lower_between_head_and_tail() {
        let middle = [0x48, 0x85, 0xc0];
        let code = [&ENDBR[..], &HEAD, &middle, &TAIL].concat();
        let places: Vec<_> = rules(&code)
            .iter()
            .map(|known| (known.start, known.end, known.rule.cfa_offset))
            .collect();
        assert_eq!(places, [(0, 8, 8), (8, 15, 16), (15, 16, 8)]);
        assert_eq!(rules(&code[4..]).len(), 3, "without endbr64");
    }

    #[test]
    fn other_code_is_not_guessed_at() {
        assert_eq!(rules(&[]), []);
        assert_eq!(rules(&HEAD), []);
        assert_eq!(rules(&[&HEAD[..], &TAIL[..4]].concat()), []);
        // push %rax; …; pop %rax; ret
        assert_eq!(rules(&[0x50, 0x48, 0x85, 0xc0, 0x58, 0xc3]), []);
    }
}
