//! The sections of one file that hold its DWARF.

use std::sync::Arc;

use super::Corrupt;
use super::abbreviations::Declarations;
use super::window::{Strings, Window};
use crate::object::{Elf, ReadAt};

/// Whose sections they are, which tells what they are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// An executable's, a library's, or a debug file's.
    Whole,
    /// What split DWARF keeps elsewhere (`.debug_info.dwo`).
    Split,
}

/// Where each section is; shared by all who read it.
#[derive(Clone, Default)]
pub(super) struct Sources {
    pub(super) info: Option<Arc<dyn ReadAt>>,
    pub(super) abbrev: Option<Arc<dyn ReadAt>>,
    pub(super) addr: Option<Arc<dyn ReadAt>>,
    pub(super) line: Option<Arc<dyn ReadAt>>,
    pub(super) line_str: Option<Arc<dyn ReadAt>>,
    pub(super) ranges: Option<Arc<dyn ReadAt>>,
    pub(super) rnglists: Option<Arc<dyn ReadAt>>,
    pub(super) str: Option<Arc<dyn ReadAt>>,
    pub(super) str_offsets: Option<Arc<dyn ReadAt>>,
    /// Bytes of those that had to be decompressed into memory.
    pub(super) n_loaded: usize,
}

/// The names of the sections, in the order of [`Sources`]' fields.
const NAMES: [&str; 9] = [
    ".debug_info",
    ".debug_abbrev",
    ".debug_addr",
    ".debug_line",
    ".debug_line_str",
    ".debug_ranges",
    ".debug_rnglists",
    ".debug_str",
    ".debug_str_offsets",
];

impl Sources {
    /// The sections of `elf`; `None` if it has no DWARF, or what is compressed of it would take more than
    /// `max_loaded` bytes.
    pub(super) fn open(
        elf: &Elf,
        part: Part,
        max_loaded: usize,
    ) -> Result<Option<Sources>, Corrupt> {
        let names = NAMES.map(|name| match part {
            Part::Whole => name.to_owned(),
            Part::Split => format!("{name}.dwo"),
        });
        let size = |name: &str| elf.section_size(name).map_err(|_| Corrupt);
        if size(&names[0])? == 0 {
            return Ok(None);
        }
        let mut n_loaded: u64 = 0;
        for name in names.iter().filter(|name| elf.is_compressed(name)) {
            n_loaded = n_loaded.saturating_add(size(name)?);
        }
        if n_loaded > max_loaded as u64 {
            return Ok(None);
        }
        let mut opened = names.iter().map(|name| elf.open_section(name));
        let mut next = || -> Result<_, Corrupt> {
            let section = opened.next().transpose().map_err(|_| Corrupt)?;
            Ok(section.flatten())
        };
        Ok(Some(Sources {
            info: next()?,
            abbrev: next()?,
            addr: next()?,
            line: next()?,
            line_str: next()?,
            ranges: next()?,
            rnglists: next()?,
            str: next()?,
            str_offsets: next()?,
            n_loaded: usize::try_from(n_loaded).unwrap_or(usize::MAX),
        }))
    }
}

/// Bytes that are read at once of sections that are mostly read a unit at a time, past the window: it sees heads of units, and entries that
/// other units refer to.
const NARROW: u64 = 4 << 10;
/// Bytes that are read at once of the others.
const WIDE: u64 = 64 << 10;

/// One reader's windows on the sections.
pub(super) struct Sections {
    pub(super) info: Window,
    pub(super) abbrev: Declarations,
    pub(super) addr: Window,
    pub(super) line: Window,
    pub(super) ranges: Window,
    pub(super) rnglists: Window,
    pub(super) str_offsets: Window,
    pub(super) str: Strings,
    pub(super) line_str: Strings,
}

impl Sections {
    pub(super) fn new(sources: &Sources) -> Sections {
        let narrow = |source: &Option<Arc<dyn ReadAt>>| Window::new(source.clone(), NARROW);
        let window = |source: &Option<Arc<dyn ReadAt>>| Window::new(source.clone(), WIDE);
        Sections {
            info: narrow(&sources.info),
            abbrev: Declarations::new(window(&sources.abbrev)),
            addr: window(&sources.addr),
            line: narrow(&sources.line),
            ranges: window(&sources.ranges),
            rnglists: window(&sources.rnglists),
            str_offsets: window(&sources.str_offsets),
            str: Strings::new(sources.str.clone()),
            line_str: Strings::new(sources.line_str.clone()),
        }
    }
}
