//! Names from DWARF: functions and what the compiler inlined into them.
//!
//! addr2line does the search, over sections that are read whole and owned here. Lines are not read at all
//! ([`super::line_tables`]). No split DWARF and no supplementary files yet: their functions have no name here.

use addr2line::{Context, FunctionName};
use gimli::{AbbreviationsCacheStrategy, DwarfSections, SectionId};
use self_cell::self_cell;

use super::confine::confined;
use super::demangle::of_symbol;
use super::watched::{Watch, Watched};
use super::{Corrupt, Demangle, Inline, NameSource, SourceName, line_tables};
use crate::model::NameKind;
use crate::object::{Elf, ElfError, LinkedAddress};

/// The sections that names may need.
const SECTIONS: [SectionId; 9] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];
/// Reads that any lookup may make; what the sections hold comes on top.
const FREE_READS: u64 = 4 << 20;
/// A compiler inlines some tens deep.
const MAX_INLINED: usize = 256;
/// Bytes that addr2line keeps for each byte of `.debug_abbrev`, measured on libpython.
const MEMORY_PER_ABBREV: usize = 16;
/// Bytes that it keeps for each read: 2 on libpython with most functions looked up, 4 where much is inlined.
const MEMORY_PER_READ: u64 = 4;

/// The DWARF of one file.
pub(super) struct Dwarf {
    loaded: Loaded,
    demangle: Demangle,
}

struct Sections {
    sections: DwarfSections<Vec<u8>>,
    /// Bytes of all sections.
    size: usize,
    /// Bytes of `.debug_abbrev`.
    n_abbrev: usize,
    watch: Watch,
}

type WatchedContext<'a> = Context<Watched<'a>>;

self_cell!(
    struct Loaded {
        owner: Sections,
        #[not_covariant]
        dependent: WatchedContext,
    }
);

impl Sections {
    /// What a lookup may read: everything twice over, which no sane file comes near.
    fn allowance(&self) -> u64 {
        FREE_READS + 2 * self.size as u64
    }
}

/// Whether, and how, a file's DWARF can be used.
pub(super) enum Opened {
    /// It can.
    Dwarf(Box<Dwarf>),
    /// There is none, or more than `max_size`.
    None,
}

impl Dwarf {
    /// Loads the sections of `elf`, unless they would take more than `max_size` bytes.
    pub(super) fn open(elf: &Elf, max_size: usize, demangle: Demangle) -> Result<Opened, Corrupt> {
        let mut declared: u64 = 0;
        for id in SECTIONS {
            declared = declared.saturating_add(elf.section_size(id.name()).map_err(|_| Corrupt)?);
        }
        if declared > max_size as u64 {
            return Ok(Opened::None);
        }
        if elf.section_size(SectionId::DebugInfo.name()).ok() == Some(0) {
            return Ok(Opened::None);
        }
        let (mut size, mut n_abbrev) = (0, 0);
        let sections = DwarfSections::load(|id| -> Result<Vec<u8>, ElfError> {
            if !SECTIONS.contains(&id) {
                return Ok(Vec::new());
            }
            let section = elf.section(id.name())?;
            let mut bytes = section.map_or_else(Vec::new, |section| section.bytes);
            if id == SectionId::DebugAbbrev {
                line_tables::hide(&mut bytes);
                n_abbrev = bytes.len();
            }
            size += bytes.len();
            Ok(bytes)
        })
        .map_err(|_| Corrupt)?;
        let owner = Sections {
            sections,
            size,
            n_abbrev,
            watch: Watch::default(),
        };
        let loaded = confined(|| Loaded::try_new(owner, context));
        match loaded {
            Ok(Ok(loaded)) => Ok(Opened::Dwarf(Box::new(Dwarf { loaded, demangle }))),
            Ok(Err(error)) if is_unsupported(error) => Ok(Opened::None),
            _ => Err(Corrupt),
        }
    }
}

