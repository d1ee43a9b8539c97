//! One ELF file: its headers in memory, everything else read when asked for.

use std::io;
use std::sync::Arc;

use object::elf as constants;
use serde::{Deserialize, Serialize};

use super::headers::{Headers, NoteRange, SectionHeader, read};
use super::read_at::Slice;
use super::{FileStamp, Image, ReadAt, Symbols, decompress, note};
use crate::arch::Machine;
use crate::model::{BuildId, FileOffset};

/// An address that the file was linked for; DWARF, symbols and unwind sections speak it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LinkedAddress(pub u64);

/// Why a file, or a part of it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// Reading failed.
    #[error("read")]
    Io(#[from] io::Error),
    /// The magic is not there.
    #[error("not an elf file")]
    NotElf,
    /// It is for a machine of the other byte order.
    #[error("big endian elf file")]
    BigEndian,
    /// A table or header contradicts itself.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// A header points behind the end of the file.
    #[error("{size} bytes at {offset:#x} are not in the file")]
    OutsideFile {
        /// Where it points to.
        offset: u64,
        /// How many bytes it wants.
        size: u64,
    },
    /// The file became shorter while it was read.
    #[error("file shrunk while it was read")]
    Shrunk,
    /// A section that is larger than perfd is willing to load.
    #[error("section of {0} bytes is too large")]
    TooLarge(u64),
    /// A compressed section that cannot be decompressed.
    #[error("decompress section")]
    Compression(#[source] object::read::Error),
    /// A compression method that perfd does not know.
    #[error("unknown compression method {0}")]
    UnknownCompression(u32),
}

/// A part of the file that is mapped into memory (`PT_LOAD`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Where it was linked for.
    pub address: LinkedAddress,
    /// Where it is in the file.
    pub file_offset: FileOffset,
    /// Bytes in the file.
    pub file_size: u64,
    /// Bytes in memory; those behind `file_size` are zero.
    pub memory_size: u64,
    /// `PF_X`, `PF_W`, `PF_R`.
    pub flags: u32,
}

impl Segment {
    /// Whether code can run in it.
    pub fn is_executable(&self) -> bool {
        self.flags & constants::PF_X != 0
    }

    /// The address that a byte of the file was linked for, by the segments of that file. Where they overlap in it, the executable one is meant.
    pub fn linked_address_in(segments: &[Segment], offset: FileOffset) -> Option<LinkedAddress> {
        let executable = segments.iter().filter(|s| s.is_executable());
        let other = segments.iter().filter(|s| !s.is_executable());
        executable
            .chain(other)
            .find_map(|segment| segment.linked_address(offset))
    }

    fn linked_address(&self, offset: FileOffset) -> Option<LinkedAddress> {
        let distance = offset.0.checked_sub(self.file_offset.0)?;
        (distance < self.file_size).then(|| LinkedAddress(self.address.0.wrapping_add(distance)))
    }

    fn file_offset(&self, address: LinkedAddress) -> Option<FileOffset> {
        let distance = address.0.checked_sub(self.address.0)?;
        (distance < self.file_size).then(|| FileOffset(self.file_offset.0.wrapping_add(distance)))
    }
}

/// The bytes of a section, decompressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Where it was linked for; 0 for sections that are not loaded.
    pub address: LinkedAddress,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// An ELF file.
pub struct Elf {
    bytes: Arc<dyn ReadAt>,
    len: u64,
    headers: Headers,
}

impl Elf {
    /// Reads the headers.
    pub fn parse(bytes: Box<dyn ReadAt>) -> Result<Elf, ElfError> {
        let len = bytes.len();
        let headers = Headers::parse(bytes.as_ref(), len)?;
        Ok(Elf {
            bytes: Arc::from(bytes),
            len,
            headers,
        })
    }

