//! How a name that a source has found is shown: its length, its suffixes, its line.

use std::borrow::Cow;

use super::demangle::{Demangle, fold_suffixes, of_symbol, shorten};
use super::{Place, SourceName};
use crate::model::NameKind;

/// Whether what compilers append to the names of copies and parts of functions is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Suffixes {
    /// It is.
    #[default]
    Keep,
    /// A copy or a part has the name of its function.
    Fold,
}

/// Whether a name has its line: `function (file.c:12)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Srcline {
    /// It has.
    Show,
    /// It has not.
    #[default]
    Hide,
}

/// What is shown of the name of a function of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
        let name = SourceName {
            text: Some(of_symbol(mangled, self.demangle)),
            is_bare: false,
            kind: NameKind::User,
            place: None,
        };
        self.text(name).unwrap_or_default()
    }

    /// The text of a name; `None` if the source has none.
    pub(super) fn text(self, name: SourceName) -> Option<String> {
        let full = name.text?;
        let folded = match self.suffixes {
            Suffixes::Keep => Cow::Borrowed(full.as_str()),
            Suffixes::Fold => fold_suffixes(&full),
        };
        let shown = match self.demangle {
            Demangle::Full | Demangle::None => folded,
            Demangle::Short => Cow::Owned(shorten(&folded).into_owned()),
        };
        let place = name.place.filter(|_| self.srcline == Srcline::Show);
        Some(match place {
            Some(place) => format!("{shown} ({}:{})", file_name(&place), place.line),
            None => shown.into_owned(),
        })
    }
}

/// The last part of the path: with all of it a frame would be wider than its flame.
fn file_name(place: &Place) -> &str {
    place.file.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(shown: Shown, text: &str, expected: &str) {
        let name = SourceName {
            text: Some(text.to_owned()),
            is_bare: false,
            kind: NameKind::User,
            place: Some(Place {
                file: "/src/lib/a.cc".into(),
                line: 7,
            }),
        };
        assert_eq!(shown.text(name).as_deref(), Some(expected));
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
    }
}