fn context(owner: &Sections) -> Result<WatchedContext<'_>, gimli::Error> {
    owner.watch.begin(owner.allowance());
    let mut dwarf = owner
        .sections
        .borrow(|bytes| Watched::new(bytes, &owner.watch));
    dwarf.populate_abbreviations_cache(AbbreviationsCacheStrategy::Duplicates);
    Context::from_dwarf(dwarf)
}

impl NameSource for Dwarf {
    fn names(
        &mut self,
        address: LinkedAddress,
        inline: Inline,
        names: &mut Vec<SourceName>,
    ) -> Result<(), Corrupt> {
        // addr2line adds one to it.
        if address.0 == u64::MAX {
            return Ok(());
        }
        let owner = self.loaded.borrow_owner();
        owner.watch.begin(owner.allowance());
        let found = confined(|| {
            self.loaded
                .with_dependent(|_, context| find(context, address, inline, self.demangle))
        });
        match found {
            Ok(Ok(found)) => {
                names.extend(found.into_iter().rev());
                Ok(())
            }
            Ok(Err(error)) if is_unsupported(error) && !owner.watch.is_broken() => Ok(()),
            _ => Err(Corrupt),
        }
    }

    fn memory(&self) -> usize {
        let owner = self.loaded.borrow_owner();
        let built = owner.watch.reads_in_all().saturating_mul(MEMORY_PER_READ);
        let declared = owner.n_abbrev.saturating_mul(MEMORY_PER_ABBREV);
        owner
            .size
            .saturating_add(declared)
            .saturating_add(usize::try_from(built).unwrap_or(usize::MAX))
    }
}

/// The functions at `address`, innermost first.
fn find(
    context: &WatchedContext<'_>,
    address: LinkedAddress,
    inline: Inline,
    demangle: Demangle,
) -> Result<Vec<SourceName>, gimli::Error> {
    let mut frames = context.find_frames(address.0).skip_all_loads()?;
    let mut found: Vec<SourceName> = Vec::new();
    while let Some(frame) = frames.next()? {
        let is_inlined_callee = !found.is_empty();
        if is_inlined_callee && (inline == Inline::Hide || found.len() >= MAX_INLINED) {
            found.remove(0);
        }
        found.push(source_name(frame.function, demangle));
    }
    if let Some(outermost) = found.last_mut() {
        outermost.kind = NameKind::User;
    }
    Ok(found)
}

/// A function without a linkage name is not visible outside its file. In C its name says all; in C++ its namespace
/// and its parameters are missing.
fn source_name(function: Option<FunctionName<Watched<'_>>>, demangle: Demangle) -> SourceName {
    let language = function.as_ref().and_then(|function| function.language);
    let name = function
        .map(|function| function.name.slice())
        .filter(|name| !name.is_empty());
    let is_linkage_name = name.is_some_and(|name| name.starts_with(b"_"));
    SourceName {
        text: name.map(|name| of_symbol(name, demangle)),
        is_bare: !is_linkage_name && language.is_some_and(is_cpp) && name != Some(b"main"),
        kind: NameKind::Inlined,
        place: None,
    }
}

fn is_cpp(language: gimli::DwLang) -> bool {
    matches!(
        language,
        gimli::DW_LANG_C_plus_plus
            | gimli::DW_LANG_C_plus_plus_03
            | gimli::DW_LANG_C_plus_plus_11
            | gimli::DW_LANG_C_plus_plus_14
            | gimli::DW_LANG_C_plus_plus_17
            | gimli::DW_LANG_C_plus_plus_20
    )
}

/// Whether the file may be in order and gimli just does not know that part of DWARF.
fn is_unsupported(error: gimli::Error) -> bool {
    use gimli::Error;
    match error {
        Error::UnknownVersion(version) => (6..=10).contains(&version),
        Error::MissingSplitUnit | Error::AddressOverflow => true,
        _ => false,
    }
}
