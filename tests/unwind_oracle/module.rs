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
    /// What is known of code without rows, by file offset.
    pub known: Vec<Known>,
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
        let machine = match file.architecture() {
            object::Architecture::Aarch64 => Machine::Aarch64,
            _ => Machine::X86_64,
        };
        Some(Loaded {
            eh_frame: section(".eh_frame")?,
            eh_frame_hdr: section(".eh_frame_hdr")?,
            debug_frame: section(".debug_frame").map(|(_, bytes)| bytes),
            known: known(&file, machine, &code, &bytes),
            machine,
            code,
        })
    }

    pub fn table(&self) -> Table {
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
            known: &self.known,
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

/// The entry point, linkage tables, `.init` and `.fini`, and in small files what signal handlers return to.
fn known(
    file: &object::File<'_>,
    machine: Machine,
    code: &[CodeRange],
    bytes: &[u8],
) -> Vec<Known> {
    let mut known: Vec<Known> = entry(file.entry(), code)
        .map(Known::entry)
        .into_iter()
        .collect();
    for name in [".plt", ".iplt", ".init", ".fini"] {
        if let Some(section) = file.section_by_name(name) {
            let (offset, size) = section.file_range().expect("code is in the file");
            let code = part(bytes, offset, size);
            let rules = match name {
                ".init" | ".fini" => machine.init_rules(code),
                _ => machine.stub_rules(code),
            };
            known.extend(rules.into_iter().map(|known| known.at(offset)));
        }
    }
    for range in code.iter().filter(|range| range.size <= 1 << 20) {
        let returns = machine.signal_returns(part(bytes, range.file_offset, range.size));
        known.extend(returns.into_iter().map(|known| known.at(range.file_offset)));
    }
    known.sort_by_key(|known| known.start);
    known
}

fn part(bytes: &[u8], offset: u64, size: u64) -> &[u8] {
    let start = usize::try_from(offset).expect("small");
    &bytes[start..start + usize::try_from(size).expect("small")]
}

fn entry(address: u64, code: &[CodeRange]) -> Option<u64> {
    let range = code
        .iter()
        .find(|range| (range.address..range.address + range.size).contains(&address))?;
    Some(address - range.address + range.file_offset).filter(|_| address != 0)
}
