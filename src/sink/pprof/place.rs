//! Names with their places: `main (app.c:12)`, as `--srcline` shows them, taken apart and put together.

/// A name and where it is. Whatever the text, what [`split`] makes of it becomes that text again by [`join`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed<'a> {
    pub(super) name: &'a str,
    pub(super) file: &'a str,
    /// 0: no place.
    pub(super) line: u64,
}

/// Takes a text apart.
pub(super) fn split(text: &str) -> Placed<'_> {
    placed(text).unwrap_or(Placed {
        name: text,
        file: "",
        line: 0,
    })
}

fn placed(text: &str) -> Option<Placed<'_>> {
    let (head, digits) = text.strip_suffix(')')?.rsplit_once(':')?;
    let (name, file) = head.rsplit_once(" (")?;
    let is_plain = digits.starts_with(|first: char| first != '0')
        && digits.bytes().all(|byte| byte.is_ascii_digit());
    let line: i64 = digits.parse().ok().filter(|_| is_plain)?;
    let line = u64::try_from(line).ok()?;
    Some(Placed { name, file, line })
}

/// Puts a text together.
pub(super) fn join(name: &str, file: &str, line: u64) -> String {
    format!("{name} ({file}:{line})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_what_its_parts_make() {
        for (text, file, line) in [
            ("main (app.c:12)", "app.c", 12),
            ("f(int) (a b.c:1)", "a b.c", 1),
            ("operator() (x:7) (y:8)", "y", 8),
            (" (:5)", "", 5),
            ("f (a:b:9)", "a:b", 9),
            ("main", "", 0),
            ("f (a.c:0)", "", 0),
            ("f (a.c:012)", "", 0),
            ("f (a.c:+1)", "", 0),
            ("f (a.c:99999999999999999999)", "", 0),
            ("f(a.c:1)", "", 0),
            ("", "", 0),
        ] {
            let parts = split(text);
            assert_eq!((parts.file, parts.line), (file, line), "{text}");
            let again = match parts.line {
                0 => parts.name.to_owned(),
                line => join(parts.name, parts.file, line),
            };
            assert_eq!(again, text);
        }
    }
}
