//! Jumps to an address beside their own: `b` and `b.cond`.

/// Visits where the jumps in the code, which is linked for `address`, lead to.
pub fn targets(code: &[u8], address: u64, mut visit: impl FnMut(u64)) {
    for (idx, word) in code.chunks_exact(4).enumerate() {
        let word = u32::from_le_bytes(word.try_into().expect("four bytes"));
        // The distance in instructions, at the upper end of a word, and the bits below it.
        let (at_top, unused) = match (word >> 26, word >> 24) {
            (0b00_0101, _) => (word << 6, 6),
            (_, 0b0101_0100) => (word << 8 & !0x1fff, 13),
            _ => continue,
        };
        let n_instructions = i64::from(at_top.cast_signed() >> unused);
        let here = address.wrapping_add(4 * idx as u64);
        visit(here.wrapping_add_signed(4 * n_instructions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jumps_are_found_with_their_targets() {
        // nop; b +8; b.ne -8; bl +4
        let words = [0xd503_201fu32, 0x1400_0002, 0x54ff_ffc1, 0x9400_0001];
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut found = Vec::new();
        targets(&code, 0x1000, |target| found.push(target));
        assert_eq!(found, [0x100c, 0x1000]);
    }
}
