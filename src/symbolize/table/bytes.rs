//! Numbers in tables.

/// The `index`th number of an array that begins at `at`.
#[inline]
pub(super) fn number(bytes: &[u8], at: usize, index: usize) -> Option<u32> {
    let at = at.checked_add(index.checked_mul(4)?)?;
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The number of entries, of an array of `len` numbers at `at`, that are not greater than `value`; the array is sorted.
pub(super) fn partition(bytes: &[u8], at: usize, len: usize, value: u32) -> Option<usize> {
    let array = bytes.get(at..at.checked_add(len.checked_mul(4)?)?)?;
    let (mut from, mut to) = (0, len);
    while from < to {
        let middle = from.midpoint(to);
        if number(array, 0, middle)? <= value {
            from = middle + 1;
        } else {
            to = middle;
        }
    }
    Some(from)
}

/// Appends a number in groups of seven bits, the lowest first.
pub(super) fn push_uleb128(mut value: u32, to: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            to.push(byte);
            return;
        }
        to.push(byte | 0x80);
    }
}

/// Reads such a number and steps over it.
#[inline]
pub(super) fn uleb128(bytes: &[u8], at: &mut usize) -> Option<u32> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A difference as a number that is small where it is: 0, −1, 1, −2, …
pub(super) fn zigzag(from: u32, to: u32) -> u32 {
    let difference = to.wrapping_sub(from).cast_signed();
    ((difference << 1) ^ (difference >> 31)).cast_unsigned()
}

/// The number that lies that difference behind `from`.
#[inline]
pub(super) fn unzigzag(from: u32, zigzag: u32) -> u32 {
    from.wrapping_add((zigzag >> 1) ^ (zigzag & 1).wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 127, 128, 300, 1 << 20, u32::MAX] {
            let mut bytes = Vec::new();
            push_uleb128(value, &mut bytes);
            let mut at = 0;
            assert_eq!(uleb128(&bytes, &mut at), Some(value));
            assert_eq!(at, bytes.len());
            assert_eq!(uleb128(&bytes[..at - 1], &mut 0), None);
            for from in [0, 5, u32::MAX] {
                assert_eq!(unzigzag(from, zigzag(from, value)), value);
            }
        }
        assert_eq!(uleb128(&[0xff; 9], &mut 0), None);
        assert_eq!((zigzag(5, 6), zigzag(5, 4)), (2, 1));
    }

    #[test]
    fn the_partition_is_behind_the_last_that_is_not_greater() {
        let bytes: Vec<u8> = [3u32, 5, 5, 9]
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect();
        for (value, expected) in [
            (0, 0),
            (3, 1),
            (4, 1),
            (5, 3),
            (8, 3),
            (9, 4),
            (u32::MAX, 4),
        ] {
            assert_eq!(partition(&bytes, 0, 4, value), Some(expected), "{value}");
        }
        assert_eq!(partition(&bytes, 0, 5, 1), None);
    }
}
