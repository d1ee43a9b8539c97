//! An ELF file as both unwinders want it, read with the `object` crate alone.

use std::path::Path;

use framehop::{ExplicitModuleSectionInfo, Module};
use object::{Object, ObjectSection, ObjectSegment, SegmentFlags, elf};
use perfd::arch::{Known, Machine};
use perfd::unwind::{CfiInput, CfiSection, CodeRange, Table};

/// One file.
pub struct Loaded {
    pub eh_frame: (u64, Vec<u8>),
    pub eh_frame_hdr: (u64, Vec<u8>),
    pub debug_frame: Option<Vec<u8>>,
    pub code: Vec<CodeRange>,
    pub machine: Machine,
    /// File offset of the entry point.
    pub entry: Option<u64>,
}

impl Loaded {
    /// `None` if there is no such file, or nothing in it to unwind by.
    pub fn open(path: &Path) -> Option<Loaded> {
        let bytes = std::fs::read(path).ok()?;
        let file = object::File::parse(&*bytes).ok()?;
        let section = |name: &str| {
            let section = file.section_by_name(name)?;
            let bytes = section.uncompressed_data().ok()?.into_owned();
            (!bytes.is_empty()).then(|| (section.address(), bytes))
        };
        let code: Vec<CodeRange> = file
            .segments()
            .filter(|segment| match segment.flags() {
                SegmentFlags::Elf { p_flags } => p_flags & elf::PF_X != 0,
                _ => false,
            })
            .map(|segment| {
                let (file_offset, size) = segment.file_range();
                CodeRange {
                    address: segment.address(),
                    file_offset,
                    size,
                }
            })
            .collect();
        Some(Loaded {
            eh_frame: section(".eh_frame")?,
            eh_frame_hdr: section(".eh_frame_hdr")?,
            debug_frame: section(".debug_frame").map(|(_, bytes)| bytes),
            entry: entry(file.entry(), &code),
            machine: match file.architecture() {
                object::Architecture::Aarch64 => Machine::Aarch64,
                _ => Machine::X86_64,
            },
            code,
        })
    }

    pub fn table(&self) -> Table {
        let known: Vec<Known> = self.entry.map(Known::entry).into_iter().collect();
        let input = CfiInput {
            eh_frame: Some(CfiSection {
                address: self.eh_frame.0,
                bytes: &self.eh_frame.1,
            }),
            debug_frame: self
                .debug_frame
                .as_deref()
                .map(|bytes| CfiSection { address: 0, bytes }),
            code: &self.code,
            machine: self.machine,
            known: &known,
        };
        Table::from_cfi(&input).expect("a real file is within the limits")
    }

    /// The module as framehop knows it, with linked address 0 at `base`.
    pub fn module(&self, base: u64) -> Module<Vec<u8>> {
        let end = self
            .code
            .iter()
            .map(|range| range.address + range.size)
            .max();
        let range = |(address, bytes): &(u64, Vec<u8>)| *address..*address + bytes.len() as u64;
        Module::new(
            String::new(),
            base..base + end.unwrap_or(0),
            base,
            ExplicitModuleSectionInfo {
                base_svma: 0,
                eh_frame_svma: Some(range(&self.eh_frame)),
                eh_frame: Some(self.eh_frame.1.clone()),
                eh_frame_hdr_svma: Some(range(&self.eh_frame_hdr)),
                eh_frame_hdr: Some(self.eh_frame_hdr.1.clone()),
                ..Default::default()
            },
        )
    }
}

fn entry(address: u64, code: &[CodeRange]) -> Option<u64> {
    let range = code
        .iter()
        .find(|range| (range.address..range.address + range.size).contains(&address))?;
    Some(address - range.address + range.file_offset).filter(|_| address != 0)
}
