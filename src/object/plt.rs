//! Names of PLT entries: which function a stub in `.plt`, `.plt.sec` or `.plt.got` jumps to.
//!
//! x86-64 stubs are decoded (they name the slot of the GOT that they jump through, and a relocation names the
//! slot's symbol), so that every linker's layout is understood; aarch64 stubs are counted.

use object::LittleEndian as LE;
use object::elf;
use object::pod::from_bytes;
use object::read::elf::Rela;
use rustc_hash::FxHashMap;

use super::Machine;
use super::elf::{Elf, ElfError};
use super::headers::{Class, SectionHeader};
use super::read_at::fill;
use super::symbols::Raw;

/// Stubs beyond that are not named: 16 MiB of them.
const MAX_PLT: u64 = 16 << 20;
/// `push GOT[1]; jmp GOT[2]` and padding before the first stub on aarch64.
const AARCH64_HEADER: usize = 32;
const STUB: usize = 16;
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
        match elf.machine() {
            Machine::X86_64 => x86_64(&code, section, &slots, &mut found),
            Machine::Aarch64 if name == ".plt" => aarch64(&code, section, &slots, &mut found),
            _ => {}
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
                slots.add(&window[..n_bytes], *name == ".rela.plt");
                if n_bytes < want {
                    break;
                }
                at += want as u64;
            }
        }
        Ok(slots)
    }

    fn add(&mut self, relocations: &[u8], is_plt: bool) {
        for chunk in relocations.chunks_exact(24) {
            let Ok((relocation, _)) = from_bytes::<elf::Rela64<LE>>(chunk) else {
                continue;
            };
            let symbol = relocation.r_sym(LE, false);
            // The numbers of one machine mean nothing on the other.
            let is_slot = matches!(
                relocation.r_type(LE, false),
                elf::R_X86_64_GLOB_DAT
                    | elf::R_X86_64_JUMP_SLOT
                    | elf::R_AARCH64_GLOB_DAT
                    | elf::R_AARCH64_JUMP_SLOT
            );
            if is_slot && symbol != 0 {
                self.by_address.insert(relocation.r_offset(LE), symbol);
            }
            if is_plt {
                self.in_order.push(symbol);
            }
        }
    }
}

/// Stubs are 16 bytes, and 8 in some `.plt.got`: `[endbr64] [bnd] jmp *slot(%rip)`, or `[endbr64] push $index; jmp .plt`.
fn x86_64(code: &[u8], section: &SectionHeader, slots: &Slots, found: &mut Vec<Raw>) {
    let has_short_stubs =
        code.len() >= 16 && code[..2] == [0xff, 0x25] && code[8..10] == [0xff, 0x25];
    let stub_size = if has_short_stubs { 8 } else { STUB };
    for (index, stub) in code.chunks_exact(stub_size).enumerate() {
        let start = section.address.wrapping_add((index * stub_size) as u64);
        let symbol = match target(stub) {
            Some(Target::Slot(distance)) => slots.by_address.get(&start.wrapping_add(distance)),
            Some(Target::Index(index)) => slots.in_order.get(index as usize),
            None => None,
        };
        found.extend(symbol.map(|symbol| stub_symbol(section, start, stub_size, *symbol)));
    }
}

enum Target {
    /// Distance of the slot from the stub's start.
    Slot(u64),
    /// Index of the relocation.
    Index(u32),
}

fn target(stub: &[u8]) -> Option<Target> {
    let mut code = stub;
    code = code.strip_prefix(&[0xf3, 0x0f, 0x1e, 0xfa]).unwrap_or(code);
    code = code.strip_prefix(&[0xf2]).unwrap_or(code);
    if let Some(rest) = code.strip_prefix(&[0xff, 0x25]) {
        let distance = i64::from(i32::from_le_bytes(*rest.first_chunk()?));
        let behind = stub.len() - rest.len() + 4;
        return Some(Target::Slot((behind as u64).wrapping_add_signed(distance)));
    }
    let rest = code.strip_prefix(&[0x68])?;
    Some(Target::Index(u32::from_le_bytes(*rest.first_chunk()?)))
}

fn aarch64(code: &[u8], section: &SectionHeader, slots: &Slots, found: &mut Vec<Raw>) {
    let n_stubs = code.len().saturating_sub(AARCH64_HEADER) / STUB;
    for (index, symbol) in slots.in_order.iter().take(n_stubs).enumerate() {
        let distance = AARCH64_HEADER + index * STUB;
        let start = section.address.wrapping_add(distance as u64);
        if *symbol != 0 {
            found.push(stub_symbol(section, start, STUB, *symbol));
        }
    }
}

fn stub_symbol(section: &SectionHeader, start: u64, size: usize, symbol: u32) -> Raw {
    Raw {
        start,
        size: size as u64,
        section_end: section.end(),
        name: symbol,
        is_typed: true,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stub: &[u8], expected: Option<u64>) {
        let got = target(stub).map(|target| match target {
            Target::Slot(distance) => distance,
            Target::Index(index) => u64::from(index),
        });
        assert_eq!(got, expected, "{stub:02x?}");
    }

    #[test]
    fn stubs_of_every_x86_linker_tell_their_slot() {
        // jmp *0x10(%rip): six bytes, so the slot is 0x16 behind the stub's start.
        check(&[0xff, 0x25, 0x10, 0, 0, 0, 0x68, 0, 0, 0, 0], Some(0x16));
        // endbr64; bnd jmp *0x10(%rip)
        check(
            &[0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0x10, 0, 0, 0],
            Some(0x1b),
        );
        // endbr64; push $3
        check(&[0xf3, 0x0f, 0x1e, 0xfa, 0x68, 3, 0, 0, 0, 0xf2], Some(3));
        // The head of .plt: push GOT[1]
        check(&[0xff, 0x35, 0x10, 0, 0, 0], None);
        check(&[0xff, 0x25, 0x10], None);
        check(&[], None);
    }
}
