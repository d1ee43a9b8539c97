//! The one form in which text of profiled programs is written into folded stacks, flame graphs and records of samples.
//!
//! Whatever the bytes: one frame stays one frame on one line, cannot be taken for the count, for a comment, for
//! another kind of frame or for perfd's own marks, and cannot steer a terminal. What could is written as `\xNN`, one for
//! each byte, and everything else as it is:
//!
//! - `;`, control characters (C0, DEL, C1), line and paragraph separators, bidirectional marks and overrides,
//!   white space other than the space, code points that XML forbids, and bytes that are not UTF-8
//! - a first or last space, and a space with nothing but digits and dots behind it
//! - the backslash of a text that already looks like `\xNN`; other backslashes (PHP, Windows) stay
//! - the `#` of a text that begins with `# `, the `[` of one that begins with `[truncated: `, and the `_` of one that
//!   ends in `_[k]`, `_[i]`, `_[j]`, `_[p]` or `_[w]`
//!
//! In records of samples there are more: see [`script_comm`], [`script_symbol`] and [`script_module`].
//!
//! So [`decode`] gives the bytes back, except of a text that is empty (`[no name]`) or longer than [`MAX_LEN`], which is
//! cut and ends in `..#` and a hash of the whole.

use crate::model::{FrameName, NameKind, TaskLabel};

/// Bytes of an encoded text, at most; the annotation comes on top.
pub const MAX_LEN: usize = 4096;

const EMPTY: &str = "[no name]";
/// `..#` and 16 hexadecimal digits.
const CUT_MARK_LEN: usize = 19;
/// Begins the frame that stands in the place of missing ones.
pub(in crate::sink) const TRUNCATED: &str = "[truncated: ";

/// Appends a frame's text and the annotation of its kind.
pub fn frame(name: &FrameName, out: &mut String) {
    text(name.text.as_bytes(), out);
    out.push_str(match name.kind {
        NameKind::User => "",
        NameKind::Inlined => "_[i]",
        NameKind::Kernel => "_[k]",
        NameKind::Jit => "_[j]",
        NameKind::Python => "_[p]",
    });
}

/// Appends the first field of a folded line: `comm`, `comm-PID` or `comm-PID/TID`.
pub fn task(label: &TaskLabel, out: &mut String) {
    let comm = &label.comm;
    match (label.pid, label.tid) {
        (None, None) => text(comm.as_bytes(), out),
        (Some(pid), None) => text(format!("{comm}-{pid}").as_bytes(), out),
        (Some(pid), Some(tid)) => text(format!("{comm}-{pid}/{tid}").as_bytes(), out),
        (None, Some(tid)) => text(format!("{comm}/{tid}").as_bytes(), out),
    }
}

/// Appends any bytes as one frame.
pub fn text(raw: &[u8], out: &mut String) {
    guarded(raw, |_| false, out);
}

/// Appends the name of a thread as it begins a record of `perf script`: no word in it can be taken for the pid or the time behind it, nor
/// the line for a comment.
pub fn script_comm(raw: &[u8], out: &mut String) {
    let is_guarded = |at: usize| match raw[at] {
        b'#' => at == 0,
        b' ' => matches!(raw.get(at + 1), Some(b'0'..=b'9' | b'.' | b'/')),
        _ => false,
    };
    guarded(raw, is_guarded, out);
}

/// Appends the name of a function as a frame of `perf script` has it, so that its readers leave it as it is: they take `a->b` for two
/// frames, cut off `+0x1f`, leave out what begins with `(`, call `[unknown]` after the module, and look for ` 12.34:` in any line.
pub fn script_symbol(raw: &[u8], out: &mut String) {
    let is_guarded = |at: usize| match raw[at] {
        b'(' => at == 0,
        b'[' => raw == b"[unknown]",
        b'>' => at > 0 && raw[at - 1] == b'-',
        b'+' => is_symbol_offset(&raw[at..]),
        b' ' => is_time(&raw[at + 1..]),
        _ => false,
    };
    guarded(raw, is_guarded, out);
}

/// Appends the path of a module as it stands in brackets behind a function: one word.
pub fn script_module(raw: &[u8], out: &mut String) {
    match raw {
        b"" => out.push_str("[unknown]"),
        raw => guarded(raw, |at| raw[at] == b' ', out),
    }
}

