//! `perf-PID.map`: a line `START SIZE name` for each function, in hexadecimal, one behind the other as they are made.
//!
//! The format is perf's (tools/perf/Documentation/jit-interface.txt). A name goes to the end of its line and may have spaces. The bytes come as the
//! file grows; a line that has no end yet waits for it. Pure: bytes in, lines out.

/// Bytes of a name; a longer one is none.
const MAX_NAME: usize = 4 << 10;
/// Bytes of two numbers and what is around them.
const MAX_NUMBERS: usize = 64;

/// One function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) start: u64,
    pub(super) size: u64,
    /// `None` if it has none, or one that is too long.
    pub(super) name: Option<&'a [u8]>,
}

/// What was read of a line whose end is still to come.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Its beginning, as much as a line may have.
    partial: Vec<u8>,
}

impl Lines {
    /// Takes the next bytes of the file, and gives every line that ends in them.
    pub(super) fn feed<E>(
        &mut self,
        bytes: &[u8],
        mut visit: impl FnMut(Line<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = rest.split_at(end);
            rest = &behind[1..];
            let parsed = match self.partial.is_empty() {
                true => parse(line),
                false => {
                    self.keep(line);
                    parse(&self.partial)
                }
            };
            let visited = parsed.map_or(Ok(()), &mut visit);
            self.partial.clear();
            visited?;
        }
        self.keep(rest);
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8]) {
        // One byte more than a line may have tells that it is too long.
        let room = (MAX_NUMBERS + MAX_NAME + 1).saturating_sub(self.partial.len());
        self.partial
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// `None` for what is no line.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    let (start, rest) = number(line)?;
    let (size, rest) = number(rest)?;
    let name = rest.trim_ascii();
    let is_name = !name.is_empty() && name.len() <= MAX_NAME;
    Some(Line {
        start,
        size,
        name: is_name.then_some(name),
    })
}

/// A hexadecimal number with or without `0x`, and what is behind it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let text = text.trim_ascii_start();
    let text = text
        .strip_prefix(b"0x")
        .or_else(|| text.strip_prefix(b"0X"))
        .unwrap_or(text);
    let end = text
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if !rest.first().is_none_or(u8::is_ascii_whitespace) {
        return None;
    }
    let digits = std::str::from_utf8(digits).ok()?;
    Some((u64::from_str_radix(digits, 16).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(u64, u64, Option<String>)> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for chunk in chunks {
            let fed: Result<(), ()> = lines.feed(chunk, |line| {
                let name = line
                    .name
                    .map(|name| String::from_utf8_lossy(name).into_owned());
                found.push((line.start, line.size, name));
                Ok(())
            });
            fed.expect("nothing is refused");
        }
        found
    }

    fn check(line: &str, expected: Option<(u64, u64, Option<&str>)>) {
        let expected: Vec<_> = expected
            .map(|(start, size, name)| (start, size, name.map(str::to_owned)))
            .into_iter()
            .collect();
        assert_eq!(lines(&[line.as_bytes(), b"\n"]), expected, "{line:?}");
    }

    #[test]
    fn lines_of_every_runtime_are_understood() {
        check(
            "7fc1d27c6180 298 JS:*hot /tmp/a.js:1:13",
            Some((0x7fc1_d27c_6180, 0x298, Some("JS:*hot /tmp/a.js:1:13"))),
        );
        check(
            "0x10 0x20 f(int, char)",
            Some((0x10, 0x20, Some("f(int, char)"))),
        );
        check(
            "00000010 00000020  TRACE_1::a.lua:3\r",
            Some((0x10, 0x20, Some("TRACE_1::a.lua:3"))),
        );
        check("10 20", Some((0x10, 0x20, None)));
        check("10 20 ", Some((0x10, 0x20, None)));
    }

    #[test]
    fn what_is_no_line_is_passed_over() {
        for line in [
            "",
            "x",
            "10",
            "10 name",
            "10-20 name",
            "1ffffffffffffffff 1 big",
            "\u{0} 1 2",
            "0x 1 n",
        ] {
            check(line, None);
        }
    }

    #[test]
    fn a_line_may_come_in_pieces_and_its_end_is_waited_for() {
        let whole: &[u8] = b"10 20 a b\n30 40 c\n50 60 unfinished";
        let expected = [
            (0x10, 0x20, Some("a b".to_owned())),
            (0x30, 0x40, Some("c".to_owned())),
        ];
        for cut in 0..whole.len() {
            let (left, right) = whole.split_at(cut);
            assert_eq!(lines(&[left, right]), expected, "{cut}");
        }
    }

    #[test]
    fn a_name_that_is_too_long_is_none_and_its_line_takes_no_memory() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut feed = |bytes: &[u8]| {
            let fed: Result<(), ()> = lines.feed(bytes, |line| {
                seen.push((line.start, line.name.is_some()));
                Ok(())
            });
            fed.expect("nothing is refused");
        };
        feed(b"10 20 ");
        (0..1000).for_each(|_| feed(&[b'x'; 4096]));
        feed(b"\n30 40 short\n");
        assert!(lines.partial.capacity() < 1 << 15);
        assert_eq!(seen, [(0x10, false), (0x30, true)]);
    }
}
