//! The ELF header, program headers and section headers, 32 and 64 bits wide, as one set of plain values.
//!
//! Little endian only: perfd profiles the machine it runs on.

use object::LittleEndian as LE;
use object::elf;
use object::pod::{Pod, from_bytes};
use object::read::elf::{FileHeader, ProgramHeader as _, SectionHeader as _};

use super::read_at::{ReadAt, fill};
use super::{ElfError, LinkedAddress, Segment};
use crate::arch::Machine;
use crate::model::FileOffset;

/// More section headers than any linked program has; `ld` makes tens.
const MAX_SECTIONS: u64 = 100_000;
/// Room for section names: 300 times that of libLLVM.
const MAX_NAMES: u64 = 1 << 20;

/// The width of a file's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Bits32,
    Bits64,
}

/// A section header.
#[derive(Clone, Copy, Debug)]
pub(super) struct SectionHeader {
    pub(super) name: u32,
    pub(super) kind: u32,
    pub(super) flags: u64,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
}

impl SectionHeader {
    pub(super) fn is_executable(&self) -> bool {
        self.flags & u64::from(elf::SHF_EXECINSTR) != 0
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.flags & u64::from(elf::SHF_COMPRESSED) != 0
    }

    /// Address behind the section's last byte.
    pub(super) fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }
}

/// A run of file bytes that holds notes.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoteRange {
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) align: u64,
}

/// All headers of a file.
#[derive(Debug)]
pub(super) struct Headers {
    pub(super) class: Class,
    pub(super) machine: Machine,
    /// `e_entry`; 0 for none.
    pub(super) entry: u64,
    pub(super) segments: Vec<Segment>,
    pub(super) notes: Vec<NoteRange>,
    pub(super) sections: Vec<SectionHeader>,
    /// The section name string table.
    pub(super) names: Vec<u8>,
}

impl Headers {
    pub(super) fn parse(bytes: &dyn ReadAt, len: u64) -> Result<Headers, ElfError> {
        let mut ident = [0; 64];
        let (class, ident) = identify(bytes, &mut ident)?;
        match class {
            Class::Bits64 => parse::<elf::FileHeader64<LE>>(class, ident, bytes, len),
            Class::Bits32 => parse::<elf::FileHeader32<LE>>(class, ident, bytes, len),
        }
    }

