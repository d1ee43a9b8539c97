//! Short names of C++.

use super::brackets::{behind_closing, is_of_word, operator_at};

const ANONYMOUS: &str = "(anonymous namespace)";
/// What a function's name may follow, with blanks in it.
const THUNKS: [&str; 4] = [
    "non-virtual thunk to ",
    "virtual thunk to ",
    "covariant return thunk to ",
    "transaction clone for ",
];
/// How the demangler shows a thunk: what it adds to `this`, and the function.
const THUNK: &str = "{virtual override thunk(";
/// Behind `operator`, and no type.
const WORDS: [&str; 6] = [
    " new[]",
    " delete[]",
    " new",
    " delete",
    " co_await",
    "\"\" ",
];

/// The name without what stands in round brackets and angles; `None` if they do not close.
pub(super) fn shorten(name: &str) -> Option<String> {
    if let Some(inner) = name.strip_prefix(THUNK) {
        let mut function = inner.strip_suffix(")}")?;
        while function.starts_with("{offset(") || function.starts_with("{virtual offset(") {
            function = function.split_once("}, ")?.1;
        }
        return Some(format!("{THUNK}{})}}", shorten_function(function)?));
    }
    shorten_function(name)
}

fn shorten_function(name: &str) -> Option<String> {
    let thunk = THUNKS.iter().find(|thunk| name.starts_with(**thunk));
    let start = thunk.map_or(0, |thunk| thunk.len());
    let mut short = name[..start].to_owned();
    let mut at = start;
    while at < name.len() {
        let rest = &name[at..];
        let byte = rest.as_bytes()[0];
        if let Some(len) = operator_len(name, at) {
            short.push_str(&name[at..at + len]);
            at += len;
            // `operator< <int>`: the blank tells them apart.
            if name[at..].starts_with(" <") {
                at += 1;
            }
        } else if let Some(of_type) = conversion(name, at) {
            let (text, behind) = of_type?;
            short.push_str(&text);
            at = behind;
        } else if rest.starts_with(ANONYMOUS) {
            short.push_str(ANONYMOUS);
            at += ANONYMOUS.len();
        } else if byte == b'{' || byte == b'[' {
            let behind = behind_closing(name, at)?;
            short.push_str(&name[at..behind]);
            at = behind;
        } else if byte == b'<' {
            at = behind_closing(name, at)?;
        } else if byte == b'(' {
            at = behind_qualifiers(name, behind_closing(name, at)?);
        } else if byte == b' ' {
            // What comes before a blank is a type: that of what the function returns.
            short.truncate(start);
            at += 1;
        } else {
            let len = word_len(rest);
            short.push_str(&rest[..len]);
            at += len;
        }
    }
    Some(short)
}

/// The length of `operator` with a symbol or a word behind it.
fn operator_len(name: &str, at: usize) -> Option<usize> {
    if let Some(len) = operator_at(name, at) {
        return Some(len);
    }
    let rest = operator_word(name, at)?;
    let word = WORDS.iter().find(|word| rest.starts_with(**word))?;
    let mut len = name.len() - at - rest.len() + word.len();
    if *word == "\"\" " {
        len += word_len(&name[at + len..]);
    }
    Some(len)
}

/// A conversion operator with its type, shortened, and where its parameters begin; the outer `None` if there is none, the inner one if
/// it does not end.
fn conversion(name: &str, at: usize) -> Option<Option<(String, usize)>> {
    let rest = operator_word(name, at)?;
    if !rest.starts_with(' ') {
        return None;
    }
    Some(conversion_type(name, at, name.len() - rest.len()))
}

fn conversion_type(name: &str, start: usize, behind_word: usize) -> Option<(String, usize)> {
    let mut text = name[start..behind_word].to_owned();
    let mut at = behind_word;
    while at < name.len() {
        let rest = &name[at..];
        // The type of a function or array: a pointer in brackets, and what is behind it.
        if rest.starts_with("(*") || rest.starts_with("(&") {
            let pointer = behind_closing(name, at)?;
            let behind = match name[pointer..].starts_with('(') {
                true => behind_closing(name, pointer)?,
                false => pointer,
            };
            text.push_str(&name[at..behind]);
            at = behind;
        } else if rest.starts_with('(') {
            break;
        } else if rest.starts_with('<') {
            at = behind_closing(name, at)?;
        } else {
            let len = word_len(rest);
            text.push_str(&rest[..len]);
            at += len;
        }
    }
    Some((text.trim_end().to_owned(), at))
}

/// What stands behind the word `operator` at `at`, if it is one.
fn operator_word(name: &str, at: usize) -> Option<&str> {
    let before = at.checked_sub(1).map(|before| name.as_bytes()[before]);
    let rest = name[at..].strip_prefix("operator")?;
    let is_word = !before.is_some_and(is_of_word) && !rest.bytes().next().is_some_and(is_of_word);
    is_word.then_some(rest)
}

/// The position behind ` const`, ` &&` and the like, which belong to parameters.
fn behind_qualifiers(name: &str, mut at: usize) -> usize {
    const QUALIFIERS: [&str; 7] = [
        " const",
        " volatile",
        " restrict",
        " noexcept",
        " &&",
        " &",
        "&&",
    ];
    loop {
        let rest = &name[at..];
        match QUALIFIERS.iter().find(|word| rest.starts_with(**word)) {
            Some(word) => at += word.len(),
            None if rest.starts_with('&') => at += 1,
            None => return at,
        }
    }
}

/// The bytes of an identifier at the start of `rest`; at least one character.
fn word_len(rest: &str) -> usize {
    let word = rest.bytes().take_while(|byte| is_of_word(*byte)).count();
    match word {
        0 => rest.chars().next().map_or(0, char::len_utf8),
        word => word,
    }
}
