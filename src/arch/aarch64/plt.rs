//! Stubs of aarch64, counted: they have no room for more than the address of their slot, in the order of relocations.
//! Linkers write no rows for them.

use super::rows::LEAF;
use crate::arch::{Known, Stub, StubTarget};
use crate::model::{RaKind, Rule};

/// `stp x16, x30, [sp, #-16]!`, which the head of `.plt` begins with, behind a `bti c` where there is one.
const PUSH: [u8; 4] = 0xa9bf_7bf0u32.to_le_bytes();
const HEADER: usize = 32;
const STUB: usize = 16;

/// The head behind its push.
const PUSHED: Rule = Rule {
    cfa_offset: 16,
    ra_offset: -8,
    ra: RaKind::AtCfa,
    ..LEAF
};

/// The rules of a section of stubs, which only jump.
pub(in crate::arch) fn rules(code: &[u8]) -> Vec<Known> {
    let known = |start: usize, end: usize, rule| Known {
        start: start as u64,
        end: end as u64,
        rule,
    };
    match head_push(code) {
        Some(push) => vec![
            known(0, push + PUSH.len(), LEAF),
            known(push + PUSH.len(), HEADER, PUSHED),
            known(HEADER, code.len(), LEAF),
        ],
        None => vec![known(0, code.len(), LEAF)],
    }
}

/// The stubs of `.plt`.
pub(in crate::arch) fn stubs(code: &[u8], address: u64) -> Vec<Stub> {
    let header = head_push(code).map_or(0, |_| HEADER);
    let n_stubs = (code.len() - header) / STUB;
    let starts = (address.wrapping_add(header as u64)..).step_by(STUB);
    starts
        .zip(0..)
        .take(n_stubs)
        .map(|(start, index)| Stub {
            start,
            size: STUB as u64,
            target: StubTarget::Index(index),
        })
        .collect()
}

/// Where the head pushes; `None` if the section has no head.
fn head_push(code: &[u8]) -> Option<usize> {
    let head = code.get(..HEADER)?;
    [0, 4].into_iter().find(|at| head[*at..].starts_with(&PUSH))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BTI: [u8; 4] = 0xd503_245fu32.to_le_bytes();
    const NOP: [u8; 4] = 0xd503_201fu32.to_le_bytes();

    fn code(head: &[[u8; 4]], n_words: usize) -> Vec<u8> {
        let mut words = head.to_vec();
        words.resize(n_words, NOP);
        words.concat()
    }

    #[test]
    fn the_head_pushes_and_stubs_only_jump() {
        let rules = |head: &[[u8; 4]]| {
            let known = rules(&code(head, 12));
            known
                .iter()
                .map(|known| (known.start, known.end, known.rule.ra))
                .collect::<Vec<_>>()
        };
        use RaKind::{AtCfa, Link};
        assert_eq!(
            rules(&[PUSH]),
            [(0, 4, Link), (4, 32, AtCfa), (32, 48, Link)]
        );
        assert_eq!(
            rules(&[BTI, PUSH]),
            [(0, 8, Link), (8, 32, AtCfa), (32, 48, Link)]
        );
        assert_eq!(rules(&[]), [(0, 48, Link)]);
    }

    #[test]
    fn stubs_are_counted_from_behind_the_head() {
        let starts = |head: &[[u8; 4]]| {
            let stubs = stubs(&code(head, 16), 0x1000);
            stubs
                .iter()
                .map(|stub| (stub.start, stub.target))
                .collect::<Vec<_>>()
        };
        let index = StubTarget::Index;
        assert_eq!(starts(&[PUSH]), [(0x1020, index(0)), (0x1030, index(1))]);
        assert_eq!(starts(&[]).len(), 4);
    }
}
