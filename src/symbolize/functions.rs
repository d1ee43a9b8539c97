//! The functions at an address, as a source knows them.

use std::ops::Range;

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Linkage names, beside those that are shown.
    pub linkage: bool,
    /// Places in the source.
    pub places: bool,
}

/// The functions at one address, innermost first. Their texts lie in one buffer, so that asking again takes no memory.
#[derive(Debug, Default)]
pub struct Functions {
    text: Vec<u8>,
    all: Vec<Stored>,
}

#[derive(Clone, Debug)]
struct Stored {
    /// The shown name, valid UTF-8, and the linkage name.
    name: Option<(Range<usize>, Range<usize>)>,
    is_bare: bool,
    place: Option<(Range<usize>, u32)>,
    is_inlined: bool,
}

impl Functions {
    /// Forgets them.
    pub fn clear(&mut self) {
        self.text.clear();
        self.all.clear();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Innermost first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Function<'_>> + ExactSizeIterator {
        self.all.iter().map(|stored| self.get(stored))
    }

    /// The function that all others were inlined into.
    pub fn outermost(&self) -> Option<Function<'_>> {
        self.all.last().map(|stored| self.get(stored))
    }

    /// Adds the one that the last one was inlined into.
    pub(super) fn push(&mut self, function: Function<'_>) {
        let name = function.name.map(|name| {
            let shown = self.keep(name.shown.as_bytes());
            let linkage = match name.linkage == name.shown.as_bytes() {
                true => shown.clone(),
                false => self.keep(name.linkage),
            };
            (shown, linkage)
        });
        let place = function
            .place
            .map(|place| (self.keep(place.file), place.line));
        self.all.push(Stored {
            name,
            is_bare: function.name.is_some_and(|name| name.is_bare),
            place,
            is_inlined: function.is_inlined,
        });
    }

    /// Gives the outermost function the name that another source has for it.
    pub(super) fn rename_outermost(&mut self, name: Name<'_>) {
        let shown = self.keep(name.shown.as_bytes());
        let linkage = self.keep(name.linkage);
        if let Some(outermost) = self.all.last_mut() {
            outermost.name = Some((shown, linkage));
            outermost.is_bare = name.is_bare;
        }
    }

    /// Says where the innermost function is at the address, if that is not known.
    pub(super) fn place_innermost(&mut self, place: Place<'_>) {
        let file = self.keep(place.file);
        if let Some(innermost) = self.all.first_mut() {
            innermost.place.get_or_insert((file, place.line));
        }
    }

    fn keep(&mut self, text: &[u8]) -> Range<usize> {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        start..self.text.len()
    }

    fn get(&self, stored: &Stored) -> Function<'_> {
        let name = stored.name.as_ref().map(|(shown, linkage)| Name {
            // Came from a `str`, so that it always is one.
            shown: std::str::from_utf8(&self.text[shown.clone()]).unwrap_or_default(),
            linkage: &self.text[linkage.clone()],
            is_bare: stored.is_bare,
        });
        let place = stored.place.as_ref().map(|(file, line)| Place {
            file: &self.text[file.clone()],
            line: *line,
        });
        Function {
            name,
            place,
            is_inlined: stored.is_inlined,
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
