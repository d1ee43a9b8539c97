//! How a name that a source has found is shown: its length, its suffixes, its line.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::demangle::{Demangle, as_it_is, demangle, fold_suffixes, shorten};
use super::functions::{Function, Name, Place, Wanted};

/// Whether what compilers append to the names of copies and parts of functions is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suffixes {
    /// It is.
    #[default]
    Keep,
    /// A copy or a part has the name of its function.
    Fold,
}

/// Whether a name has its line: `function (file.c:12)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Srcline {
    /// It has.
    Show,
    /// It has not.
    #[default]
    Hide,
}

/// What is shown of the name of a function of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// How much of a mangled name.
    pub demangle: Demangle,
    /// `.cold`, `.part.0` and the like.
    pub suffixes: Suffixes,
    /// File and line.
    pub srcline: Srcline,
}

impl Shown {
    /// What a symbol of a file is shown as.
    pub fn of_symbol(self, mangled: &[u8]) -> String {
        let function = Function {
            name: Some(Name {
                shown: &demangle(mangled),
                linkage: mangled,
                is_bare: false,
            }),
            place: None,
            is_inlined: false,
        };
        self.text(&function).unwrap_or_default()
    }

    /// What has to be known of a function to show it.
    pub(super) fn wanted(self) -> Wanted {
        Wanted {
            linkage: self.demangle == Demangle::None,
            places: self.srcline == Srcline::Show,
        }
    }

    /// The text of a function's name; `None` if the source has none.
    pub(super) fn text(self, function: &Function<'_>) -> Option<String> {
        let name = function.name?;
        let full = match self.demangle {
            Demangle::Full | Demangle::Short => Cow::Borrowed(name.shown),
            Demangle::None => Cow::Owned(as_it_is(name.linkage)),
        };
        let folded = match self.suffixes {
            Suffixes::Keep => Cow::Borrowed(&*full),
            Suffixes::Fold => fold_suffixes(&full),
        };
        let shown = match self.demangle {
            Demangle::Full | Demangle::None => folded,
            Demangle::Short => Cow::Owned(shorten(&folded).into_owned()),
        };
        let place = function.place.filter(|place| place.line > 0);
        let place = place.filter(|_| self.srcline == Srcline::Show);
        Some(match place {
            Some(place) => format!("{shown} ({}:{})", file_name(&place), place.line),
            None => shown.into_owned(),
        })
    }
}

/// The last part of the path: with all of it a frame would be wider than its flame.
fn file_name<'a>(place: &Place<'a>) -> Cow<'a, str> {
    let name = place.file.rsplit(|byte| *byte == b'/').next();
    String::from_utf8_lossy(name.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shown: Shown, text: &str, expected: &str) {
        let function = Function {
            name: Some(Name {
                shown: text,
                linkage: b"linkage",
                is_bare: false,
            }),
            place: Some(Place {
                file: b"/src/lib/a.cc",
                line: 7,
            }),
            is_inlined: false,
        };
        assert_eq!(shown.text(&function).as_deref(), Some(expected));
    }

    #[test]
    fn a_name_is_shown_as_was_asked() {
        let full = "ns::f<int>(int) [clone .part.0]";
        let all = Shown::default();
        check(all, full, full);
        let folded = Shown {
            suffixes: Suffixes::Fold,
            ..all
        };
        check(folded, full, "ns::f<int>(int)");
        let short = Shown {
            demangle: Demangle::Short,
            ..folded
        };
        check(short, full, "ns::f");
        let with_line = Shown {
            srcline: Srcline::Show,
            ..short
        };
        check(with_line, full, "ns::f (a.cc:7)");
        let linkage = Shown {
            demangle: Demangle::None,
            ..all
        };
        check(linkage, full, "linkage");
    }
}
