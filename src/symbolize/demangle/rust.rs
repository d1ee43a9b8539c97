//! Short names of Rust.

use super::brackets::{behind_closing, is_of_word};

/// Qualified paths in qualified paths.
const MAX_DEPTH: u32 = 16;

/// The name without generic arguments; `None` if some bracket does not close.
pub(super) fn shorten(name: &str) -> Option<String> {
    shorten_at(name, 0)
}

fn shorten_at(text: &str, depth: u32) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    let bytes = text.as_bytes();
    let mut short = String::new();
    let mut at = 0;
    while at < text.len() {
        let byte = bytes[at];
        if byte == b'<' {
            let behind = behind_closing(text, at)?;
            let inner = &text[at + 1..behind - 1];
            let is_last = !text[behind..].starts_with("::");
            let begins_path = !short.as_bytes().last().is_some_and(|last| {
                is_of_word(*last) || matches!(last, b':' | b'}' | b']' | b')' | b'>')
            });
            if let Some(of) = inner.strip_prefix("impl ").filter(|_| !is_last) {
                // The path of the module that has the `impl` says nothing of what it is for.
                short.truncate(path_start(&short));
                short.push_str(&implementation(of, depth)?);
            } else if begins_path {
                short.push_str(&qualified(inner, depth)?);
            } else if short.ends_with("::") {
                short.truncate(short.len() - 2);
            }
            at = behind;
        } else if byte == b'{' {
            let behind = behind_closing(text, at)?;
            short.push_str(&text[at..behind]);
            at = behind;
        } else {
            let next = text[at..].chars().next().map_or(1, char::len_utf8);
            // The arrow of a function's type is no bracket.
            let len = if text[at..].starts_with("->") {
                2
            } else {
                next
            };
            short.push_str(&text[at..at + len]);
            at += len;
        }
    }
    Some(short)
}

/// `T as Trait` in angles; `T` alone without them, if it is a plain path.
fn qualified(inner: &str, depth: u32) -> Option<String> {
    let short = shorten_at(inner, depth + 1)?;
    let is_path = short.bytes().all(|byte| is_of_word(byte) || byte == b':');
    match is_path && !short.is_empty() {
        true => Some(short),
        false => Some(format!("<{short}>")),
    }
}

/// `Trait for T`, or `T` alone.
fn implementation(of: &str, depth: u32) -> Option<String> {
    match split_outside(of, " for ") {
        Some((of_trait, of_type)) => {
            let of_type = shorten_at(of_type, depth + 1)?;
            let of_trait = shorten_at(of_trait, depth + 1)?;
            Some(format!("<{of_type} as {of_trait}>"))
        }
        None => qualified(of, depth),
    }
}

/// Splits at the first `separator` that is in no bracket.
fn split_outside<'a>(text: &'a str, separator: &str) -> Option<(&'a str, &'a str)> {
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if let Some(behind) = rest.strip_prefix(separator) {
            return Some((&text[..at], behind));
        }
        at = match rest.as_bytes()[0] {
            b'<' | b'(' | b'[' => behind_closing(text, at)?,
            _ => at + rest.chars().next().map_or(1, char::len_utf8),
        };
    }
    None
}

/// Where the path that `short` ends with begins.
fn path_start(short: &str) -> usize {
    let path = short
        .bytes()
        .rev()
        .take_while(|byte| is_of_word(*byte) || *byte == b':')
        .count();
    short.len() - path
}