    /// A section's bytes by its name, decompressed if need be; `.debug_x` is also found as `.zdebug_x`.
    /// `None` if there is no such section, or none with bytes in this file.
    pub fn section(&self, name: &str) -> Result<Option<Section>, ElfError> {
        if let Some(header) = self.headers.find(name) {
            return self.load(header).map(Some);
        }
        let Some(header) = self.old_style(name) else {
            return Ok(None);
        };
        Ok(Some(Section {
            address: LinkedAddress(header.address),
            bytes: decompress::old_style(&self.raw(header)?)?,
        }))
    }

    /// A section to be read in parts: one that is compressed is decompressed into memory, any other stays in the file.
    /// `None` as for [`Elf::section`].
    pub fn open_section(&self, name: &str) -> Result<Option<Arc<dyn ReadAt>>, ElfError> {
        match self.headers.find(name) {
            Some(header) if !header.is_compressed() => {
                let part = Slice::new(Arc::clone(&self.bytes), header.offset, header.size);
                Ok(Some(Arc::new(part)))
            }
            _ => Ok(self
                .section(name)?
                .map(|section| Arc::new(section.bytes) as Arc<dyn ReadAt>)),
        }
    }

    /// Whether a section's bytes in the file are compressed.
    pub fn is_compressed(&self, name: &str) -> bool {
        match self.headers.find(name) {
            Some(header) => header.is_compressed(),
            None => self.old_style(name).is_some(),
        }
    }

    /// Bytes that a section takes when it is loaded, as its header declares it; nothing is loaded.
    pub fn section_size(&self, name: &str) -> Result<u64, ElfError> {
        let start = |header: &SectionHeader| self.read(header.offset, header.size.min(24));
        match (self.headers.find(name), self.old_style(name)) {
            (Some(header), _) if header.is_compressed() => {
                Ok(decompress::Declared::parse(self.headers.class, &start(header)?)?.size)
            }
            (Some(header), _) => Ok(header.size),
            (None, Some(header)) => decompress::old_style_size(&start(header)?),
            (None, None) => Ok(0),
        }
    }

    /// The loadable segments, in the order of the file.
    pub fn segments(&self) -> &[Segment] {
        &self.headers.segments
    }

    /// The bytes of a segment.
    pub fn segment_bytes(&self, segment: &Segment) -> Result<Vec<u8>, ElfError> {
        self.read(segment.file_offset.0, segment.file_size)
    }

    /// The loadable segments, to be read by linked address.
    pub fn image(&self) -> Image {
        Image::new(Arc::clone(&self.bytes), &self.headers.segments)
    }

    /// Where a loaded section begins, if the file has one of that name with bytes in it.
    pub fn section_address(&self, name: &str) -> Option<LinkedAddress> {
        let section = self.headers.find(name)?;
        (section.address != 0).then_some(LinkedAddress(section.address))
    }

    /// Whether there are section headers; a file can be executed without.
    pub fn has_sections(&self) -> bool {
        !self.headers.sections.is_empty()
    }

    /// Where a process that executes the file begins; `None` if the file says nothing, or nothing that it contains.
    pub fn entry(&self) -> Option<FileOffset> {
        self.file_offset(LinkedAddress(self.headers.entry))
            .filter(|_| self.headers.entry != 0)
    }

    /// The address that a byte of the file was linked for. Where segments overlap in the file, the executable one is meant.
    pub fn linked_address(&self, offset: FileOffset) -> Option<LinkedAddress> {
        Segment::linked_address_in(self.segments(), offset)
    }

    /// Where in the file a linked address has its byte.
    pub fn file_offset(&self, address: LinkedAddress) -> Option<FileOffset> {
        self.segments()
            .iter()
            .find_map(|segment| segment.file_offset(address))
    }

    /// Bytes from a linked address on, as the file has them.
    pub fn bytes_at(&self, address: LinkedAddress, size: usize) -> Result<Vec<u8>, ElfError> {
        let offset = self.file_offset(address).ok_or(ElfError::OutsideFile {
            offset: address.0,
            size: size as u64,
        })?;
        self.read(offset.0, size as u64)
    }