/// Appends any bytes as one frame; at the places that `is_guarded` names a character is escaped whatever it is.
fn guarded(raw: &[u8], is_guarded: impl Fn(usize) -> bool, out: &mut String) {
    if raw.is_empty() {
        out.push_str(EMPTY);
        return;
    }
    let start = out.len();
    let mut cut = start;
    let head = head_to_guard(raw);
    let tail = tail_to_guard(raw);
    let mut offset = 0;
    for chunk in raw.utf8_chunks() {
        for character in chunk.valid().chars() {
            let is_head_or_tail = head == Some(offset) || tail == Some(offset);
            let is_escape = character == '\\' && is_like_escape(&raw[offset..]);
            if is_head_or_tail || is_guarded(offset) || is_escape || must_be_escaped(character) {
                let mut utf8 = [0; 4];
                let bytes = character.encode_utf8(&mut utf8).bytes();
                bytes.for_each(|byte| push_escaped(byte, out));
            } else {
                out.push(character);
            }
            offset += character.len_utf8();
            if out.len() - start <= MAX_LEN - CUT_MARK_LEN {
                cut = out.len();
            }
        }
        for byte in chunk.invalid() {
            push_escaped(*byte, out);
            offset += 1;
            if out.len() - start <= MAX_LEN - CUT_MARK_LEN {
                cut = out.len();
            }
        }
        if out.len() - start > MAX_LEN {
            out.truncate(cut);
            out.push_str(&format!("..#{:016x}", fnv1a(raw)));
            return;
        }
    }
}

/// Text for people, on one line of at most `max` characters: what could break the line or steer the terminal is escaped, what
/// only matters between frames (`;`, numbers at the end) stays.
pub fn line(raw: &str, max: usize) -> String {
    let mut out = String::new();
    for (idx, character) in raw.chars().enumerate() {
        if idx == max {
            out.push('…');
            break;
        }
        if character != ';' && must_be_escaped(character) {
            let mut utf8 = [0; 4];
            let bytes = character.encode_utf8(&mut utf8).bytes();
            bytes.for_each(|byte| push_escaped(byte, &mut out));
        } else {
            out.push(character);
        }
    }
    out
}

/// Appends text that a reader of the file shows, whatever it is for: what could break its line or steer its terminal is escaped, so that
/// [`decode`] gives the text back, and nothing is cut.
pub fn shown(raw: &str, out: &mut String) {
    for (at, character) in raw.char_indices() {
        let is_escape = character == '\\' && is_like_escape(&raw.as_bytes()[at..]);
        if character != ';' && (is_escape || must_be_escaped(character)) {
            let mut utf8 = [0; 4];
            let bytes = character.encode_utf8(&mut utf8).bytes();
            bytes.for_each(|byte| push_escaped(byte, out));
        } else {
            out.push(character);
        }
    }
}

/// The bytes of which an encoded text (without annotation) was made.
pub fn decode(encoded: &str) -> Vec<u8> {
    let mut rest = encoded.as_bytes();
    let mut raw = Vec::with_capacity(rest.len());
    while let [first, behind @ ..] = rest {
        if is_like_escape(rest) {
            raw.push(hex_value(rest[2]) << 4 | hex_value(rest[3]));
            rest = &rest[4..];
        } else {
            raw.push(*first);
            rest = behind;
        }
    }
    raw
}

fn must_be_escaped(character: char) -> bool {
    match character {
        ' ' => false,
        ';' => true,
        '\u{200e}' | '\u{200f}' | '\u{61c}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        '\u{feff}' | '\u{fffe}' | '\u{ffff}' => true,
        other => other.is_control() || other.is_whitespace(),
    }
}

/// A first character that would be trimmed, or would make the line a comment or the frame a mark of perfd's.
fn head_to_guard(raw: &[u8]) -> Option<usize> {
    let is_guarded =
        raw[0] == b' ' || raw.starts_with(b"# ") || raw.starts_with(TRUNCATED.as_bytes());
    is_guarded.then_some(0)
}

/// The character because of which the end would be taken for a count or for an annotation.
fn tail_to_guard(raw: &[u8]) -> Option<usize> {
    if let [.., b'_', b'[', b'k' | b'i' | b'j' | b'p' | b'w', b']'] = raw {
        return Some(raw.len() - 4);
    }
    let space = raw.iter().rposition(|byte| *byte == b' ')?;
    raw[space + 1..]
        .iter()
        .all(|byte| byte.is_ascii_digit() || *byte == b'.')
        .then_some(space)
}

