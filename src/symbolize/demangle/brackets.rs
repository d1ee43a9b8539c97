//! Where a bracket closes, in names of C++ and Rust.
//!
//! `<` and `>` are brackets and operators both. They are read as brackets, except for `->`, `<` and `>` between blanks, those of
//! an `operator<`, and any that round brackets around them leave without a partner.

/// Nesting that is followed; deeper names are left as they are.
const MAX_DEPTH: usize = 256;

/// The position behind the bracket that closes the one at `text[start]`; `None` if none does.
pub(super) fn behind_closing(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open: Vec<u8> = Vec::new();
    let mut at = start;
    while let Some(&byte) = bytes.get(at) {
        if let Some(len) = operator_at(text, at) {
            at += len;
            continue;
        }
        match byte {
            b'<' if at > start && is_comparison(bytes, at) => {}
            b'(' | b'[' | b'{' | b'<' => {
                if open.len() == MAX_DEPTH {
                    return None;
                }
                open.push(byte);
            }
            b'>' => {
                let is_bracket = bytes[at - 1] != b'-' && !is_comparison(bytes, at);
                open.pop_if(|bracket| is_bracket && *bracket == b'<');
            }
            b')' | b']' | b'}' => {
                let partner = match byte {
                    b')' => b'(',
                    b']' => b'[',
                    _ => b'{',
                };
                let place = open.iter().rposition(|bracket| *bracket == partner)?;
                open.truncate(place);
            }
            _ => {}
        }
        at += 1;
        if open.is_empty() {
            return Some(at);
        }
    }
    None
}

/// `a < b`
fn is_comparison(bytes: &[u8], at: usize) -> bool {
    bytes[at - 1] == b' ' && bytes.get(at + 1) == Some(&b' ')
}

const OPERATOR: &str = "operator";
/// Longest first, so that each is found whole.
const SYMBOLS: [&str; 19] = [
    "<=>", "<<=", ">>=", "->*", "()", "[]", "<<", ">>", "<=", ">=", "->", "<", ">", "!=", "==",
    "&&", "||", "!", "=",
];

/// The length of `operator` and its symbol, if one with brackets, or that could be taken for some, stands at `at`.
pub(super) fn operator_at(text: &str, at: usize) -> Option<usize> {
    let before = at.checked_sub(1).map(|before| text.as_bytes()[before]);
    if before.is_some_and(is_of_word) {
        return None;
    }
    let rest = text.get(at..)?.strip_prefix(OPERATOR)?;
    let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol))?;
    Some(OPERATOR.len() + symbol.len())
}

/// Whether a byte may stand in an identifier.
pub(super) fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let rest = behind_closing(text, 0).map(|end| &text[end..]);
        assert_eq!(rest, expected, "{text}");
    }

    #[test]
    fn a_bracket_closes_behind_all_that_it_holds() {
        check("<int>::f", Some("::f"));
        check("<a<b<c>>, d>x", Some("x"));
        check("(int (*)(char), A<1>) const", Some(" const"));
        check("<fn(A) -> B>::g", Some("::g"));
        check("<(x > y), int>z", Some("z"));
        check("<(a < b)>z", Some("z"));
        check("<&A::operator<>z", Some("z"));
        check("<&A::operator->>z", Some("z"));
        check("{lambda(int)#1}::x", Some("::x"));
    }

    #[test]
    fn what_does_not_close_is_told() {
        check("<int", None);
        check("(int>", None);
        check("<)", None);
        check(&"<".repeat(1000), None);
    }
}