    /// The linker's fingerprint of this file, if there is a readable one.
    pub fn build_id(&self) -> Option<BuildId> {
        let sections = self
            .headers
            .sections
            .iter()
            .filter(|section| section.kind == constants::SHT_NOTE)
            .map(|section| NoteRange {
                offset: section.offset,
                size: section.size,
                align: 4,
            });
        let ranges = self.headers.notes.iter().copied().chain(sections);
        note::build_id_in(ranges, |offset, size| self.read(offset, size).ok())
    }

    /// Whether there is DWARF that describes code; units split off from it count by their skeletons.
    pub fn has_debug_info(&self) -> bool {
        self.section_size(".debug_info").is_ok_and(|size| size > 0)
    }

    /// Whether there is a symbol table beside the one for dynamic linking.
    pub fn has_symbol_table(&self) -> bool {
        self.headers.of_kind(constants::SHT_SYMTAB).is_some()
    }

    /// Bytes of the whole file.
    pub fn file_size(&self) -> u64 {
        self.len
    }

    /// What tells the file from any other; `None` if it is not in one.
    pub fn stamp(&self) -> Option<FileStamp> {
        self.bytes.stamp()
    }

    /// The instruction set.
    pub fn machine(&self) -> Machine {
        self.headers.machine
    }

    /// The function symbols.
    pub fn symbols(&self) -> Result<Symbols, ElfError> {
        Symbols::read(self)
    }

    pub(super) fn headers(&self) -> &Headers {
        &self.headers
    }

    pub(super) fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.bytes
    }

    pub(super) fn read(&self, offset: u64, size: u64) -> Result<Vec<u8>, ElfError> {
        read(self.bytes.as_ref(), self.len, offset, size)
    }

    /// A section as the file has it.
    pub(super) fn raw(&self, header: &SectionHeader) -> Result<Vec<u8>, ElfError> {
        if header.size > decompress::MAX_SECTION {
            return Err(ElfError::TooLarge(header.size));
        }
        self.read(header.offset, header.size)
    }

    /// `.zdebug_x` where `.debug_x` is asked for.
    fn old_style(&self, name: &str) -> Option<&SectionHeader> {
        let rest = name.strip_prefix(".debug_")?;
        self.headers.find(&format!(".zdebug_{rest}"))
    }

    fn load(&self, header: &SectionHeader) -> Result<Section, ElfError> {
        let raw = self.raw(header)?;
        Ok(Section {
            address: LinkedAddress(header.address),
            bytes: if header.is_compressed() {
                decompress::section(self.headers.class, &raw)?
            } else {
                raw
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_executable_tells_its_machine_segments_and_sections() {
        let elf = own();
        assert!(elf.machine().is_known());
        let text = elf.section(".text").expect("readable").expect("there");
        let offset = elf.file_offset(text.address).expect("text is loaded");
        assert_eq!(elf.linked_address(offset), Some(text.address));
        assert!(elf.section(".no_such_section").expect("no error").is_none());
        assert!(elf.section(".bss").expect("no error").is_none());
    }

    #[test]
    fn what_is_not_elf_is_refused_with_the_reason() {
        let check = |bytes: &[u8], expected: &str| {
            let error = Elf::parse(Box::new(bytes.to_vec())).err().expect("refused");
            assert_eq!(error.to_string(), expected);
        };
        check(b"", "not an elf file");
        check(b"#!/bin/sh\n", "not an elf file");
        check(b"\x7fELF", "malformed identification");
        check(b"\x7fELF\x02\x02\x01", "big endian elf file");
        check(b"\x7fELF\x02\x01\x01", "malformed file header");
    }

    pub(super) fn own() -> Elf {
        let file = std::fs::File::open("/proc/self/exe").expect("our own executable");
        Elf::parse(Box::new(file)).expect("is elf")
    }
}
