//! Names of symbols: read from the file one at a time, and the choice among several.

use super::read_at::{ReadAt, fill};

/// Longest mangled name that is read; what is longer is cut there.
const MAX_LEN: usize = 16 << 10;
/// Most names are shorter than this, so that one read gets them.
const FIRST_READ: usize = 128;

/// A string table that stays in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Strings {
    pub(super) offset: u64,
    pub(super) size: u64,
}

impl Strings {
    pub(super) const EMPTY: Strings = Strings { offset: 0, size: 0 };

    /// The string at `name`, without its symbol version (`@GLIBC_2.2.5`); `None` if it is empty or outside.
    pub(super) fn get(&self, bytes: &dyn ReadAt, name: u32) -> Option<Vec<u8>> {
        let room = self.size.checked_sub(u64::from(name))?;
        let room = usize::try_from(room).unwrap_or(MAX_LEN).min(MAX_LEN);
        let offset = self.offset.checked_add(u64::from(name))?;
        let mut size = FIRST_READ.min(room);
        loop {
            let mut text = vec![0; size];
            let n_bytes = fill(bytes, &mut text, offset).ok()?;
            text.truncate(n_bytes);
            let end = text.iter().position(|byte| *byte == 0);
            if end.is_none() && n_bytes == size && size < room {
                size = (size * 8).min(room);
                continue;
            }
            text.truncate(end.unwrap_or(n_bytes));
            cut_version(&mut text);
            return (!text.is_empty()).then_some(text);
        }
    }
}

fn cut_version(name: &mut Vec<u8>) {
    if let Some(at) = name
        .iter()
        .position(|byte| *byte == b'@')
        .filter(|at| *at > 0)
    {
        name.truncate(at);
    }
}

/// The better of two names of one address, each with whether it is local: global before local, then fewer leading
/// underscores, then shorter, then alphabetically.
pub(super) fn better_of(a: (bool, Vec<u8>), b: (bool, Vec<u8>)) -> (bool, Vec<u8>) {
    let key = |(is_local, name): &(bool, Vec<u8>)| {
        let n_underscores = match name.as_slice() {
            // A mangled name begins with an underscore that nobody wrote.
            [b'_', b'Z' | b'R', ..] => 0,
            name => name.iter().take_while(|byte| **byte == b'_').count(),
        };
        (*is_local, n_underscores, name.len())
    };
    if (key(&b), &b.1) < (key(&a), &a.1) {
        b
    } else {
        a
    }
}

/// Whether an untyped symbol is a label of the assembler's: `.L…`, and on Arm and RISC-V `$x`, `$d` and the like.
pub(super) fn is_assembler_label(name: &[u8], has_marks: bool) -> bool {
    name.starts_with(b".L") || (has_marks && name.starts_with(b"$"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_its_nul_at_its_version_or_with_the_table() {
        let table = b"\0memcpy@@GLIBC_2.14\0open".to_vec();
        let strings = Strings {
            offset: 0,
            size: table.len() as u64,
        };
        let check = |at: u32, expected: Option<&[u8]>| {
            assert_eq!(strings.get(&table, at).as_deref(), expected);
        };
        check(0, None);
        check(1, Some(b"memcpy"));
        check(20, Some(b"open"));
        check(24, None);
        check(1000, None);
    }

    #[test]
    fn a_long_name_is_read_in_full_up_to_the_limit() {
        for len in [
            FIRST_READ - 1,
            FIRST_READ,
            FIRST_READ + 1,
            5000,
            MAX_LEN + 1,
        ] {
            let table = vec![b'x'; len];
            let strings = Strings {
                offset: 0,
                size: len as u64,
            };
            let name = strings.get(&table, 0).expect("there");
            assert_eq!(name.len(), len.min(MAX_LEN));
        }
    }

    #[test]
    fn the_name_that_people_know_wins() {
        let check = |names: &[(bool, &str)], expected: &str| {
            let best = names
                .iter()
                .map(|(is_local, name)| (*is_local, name.as_bytes().to_vec()))
                .reduce(better_of);
            assert_eq!(
                best.map(|(_, name)| name).as_deref(),
                Some(expected.as_bytes())
            );
        };
        check(&[(true, "f"), (false, "__global_f")], "__global_f");
        check(&[(false, "__libc_malloc"), (false, "malloc")], "malloc");
        check(&[(false, "_IO_puts"), (false, "puts")], "puts");
        check(&[(false, "_ZN1AC2Ev"), (false, "_ZN1AC1Ev")], "_ZN1AC1Ev");
        check(&[(false, "b"), (false, "a"), (false, "c")], "a");
    }
}
