//! The functions at an address, as a source knows them.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// One function at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function<'a> {
    /// `None` for a function that the source knows of, but not its name.
    pub name: Option<Name<'a>>,
    /// Where in it the address is, or the call of the function inlined into it.
    pub place: Option<Place<'a>>,
    /// Whether it was inlined into the next one.
    pub is_inlined: bool,
}

/// A function's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// Demangled.
    pub shown: &'a str,
    /// As linkers know it. Where it was not asked for, it may be the shown one.
    pub linkage: &'a [u8],
    /// The name lacks the scope and the parameters that the function has: what a symbol says is better.
    pub is_bare: bool,
}

/// A place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The file's path.
    pub file: &'a [u8],
    /// 0 where no line of the source stands for the code.
    pub line: u32,
}

/// What is wanted to be known of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Linkage names, beside those that are shown.
    pub linkage: bool,
    /// Places in the source.
    pub places: bool,
}

/// The functions at one address, innermost first. Their texts lie in common buffers, so that asking again takes no memory.
#[derive(Debug, Default)]
pub struct Functions {
    shown: String,
    bytes: Vec<u8>,
    all: Vec<Kept>,
}

/// A function whose texts are kept in [`Functions`].
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) name: Option<KeptName>,
    /// The file, among the bytes, and the line.
    pub(super) place: Option<(Range<usize>, u32)>,
    pub(super) is_inlined: bool,
}

/// A name whose texts are kept in [`Functions`].
#[derive(Clone, Debug)]
pub(super) struct KeptName {
    /// Among what is shown.
    pub(super) shown: Range<usize>,
    /// Among the bytes; `None` if it is the shown name.
    pub(super) linkage: Option<Range<usize>>,
    pub(super) is_bare: bool,
}

impl Functions {
    /// Forgets them.
    pub fn clear(&mut self) {
        self.shown.clear();
        self.bytes.clear();
        self.all.clear();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Innermost first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Function<'_>> + ExactSizeIterator {
        self.all.iter().map(|kept| self.get(kept))
    }

    /// The function that all others were inlined into.
    pub fn outermost(&self) -> Option<Function<'_>> {
        self.all.last().map(|kept| self.get(kept))
    }

    /// Adds the one that the last one was inlined into.
    pub(super) fn push(&mut self, function: Function<'_>) {
        let kept = Kept {
            name: function.name.map(|name| self.keep_name(name)),
            place: function
                .place
                .map(|place| (self.keep_bytes(place.file), place.line)),
            is_inlined: function.is_inlined,
        };
        self.push_kept(kept);
    }

    /// Adds one whose texts have been kept already.
    pub(super) fn push_kept(&mut self, kept: Kept) {
        self.all.push(kept);
    }

    /// Gives the outermost function the name that another source has for it.
    pub(super) fn rename_outermost(&mut self, name: Name<'_>) {
        let kept = self.keep_name(name);
        if let Some(outermost) = self.all.last_mut() {
            outermost.name = Some(kept);
        }
    }

    /// Says where the innermost function is at the address, if that is not known.
    pub(super) fn place_innermost(&mut self, place: Place<'_>) {
        let file = self.keep_bytes(place.file);
        if let Some(innermost) = self.all.first_mut() {
            innermost.place.get_or_insert((file, place.line));
        }
    }

    /// Keeps a name that is shown.
    pub(super) fn keep_shown(&mut self, shown: &str) -> Range<usize> {
        let start = self.shown.len();
        self.shown.push_str(shown);
        start..self.shown.len()
    }

    /// Keeps a linkage name or a path.
    pub(super) fn keep_bytes(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn keep_name(&mut self, name: Name<'_>) -> KeptName {
        let is_same = name.linkage == name.shown.as_bytes();
        KeptName {
            shown: self.keep_shown(name.shown),
            linkage: (!is_same).then(|| self.keep_bytes(name.linkage)),
            is_bare: name.is_bare,
        }
    }

    fn get(&self, kept: &Kept) -> Function<'_> {
        let name = kept.name.as_ref().map(|name| {
            let shown = &self.shown[name.shown.clone()];
            let linkage = name.linkage.clone();
            Name {
                shown,
                linkage: linkage.map_or(shown.as_bytes(), |linkage| &self.bytes[linkage]),
                is_bare: name.is_bare,
            }
        });
        let place = kept.place.as_ref().map(|(file, line)| Place {
            file: &self.bytes[file.clone()],
            line: *line,
        });
        Function {
            name,
            place,
            is_inlined: kept.is_inlined,
        }
    }
}

impl Function<'_> {
    /// Whether no other source can say more of its name.
    pub(super) fn is_named(&self) -> bool {
        self.name.is_some_and(|name| !name.is_bare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_come_back_as_they_were_added() {
        let inner = Function {
            name: Some(Name {
                shown: "a::b()",
                linkage: b"_ZN1a1bEv",
                is_bare: false,
            }),
            place: Some(Place {
                file: b"/src/a.cc",
                line: 5,
            }),
            is_inlined: true,
        };
        let outer = Function {
            name: None,
            place: None,
            is_inlined: false,
        };
        let mut functions = Functions::default();
        for _ in 0..2 {
            functions.clear();
            functions.push(inner);
            functions.push(outer);
            assert_eq!(functions.iter().collect::<Vec<_>>(), [inner, outer]);
        }
        let name = Name {
            shown: "main",
            linkage: b"main",
            is_bare: false,
        };
        functions.rename_outermost(name);
        assert_eq!(functions.outermost().and_then(|one| one.name), Some(name));
        assert_eq!(functions.iter().next(), Some(inner));
    }
}
