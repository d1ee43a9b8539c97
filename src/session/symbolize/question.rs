//! Questions: addresses, or modules and offsets, one in a line.

use std::io::{self, Read};
use std::path::PathBuf;

/// What lines are about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Addresses that this file was linked for: `0x401136`, or without the prefix.
    AddressesIn(PathBuf),
    /// `module offset` or `module+0xoffset`: a path and an offset in that file, as in names of frames that have none.
    ModulesAndOffsets,
}

/// Where questions come from.
pub trait Input: Read {
    /// Whether more can be read at once: if not, what was read is answered first, since who asks may wait for it.
    fn has_more(&self) -> bool;
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The number of the file among all that were asked about; `None` if the line makes no sense.
    pub(super) file: Option<usize>,
    /// An address or an offset, as [`What`] says.
    pub(super) number: u64,
}

/// Bytes of a line that is not cut.
const LONGEST_LINE: usize = 16 << 10;

/// Lines, as they come.
pub(super) struct Lines<'a> {
    input: &'a mut dyn Input,
    buffer: Vec<u8>,
    /// What of the buffer was taken.
    taken: usize,
    is_at_end: bool,
}

impl Lines<'_> {
    pub(super) fn new(input: &mut dyn Input) -> Lines<'_> {
        Lines {
            input,
            buffer: Vec::new(),
            taken: 0,
            is_at_end: false,
        }
    }

    /// Calls `each` with the lines that are there, `most` of them at the most; waits for one. `false` at the end.
    pub(super) fn take(&mut self, most: usize, mut each: impl FnMut(&[u8])) -> io::Result<bool> {
        let mut n_taken = 0;
        while n_taken < most {
            let rest = &self.buffer[self.taken..];
            if let Some(len) = rest.iter().position(|byte| *byte == b'\n') {
                each(&rest[..len]);
                self.taken += len + 1;
                n_taken += 1;
                continue;
            }
            if self.is_at_end {
                if !rest.is_empty() {
                    each(rest);
                    self.taken = self.buffer.len();
                    n_taken += 1;
                }
                break;
            }
            if n_taken > 0 && !self.input.has_more() {
                break;
            }
            self.read()?;
        }
        Ok(n_taken > 0 || !self.is_at_end)
    }

    fn read(&mut self) -> io::Result<()> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let before = self.buffer.len();
        if before > LONGEST_LINE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line of more than 16 KiB",
            ));
        }
        self.buffer.resize(before + (64 << 10), 0);
        loop {
            match self.input.read(&mut self.buffer[before..]) {
                Ok(n_bytes) => {
                    self.buffer.truncate(before + n_bytes);
                    self.is_at_end = n_bytes == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.buffer.truncate(before);
                    return Err(error);
                }
            }
        }
    }
}

/// A number as programs print addresses: hexadecimal, with or without `0x`.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii();
    let digits = text
        .strip_prefix(b"0x")
        .or_else(|| text.strip_prefix(b"0X"))
        .unwrap_or(text);
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Module and offset: what stands before the last space, and behind it; or before the last plus sign.
pub(super) fn module_and_offset(line: &[u8]) -> Option<(&[u8], u64)> {
    let line = line.trim_ascii();
    let split = |at: usize| {
        let module = line[..at].trim_ascii_end();
        (!module.is_empty()).then_some((module, number(&line[at + 1..])?))
    };
    let space = line.iter().rposition(u8::is_ascii_whitespace);
    let plus = line.iter().rposition(|byte| *byte == b'+');
    space.and_then(split).or_else(|| plus.and_then(split))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one piece at each read.
    struct Pieces(Vec<&'static str>);

    impl Read for Pieces {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0).as_bytes();
            buf[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    impl Input for Pieces {
        fn has_more(&self) -> bool {
            false
        }
    }

    #[test]
    fn what_is_there_is_taken_and_not_more_waited_for() {
        let mut pieces = Pieces(vec!["1\n2\n3", "4\n", "\n", "5"]);
        let mut lines = Lines::new(&mut pieces);
        let mut batches: Vec<Vec<String>> = Vec::new();
        loop {
            let mut batch = Vec::new();
            let goes_on = lines
                .take(2, |line| {
                    batch.push(String::from_utf8_lossy(line).into_owned())
                })
                .expect("reads");
            if !goes_on {
                break;
            }
            batches.push(batch);
        }
        let expected = [vec!["1", "2"], vec!["34"], vec![""], vec!["5"]];
        assert_eq!(batches, expected);
    }

    #[test]
    fn addresses_are_hexadecimal_with_and_without_a_prefix() {
        for (text, expected) in [
            ("0x10", Some(16)),
            ("10", Some(16)),
            (" 0Xff\r", Some(255)),
            ("", None),
            ("0x", None),
            ("+5", None),
            ("xyz", None),
            ("11112222333344445", None),
        ] {
            assert_eq!(number(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_module_may_have_spaces_in_its_path() {
        let split = |line: &'static str| module_and_offset(line.as_bytes());
        assert_eq!(split("/usr/bin/ls 0x12"), Some((&b"/usr/bin/ls"[..], 0x12)));
        assert_eq!(split("/a b/c\t12 "), Some((&b"/a b/c"[..], 0x12)));
        assert_eq!(split("12"), None);
        assert_eq!(split(" 12"), None);
        assert_eq!(split("/usr/bin/ls"), None);
        assert_eq!(split("/usr/bin/g++ 1"), Some((&b"/usr/bin/g++"[..], 1)));
        assert_eq!(split("/a b/ls+0x1f"), Some((&b"/a b/ls"[..], 0x1f)));
    }
}
