//! Names of PLT entries: which function a stub in `.plt`, `.plt.sec` or `.plt.got` jumps to.
//!
//! A stub tells its slot of the GOT (`arch`), and a relocation names the slot's symbol.

use object::LittleEndian as LE;
use object::elf;
use object::pod::from_bytes;
use object::read::elf::Rela;
use rustc_hash::FxHashMap;

use super::elf::{Elf, ElfError};
use super::headers::{Class, SectionHeader};
use super::read_at::fill;
use super::symbols::Raw;
use crate::arch::{Machine, StubTarget};

/// Stubs beyond that are not named: 16 MiB of them.
const MAX_PLT: u64 = 16 << 20;
const WINDOW: usize = 24 * 2730;

/// A symbol for each stub whose function is known; `name` is an offset in the dynamic string table.
pub(super) fn symbols(elf: &Elf) -> Result<Vec<Raw>, ElfError> {
    let headers = elf.headers();
    let Some(dynsym) = headers.of_kind(elf::SHT_DYNSYM) else {
        return Ok(Vec::new());
    };
    if headers.class != Class::Bits64 {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let slots = Slots::read(elf, &[".rela.plt", ".rela.dyn"])?;
    for name in [".plt", ".plt.sec", ".plt.got", ".iplt"] {
        let Some(section) = headers.find(name).filter(|s| s.is_executable()) else {
            continue;
        };
        let code = elf.read(section.offset, section.size.min(MAX_PLT))?;
        for stub in elf.machine().stubs(name, &code, section.address) {
            let symbol = match stub.target {
                StubTarget::Slot(slot) => slots.by_address.get(&slot),
                StubTarget::Index(index) => slots.in_order.get(index as usize),
            };
            found.extend(symbol.filter(|symbol| **symbol != 0).map(|symbol| Raw {
                start: stub.start,
                size: stub.size,
                section_end: section.end(),
                name: *symbol,
                is_typed: true,
            }));
        }
    }
    found.retain_mut(|stub| match name_of(elf, dynsym, stub.name) {
        Some(name) => {
            stub.name = name;
            true
        }
        None => false,
    });
    Ok(found)
}

/// Which symbol of `.dynsym` the loader puts into which slot.
struct Slots {
    /// By the slot's address.
    by_address: FxHashMap<u64, u32>,
    /// In the order of `.rela.plt`.
    in_order: Vec<u32>,
}

impl Slots {
    fn read(elf: &Elf, names: &[&str]) -> Result<Slots, ElfError> {
        let mut slots = Slots {
            by_address: FxHashMap::default(),
            in_order: Vec::new(),
        };
        for name in names {
            let Some(section) = elf.headers().find(name) else {
                continue;
            };
            let mut window = vec![0; WINDOW];
            let mut at = 0;
            while at < section.size {
                let want = WINDOW.min(usize::try_from(section.size - at).unwrap_or(WINDOW));
                let offset = section.offset.saturating_add(at);
                let n_bytes = fill(elf.bytes().as_ref(), &mut window[..want], offset)?;
                slots.add(elf.machine(), &window[..n_bytes], *name == ".rela.plt");
                if n_bytes < want {
                    break;
                }
                at += want as u64;
            }
        }
        Ok(slots)
    }

    fn add(&mut self, machine: Machine, relocations: &[u8], is_plt: bool) {
        for chunk in relocations.chunks_exact(24) {
            let Ok((relocation, _)) = from_bytes::<elf::Rela64<LE>>(chunk) else {
                continue;
            };
            let symbol = relocation.r_sym(LE, false);
            let is_slot = machine.is_slot(relocation.r_type(LE, false));
            if is_slot && symbol != 0 {
                self.by_address.insert(relocation.r_offset(LE), symbol);
            }
            if is_plt {
                self.in_order.push(symbol);
            }
        }
    }
}

/// The name offset of a symbol of `.dynsym`.
fn name_of(elf: &Elf, dynsym: &SectionHeader, symbol: u32) -> Option<u32> {
    const SYMBOL: u64 = size_of::<elf::Sym64<LE>>() as u64;
    let at = u64::from(symbol) * SYMBOL;
    if at >= dynsym.size {
        return None;
    }
    let mut name = [0; 4];
    let offset = dynsym.offset.checked_add(at)?;
    let n_bytes = fill(elf.bytes().as_ref(), &mut name, offset).ok()?;
    let name = u32::from_le_bytes(name);
    (n_bytes == 4 && name != 0 && name < super::symbols::MAX_NAME).then_some(name)
}
