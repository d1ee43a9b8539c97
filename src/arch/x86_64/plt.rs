//! Stubs of x86-64, decoded: they name the slot that they jump through, so that every linker's layout is understood.

use crate::arch::{Stub, StubTarget};

const STUB: usize = 16;
/// In some `.plt.got`.
const SHORT_STUB: usize = 8;

/// The stubs of a section: `[endbr64] [bnd] jmp *slot(%rip)`, or `[endbr64] push $index; jmp .plt`.
pub(in crate::arch) fn stubs(code: &[u8], address: u64) -> Vec<Stub> {
    let has_short_stubs =
        code.len() >= STUB && code[..2] == [0xff, 0x25] && code[8..10] == [0xff, 0x25];
    let size = if has_short_stubs { SHORT_STUB } else { STUB };
    let starts = (address..).step_by(size);
    let stubs = starts.zip(code.chunks_exact(size));
    stubs
        .filter_map(|(start, code)| {
            Some(Stub {
                start,
                size: size as u64,
                target: target(code, start)?,
            })
        })
        .collect()
}

fn target(stub: &[u8], start: u64) -> Option<StubTarget> {
    let mut code = stub;
    code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(code);
    code = code.strip_prefix(&[0xf2]).unwrap_or(code);
    if let Some(rest) = code.strip_prefix(&[0xff, 0x25]) {
        let distance = i64::from(i32::from_le_bytes(*rest.first_chunk()?));
        let behind = (stub.len() - rest.len() + 4) as u64;
        let slot = start.wrapping_add(behind).wrapping_add_signed(distance);
        return Some(StubTarget::Slot(slot));
    }
    let rest = code.strip_prefix(&[0x68])?;
    Some(StubTarget::Index(u32::from_le_bytes(*rest.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_of_every_linker_tell_their_slot() {
        let check =
            |stub: &[u8], expected| assert_eq!(target(stub, 0x1000), expected, "{stub:02x?}");
        let slot = |address| Some(StubTarget::Slot(address));
        // jmp *0x10(%rip): six bytes, so the slot is 0x16 behind the stub's start.
        check(&[0xff, 0x25, 0x10, 0, 0, 0, 0x68, 0, 0, 0, 0], slot(0x1016));
        // endbr64; bnd jmp *0x10(%rip)
        check(
            &[0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0x10, 0, 0, 0],
            slot(0x101b),
        );
        // endbr64; push $3
        check(
            &[0xf3, 0x0f, 0x1e, 0xfa, 0x68, 3, 0, 0, 0, 0xf2],
            Some(StubTarget::Index(3)),
        );
        // The head of .plt: push GOT[1]
        check(&[0xff, 0x35, 0x10, 0, 0, 0], None);
        check(&[0xff, 0x25, 0x10], None);
        check(&[], None);
    }

    #[test]
    fn a_section_of_short_stubs_is_told_by_its_second_one() {
        let short: Vec<u8> = [[0xff, 0x25, 0, 0, 0, 0, 0x66, 0x90]; 4].concat();
        let starts: Vec<u64> = stubs(&short, 0x1000)
            .iter()
            .map(|stub| stub.start)
            .collect();
        assert_eq!(starts, [0x1000, 0x1008, 0x1010, 0x1018]);
    }
}
