//! Split DWARF: a skeleton in the file, the unit proper in a `.dwo` file or a `.dwp` package (§7.3.2 and §7.3.5 of the DWARF 5
//! standard; before it, a GNU extension).

use std::sync::Arc;

use gimli::{DebugCuIndex, IndexSectionId, LittleEndian};

use super::Corrupt;
use super::forms::Bases;
use super::header::UnitHeader;
use super::names;
use super::root::{Root, Wanted};
use super::sections::{Part, Sections, Sources};
use crate::object::{Elf, ReadAt, Slice};

/// Bytes of the largest index of a package: 16 bytes and some for each unit.
const LARGEST_INDEX: u64 = 64 << 20;

/// The sections that a split unit is in.
pub(super) struct SplitUnit {
    pub(super) sources: Sources,
    /// Which of the units there it is.
    id: Option<u64>,
}

impl SplitUnit {
    /// The unit of that number in a `.dwo` file.
    pub(super) fn in_file(elf: &Elf, id: Option<u64>, max_loaded: usize) -> Option<SplitUnit> {
        let sources = Sources::open(elf, Part::Split, max_loaded).ok().flatten()?;
        Some(SplitUnit { sources, id })
    }

    /// The header of the unit, and the bases of what it says: most are the skeleton's.
    pub(super) fn open(
        &self,
        sections: &mut Sections,
        skeleton: &Root,
    ) -> Result<(UnitHeader, Bases), Corrupt> {
        let mut offset = 0;
        while offset < sections.info.size() {
            let parsed = UnitHeader::read(&mut sections.info, offset)?;
            if let Some(header) = parsed.header
                && self.is_it(&header, sections)?
            {
                let default = Bases::default_of(&header);
                return Ok((
                    header,
                    Bases {
                        addr: skeleton.bases.addr,
                        low_pc: skeleton.bases.low_pc,
                        gnu_ranges: skeleton.bases.gnu_ranges,
                        ..default
                    },
                ));
            }
            offset = parsed.end;
        }
        Err(Corrupt)
    }

    /// Whether the unit is in a language whose plain names lack scopes.
    pub(super) fn has_scopes(
        &self,
        sections: &mut Sections,
        header: &UnitHeader,
    ) -> Result<bool, Corrupt> {
        let root = Root::read(header, sections, None, Wanted::Extent, |_, _, _| Ok(()))?;
        Ok(root.language.is_some_and(names::has_scopes))
    }

    fn is_it(&self, header: &UnitHeader, sections: &mut Sections) -> Result<bool, Corrupt> {
        if header.kind != super::header::UnitKind::Code {
            return Ok(false);
        }
        let root = Root::read(header, sections, None, Wanted::Extent, |_, _, _| Ok(()))?;
        Ok(root.split_id == self.id)
    }
}

/// A package of split units.
pub(super) struct Package {
    sources: Sources,
    index: Vec<u8>,
}

impl Package {
    /// `None` if the file is not one.
    pub(super) fn open(elf: &Elf, max_loaded: usize) -> Option<Package> {
        let name = ".debug_cu_index";
        if elf.section_size(name).ok()? > LARGEST_INDEX {
            return None;
        }
        let index = elf.section(name).ok().flatten()?.bytes;
        let sources = Sources::open(elf, Part::Split, max_loaded).ok().flatten()?;
        Some(Package { sources, index })
    }

    /// The unit of that number: each of its sections is a part of the package's.
    pub(super) fn unit(&self, id: u64) -> Option<SplitUnit> {
        let index = DebugCuIndex::new(&self.index, LittleEndian).index().ok()?;
        let row = index.find(id)?;
        let mut sources = self.sources.clone();
        for section in index.sections(row).ok()? {
            let field = match section.section {
                IndexSectionId::DebugInfo => &mut sources.info,
                IndexSectionId::DebugAbbrev => &mut sources.abbrev,
                IndexSectionId::DebugLine => &mut sources.line,
                IndexSectionId::DebugRngLists => &mut sources.rnglists,
                IndexSectionId::DebugStrOffsets => &mut sources.str_offsets,
                _ => continue,
            };
            let whole = field.take()?;
            let (offset, size) = (u64::from(section.offset), u64::from(section.size));
            *field = Some(Arc::new(Slice::new(whole, offset, size)) as Arc<dyn ReadAt>);
        }
        Some(SplitUnit {
            sources,
            id: Some(id),
        })
    }
}