    /// The name of a section; empty where the header points nowhere.
    pub(super) fn name(&self, section: &SectionHeader) -> &[u8] {
        let rest = self.names.get(section.name as usize..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The first section of that name that has bytes in the file.
    pub(super) fn find(&self, name: &str) -> Option<&SectionHeader> {
        self.sections
            .iter()
            .filter(|section| section.kind != elf::SHT_NOBITS && section.kind != elf::SHT_NULL)
            .find(|section| self.name(section) == name.as_bytes())
    }

    /// The first section of that type.
    pub(super) fn of_kind(&self, kind: u32) -> Option<&SectionHeader> {
        self.sections.iter().find(|section| section.kind == kind)
    }
}

/// Where the notes are of a file whose section headers cannot be read: it is seen in the memory of a process.
pub(super) fn loaded_notes(bytes: &dyn ReadAt, len: u64) -> Result<Vec<NoteRange>, ElfError> {
    fn read<H: FileHeader<Endian = LE>>(
        ident: &[u8],
        bytes: &dyn ReadAt,
        len: u64,
    ) -> Result<Vec<NoteRange>, ElfError> {
        let header = file_header::<H>(ident)?;
        let n_segments = match header.e_phnum(LE) {
            elf::PN_XNUM => return Err(ElfError::Malformed("header table")),
            n_segments => u64::from(n_segments),
        };
        Ok(programs(header, n_segments, bytes, len)?.1)
    }
    let mut ident = [0; 64];
    match identify(bytes, &mut ident)? {
        (Class::Bits64, ident) => read::<elf::FileHeader64<LE>>(ident, bytes, len),
        (Class::Bits32, ident) => read::<elf::FileHeader32<LE>>(ident, bytes, len),
    }
}

/// The width of the file, and as much of its start as there is.
fn identify<'a>(
    bytes: &dyn ReadAt,
    start: &'a mut [u8; 64],
) -> Result<(Class, &'a [u8]), ElfError> {
    let n_bytes = fill(bytes, start, 0)?;
    let ident = &start[..n_bytes];
    if !ident.starts_with(&elf::ELFMAG) {
        return Err(ElfError::NotElf);
    }
    match (ident.get(4), ident.get(5)) {
        (_, Some(&elf::ELFDATA2MSB)) => Err(ElfError::BigEndian),
        (Some(&elf::ELFCLASS64), Some(&elf::ELFDATA2LSB)) => Ok((Class::Bits64, ident)),
        (Some(&elf::ELFCLASS32), Some(&elf::ELFDATA2LSB)) => Ok((Class::Bits32, ident)),
        _ => Err(ElfError::Malformed("identification")),
    }
}

fn file_header<H: FileHeader>(ident: &[u8]) -> Result<&H, ElfError> {
    let header = from_bytes::<H>(ident);
    let (header, _) = header.map_err(|()| ElfError::Malformed("file header"))?;
    Ok(header)
}

/// What the program headers say: the loadable segments, and where notes are.
fn programs<H: FileHeader<Endian = LE>>(
    header: &H,
    n_segments: u64,
    bytes: &dyn ReadAt,
    len: u64,
) -> Result<(Vec<Segment>, Vec<NoteRange>), ElfError> {
    let programs = table::<H::ProgramHeader>(
        bytes,
        len,
        header.e_phoff(LE).into(),
        n_segments,
        header.e_phentsize(LE),
    )?;
    let segments = programs
        .iter()
        .filter(|program| program.p_type(LE) == elf::PT_LOAD)
        .map(|program| Segment {
            address: LinkedAddress(program.p_vaddr(LE).into()),
            file_offset: FileOffset(program.p_offset(LE).into()),
            file_size: program.p_filesz(LE).into(),
            memory_size: program.p_memsz(LE).into(),
            flags: program.p_flags(LE),
        })
        .collect();
    let notes = programs
        .iter()
        .filter(|program| program.p_type(LE) == elf::PT_NOTE)
        .map(|program| NoteRange {
            offset: program.p_offset(LE).into(),
            size: program.p_filesz(LE).into(),
            align: program.p_align(LE).into(),
        })
        .collect();
    Ok((segments, notes))
}

fn parse<H: FileHeader<Endian = LE>>(
    class: Class,
    ident: &[u8],
    bytes: &dyn ReadAt,
    len: u64,
) -> Result<Headers, ElfError> {
    let header = file_header::<H>(ident)?;
    let sections_at: u64 = header.e_shoff(LE).into();
    let first = match sections_at {
        0 => None,
        _ => table::<H::SectionHeader>(bytes, len, sections_at, 1, header.e_shentsize(LE))?
            .into_iter()
            .next(),
    };

    let n_segments = match (header.e_phnum(LE), &first) {
        (elf::PN_XNUM, Some(first)) => u64::from(first.sh_info(LE)),
        (n_segments, _) => u64::from(n_segments),
    };
    let (segments, notes) = programs(header, n_segments, bytes, len)?;

    let n_sections = match (header.e_shnum(LE), &first) {
        (0, Some(first)) => first.sh_size(LE).into(),
        (n_sections, _) => u64::from(n_sections),
    };
    let sections: Vec<SectionHeader> = match first {
        None => Vec::new(),
        Some(_) => {
            table::<H::SectionHeader>(bytes, len, sections_at, n_sections, header.e_shentsize(LE))?
                .iter()
                .map(|section| SectionHeader {
                    name: section.sh_name(LE),
                    kind: section.sh_type(LE),
                    flags: section.sh_flags(LE).into(),
                    address: section.sh_addr(LE).into(),
                    offset: section.sh_offset(LE).into(),
                    size: section.sh_size(LE).into(),
                    link: section.sh_link(LE),
                })
                .collect()
        }
    };

    let names_index = match (header.e_shstrndx(LE), sections.first()) {
        (elf::SHN_XINDEX, Some(first)) => first.link,
        (index, _) => u32::from(index),
    };
    let names = match sections.get(names_index as usize) {
        Some(section) if section.kind == elf::SHT_STRTAB => {
            read(bytes, len, section.offset, section.size.min(MAX_NAMES))?
        }
        _ => Vec::new(),
    };

    Ok(Headers {
        class,
        machine: Machine::from(header.e_machine(LE)),
        entry: header.e_entry(LE).into(),
        segments,
        notes,
        sections,
        names,
    })
}

/// A table of `count` headers, each of exactly the size that the type has.
fn table<T: Pod>(
    bytes: &dyn ReadAt,
    len: u64,
    offset: u64,
    count: u64,
    entry_size: u16,
) -> Result<Vec<T>, ElfError> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let size = size_of::<T>();
    if usize::from(entry_size) != size || count > MAX_SECTIONS {
        return Err(ElfError::Malformed("header table"));
    }
    let raw = read(bytes, len, offset, count * size as u64)?;
    Ok(raw
        .chunks_exact(size)
        .filter_map(|chunk| from_bytes::<T>(chunk).ok())
        .map(|(header, _)| *header)
        .collect())
}

/// Exactly `size` bytes, which must lie in the file.
pub(super) fn read(
    bytes: &dyn ReadAt,
    len: u64,
    offset: u64,
    size: u64,
) -> Result<Vec<u8>, ElfError> {
    let end = offset.checked_add(size);
    if end.is_none_or(|end| end > len) {
        return Err(ElfError::OutsideFile { offset, size });
    }
    let size = usize::try_from(size).map_err(|_| ElfError::OutsideFile { offset, size })?;
    let mut buf = vec![0; size];
    if fill(bytes, &mut buf, offset)? != size {
        return Err(ElfError::Shrunk);
    }
    Ok(buf)
}
