//! From an ELF file to a [`Table`]: which sections and segments a table is made from.

use super::encoder::TableLimit;
use super::{CfiInput, CfiSection, CodeRange, Table};
use crate::object::{Elf, ElfError, Machine, Section};

/// Why a module has no table.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// More than the format can hold.
    #[error(transparent)]
    Limit(#[from] TableLimit),
    /// A section that is larger than its offsets are kept in.
    #[error("an unwind section of {0} bytes is too large")]
    SectionTooLarge(usize),
    /// A processor whose code perfd cannot unwind.
    #[error("perfd has no unwind rules for {0:?}")]
    Machine(Machine),
    /// A section cannot be read.
    #[error("read {name}")]
    Section {
        /// Its name.
        name: &'static str,
        /// Why.
        #[source]
        source: ElfError,
    },
}

impl Table {
    /// The table of a module. A file without unwind sections has an empty one: all its code takes frame pointer steps.
    pub fn build(elf: &Elf) -> Result<Table, BuildError> {
        if elf.machine() != Machine::X86_64 {
            return Err(BuildError::Machine(elf.machine()));
        }
        let code: Vec<CodeRange> = elf
            .segments()
            .iter()
            .filter(|segment| segment.is_executable())
            .map(|segment| CodeRange {
                address: segment.address.0,
                file_offset: segment.file_offset.0,
                size: segment.file_size,
            })
            .collect();
        let eh_frame = section(elf, ".eh_frame")?;
        let debug_frame = match section(elf, ".debug_frame") {
            Err(error) if eh_frame.is_none() => return Err(error),
            // What it could add is code that .eh_frame does not cover: little.
            other => other.unwrap_or_default(),
        };
        Table::from_cfi(&CfiInput {
            eh_frame: eh_frame.as_ref().map(borrow),
            debug_frame: debug_frame.as_ref().map(borrow),
            code: &code,
            entry: elf.entry().map(|entry| entry.0),
        })
    }
}

fn section(elf: &Elf, name: &'static str) -> Result<Option<Section>, BuildError> {
    elf.section(name)
        .map_err(|source| BuildError::Section { name, source })
}

fn borrow(section: &Section) -> CfiSection<'_> {
    CfiSection {
        address: section.address.0,
        bytes: &section.bytes,
    }
}