/// `+0x` with nothing but hexadecimal digits behind it.
fn is_symbol_offset(bytes: &[u8]) -> bool {
    let digits = bytes.strip_prefix(b"+0x");
    digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Digits and dots, then a colon.
fn is_time(bytes: &[u8]) -> bool {
    let n = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
        .count();
    n > 0 && bytes.get(n) == Some(&b':')
}

fn is_like_escape(bytes: &[u8]) -> bool {
    matches!(bytes, [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

fn push_escaped(byte: u8, out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// FNV-1a, 64 bits: keeps long names apart; nobody gains by a collision but his own confusion.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(raw: &[u8]) -> String {
        let mut out = String::new();
        text(raw, &mut out);
        out
    }

    fn check(raw: &[u8], expected: &str) {
        assert_eq!(encoded(raw), expected);
        assert_eq!(decode(expected), raw, "{expected}");
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        for name in [
            "main",
            "std::vector<int, std::allocator<int> >::push_back(int&&)",
            "App\\Http\\Controller",
            "libfoo.so+0x1f3",
            "операция",
            "#private",
            "operator new[](unsigned long)",
        ] {
            check(name.as_bytes(), name);
        }
    }

    #[test]
    fn separators_and_controls_are_bytes_in_hex() {
        check(b"<[u8; 4]>", r"<[u8\x3b 4]>");
        check(b"a\nb\t\x1b[31m\x7f", r"a\x0ab\x09\x1b[31m\x7f");
        check("a\u{85}b\u{2028}c".as_bytes(), r"a\xc2\x85b\xe2\x80\xa8c");
        check(
            "a\u{202e}b\u{2066}".as_bytes(),
            r"a\xe2\x80\xaeb\xe2\x81\xa6",
        );
        check(b"a\xff\xc3", r"a\xff\xc3");
        check("a\u{ffff}".as_bytes(), r"a\xef\xbf\xbf");
    }

    #[test]
    fn an_end_cannot_be_taken_for_the_count() {
        check(b"thread 7", r"thread\x207");
        check(b"a 5 6", r"a 5\x206");
        check(b"a 1.5", r"a\x201.5");
        check(b"a  ", r"a \x20");
        check(b" ", r"\x20");
        check(b"  a", r"\x20 a");
        check(b"7", "7");
        check(b"a 7b", "a 7b");
    }

    #[test]
    fn a_name_cannot_pretend_to_be_a_mark_of_perfd() {
        check(b"evil_[k]", r"evil\x5f[k]");
        check(b"[truncated: x]", r"\x5btruncated: x]");
        check(b"# comment", r"\x23 comment");
        check(br"a\x3bb", r"a\x5cx3bb");
        check(br"\\x41", r"\\x5cx41");
    }

    #[test]
    fn an_empty_name_is_a_frame_too() {
        assert_eq!(encoded(b""), "[no name]");
    }

    #[test]
    fn a_long_name_is_cut_and_kept_apart_by_its_hash() {
        let one = vec![b'a'; 10_000];
        let mut other = one.clone();
        other.push(b'b');
        assert_eq!(encoded(&one).len(), MAX_LEN);
        assert_ne!(encoded(&one), encoded(&other));
        assert_eq!(encoded(&vec![b'a'; MAX_LEN]), "a".repeat(MAX_LEN));
        let semicolons = encoded(&vec![b';'; MAX_LEN]);
        assert!(semicolons.len() <= MAX_LEN && semicolons.starts_with(r"\x3b\x3b"));
        assert!(!semicolons.contains(r"\x3.."), "an escape is never cut");
    }

    #[test]
    fn a_line_for_people_keeps_what_only_matters_to_frames() {
        assert_eq!(line("sleep 1; \u{1b}[2J", 80), r"sleep 1; \x1b[2J");
        assert_eq!(line("abcd", 3), "abc…");
    }

    #[test]
    fn the_task_has_its_numbers_behind_its_name() {
        use crate::model::{Pid, Tid};
        let label = |pid, tid| {
            let mut out = String::new();
            let label = TaskLabel {
                comm: "a;b 9".into(),
                pid,
                tid,
            };
            task(&label, &mut out);
            out
        };
        assert_eq!(label(None, None), r"a\x3bb\x209");
        assert_eq!(label(Some(Pid(4)), None), r"a\x3bb 9-4");
        assert_eq!(label(Some(Pid(4)), Some(Tid(5))), r"a\x3bb 9-4/5");
    }

    #[test]
    fn any_bytes_are_one_frame_on_one_line_and_come_back() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        // Half of the bytes are of the kinds that have rules of their own.
        const HARD: &[u8; 32] = b"  ;;\\\\xx\n\r\t\x00\x1b\x7f##__[[]]kij059..\xc2\x85";
        for _ in 0..20_000 {
            let length = usize::from(next()[0] % 24) + 1;
            let raw: Vec<u8> = (0..length)
                .map(|_| match next() {
                    [kind, at, ..] if kind < 128 => HARD[usize::from(at % 32)],
                    [_, any, ..] => any,
                })
                .collect();
            let encoded = encoded(&raw);
            assert_eq!(decode(&encoded), raw, "{encoded}");
            assert_eq!(encoded.trim(), encoded);
            assert!(!encoded.contains(';'), "{encoded}");
            assert!(!encoded.chars().any(char::is_control), "{encoded}");
            let line = format!("comm;{encoded} 42");
            assert_eq!(line.lines().count(), 1);
            let (stack, count) = line.rsplit_once(' ').unwrap();
            assert_eq!((stack.split(';').count(), count), (2, "42"));
            let last = stack.rsplit(' ').next().unwrap();
            assert!(!last.bytes().all(|byte| byte.is_ascii_digit()), "{line}");
        }
    }
}
