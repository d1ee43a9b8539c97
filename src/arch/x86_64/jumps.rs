//! Jumps to an address beside their own, conditional or not, that are written with 32 bits: `e9` and `0f 80` to `0f 8f`.

/// Visits where the jumps in the code, which is linked for `address`, lead to. Instructions are not told apart: what looks like a jump
/// inside of another one is visited too.
pub fn targets(code: &[u8], address: u64, mut visit: impl FnMut(u64)) {
    let is_jump = |at: usize| match code[at] {
        0xe9 => true,
        0x80..=0x8f => at > 0 && code[at - 1] == 0x0f,
        _ => false,
    };
    for at in (0..code.len().saturating_sub(4)).filter(|at| is_jump(*at)) {
        let distance: [u8; 4] = code[at + 1..at + 5].try_into().expect("four bytes");
        let behind = address.wrapping_add(at as u64 + 5);
        visit(behind.wrapping_add_signed(i32::from_le_bytes(distance).into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_found_with_their_targets() {
        let code = [
            0x90, 0xe9, 0x10, 0, 0, 0, 0x0f, 0x84, 0xf0, 0xff, 0xff, 0xff, 0xe9, 0,
        ];
        let mut found = Vec::new();
        targets(&code, 0x1000, |target| found.push(target));
        assert_eq!(found, [0x1016, 0xffc]);
    }
}
