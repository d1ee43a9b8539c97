//! The function symbols of a file, compact: 16 bytes each, names left in the file.
//!
//! Taken are `STT_FUNC`, `STT_GNU_IFUNC`, and `STT_NOTYPE` in executable sections (hand-written assembly) where no
//! sized function holds it; from `.symtab`, and from `.dynsym` what `.symtab` does not have; and PLT entries as
//! `name@plt`. A symbol covers its size; one of size zero reaches to the next symbol or the end of its section.

use std::sync::Arc;

use object::LittleEndian as LE;
use object::elf;
use object::pod::from_bytes;
use object::read::elf::Sym;

use super::elf::{Elf, ElfError, LinkedAddress};
use super::headers::{Class, SectionHeader};
use super::plt;
use super::read_at::{ReadAt, fill};
use super::symbol_name::{Strings, better_of, is_assembler_label};

/// Bytes of a symbol table that are in memory at once.
const WINDOW: usize = 64 << 10;
/// Name offsets share their word with [`Entry`]'s flags.
pub(super) const MAX_NAME: u32 = (1 << 29) - 1;
/// More names at one address than that are not compared.
const MAX_ALIASES: usize = 32;

/// Sorted function symbols.
pub struct Symbols {
    /// Sorted by start. At any address the entries with the greatest start at or below it decide.
    entries: Box<[Entry]>,
    symtab_names: Strings,
    dynsym_names: Strings,
    bytes: Arc<dyn ReadAt>,
}

/// A run of addresses that has one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    start: u64,
    size: u32,
    /// Offset in a string table, and flags in the upper bits.
    name: u32,
}

impl Entry {
    const IN_DYNSTR: u32 = 1 << 31;
    const LOCAL: u32 = 1 << 30;
    const PLT: u32 = 1 << 29;

    fn covers(&self, address: u64) -> bool {
        address
            .checked_sub(self.start)
            .is_some_and(|distance| distance < u64::from(self.size))
    }

    fn end(&self) -> u64 {
        self.start.saturating_add(u64::from(self.size))
    }
}

/// A symbol before its extent is settled.
#[derive(Clone, Copy)]
pub(super) struct Raw {
    pub(super) start: u64,
    /// Zero: up to the next symbol.
    pub(super) size: u64,
    pub(super) section_end: u64,
    pub(super) name: u32,
    pub(super) is_typed: bool,
}

impl Symbols {
    pub(super) fn read(elf: &Elf) -> Result<Symbols, ElfError> {
        let strings = |table: Option<&SectionHeader>| -> Strings {
            let section = table.and_then(|table| elf.headers().sections.get(table.link as usize));
            section.map_or(Strings::EMPTY, |section| Strings {
                offset: section.offset,
                size: section.size,
            })
        };
        let symtab = elf.headers().of_kind(elf::SHT_SYMTAB);
        let dynsym = elf.headers().of_kind(elf::SHT_DYNSYM);
        let (symtab_names, dynsym_names) = (strings(symtab), strings(dynsym));

        let mut raw = Vec::new();
        if let Some(table) = symtab {
            read_table(elf, table, symtab_names, 0, &mut raw)?;
            raw.sort_unstable_by_key(|symbol| symbol.start);
        }
        if let Some(table) = dynsym {
            let n_known = raw.len();
            read_table(elf, table, dynsym_names, Entry::IN_DYNSTR, &mut raw)?;
            let (known, new) = raw.split_at(n_known);
            let new: Vec<Raw> = new
                .iter()
                .filter(|symbol| {
                    known
                        .binary_search_by_key(&symbol.start, |known| known.start)
                        .is_err()
                })
                .copied()
                .collect();
            raw.truncate(n_known);
            raw.extend(new);
        }
        raw.extend(plt::symbols(elf)?.into_iter().map(|symbol| Raw {
            name: symbol.name | Entry::IN_DYNSTR | Entry::PLT,
            ..symbol
        }));

        Ok(Symbols {
            entries: settle(raw).into_boxed_slice(),
            symtab_names,
            dynsym_names,
            bytes: Arc::clone(elf.bytes()),
        })
    }

    /// The name of the function that covers `address`, as the file has it (mangled), without a symbol version.
    ///
    /// Of several names of one function the global one wins, then the one with fewer leading underscores, then
    /// the shorter, then the alphabetically first.
    pub fn lookup(&self, address: LinkedAddress) -> Option<Vec<u8>> {
        let address = address.0;
        let behind = self.entries.partition_point(|entry| entry.start <= address);
        let start = self.entries.get(behind.checked_sub(1)?)?.start;
        self.entries[..behind]
            .iter()
            .rev()
            .take_while(|entry| entry.start == start)
            .take(MAX_ALIASES)
            .filter(|entry| entry.covers(address))
            .filter_map(|entry| Some((entry.name & Entry::LOCAL != 0, self.name(entry)?)))
            .reduce(better_of)
            .map(|(_, name)| name)
    }

    /// Whether the file has no function symbols at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of covered runs of addresses.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        size_of_val(&*self.entries) + size_of::<Symbols>()
    }

    fn name(&self, entry: &Entry) -> Option<Vec<u8>> {
        let strings = if entry.name & Entry::IN_DYNSTR != 0 {
            &self.dynsym_names
        } else {
            &self.symtab_names
        };
        let mut name = strings.get(self.bytes.as_ref(), entry.name & MAX_NAME)?;
        if entry.name & Entry::PLT != 0 {
            name.extend_from_slice(b"@plt");
        }
        Some(name)
    }
}

fn read_table(
    elf: &Elf,
    table: &SectionHeader,
    strings: Strings,
    flags: u32,
    raw: &mut Vec<Raw>,
) -> Result<(), ElfError> {
    match elf.headers().class {
        Class::Bits64 => read_symbols::<elf::Sym64<LE>>(elf, table, strings, flags, raw),
        Class::Bits32 => read_symbols::<elf::Sym32<LE>>(elf, table, strings, flags, raw),
    }
}

fn read_symbols<S: Sym<Endian = LE>>(
    elf: &Elf,
    table: &SectionHeader,
    strings: Strings,
    flags: u32,
    raw: &mut Vec<Raw>,
) -> Result<(), ElfError> {
    let mut labels = AssemblerLabels::new(elf, strings);
    let mut window = vec![0; WINDOW - WINDOW % size_of::<S>()];
    let mut at = 0;
    while at < table.size {
        let want = window
            .len()
            .min(usize::try_from(table.size - at).unwrap_or(usize::MAX));
        let offset = table.offset.saturating_add(at);
        let n_bytes = fill(elf.bytes().as_ref(), &mut window[..want], offset)?;
        if n_bytes < want {
            return Err(ElfError::OutsideFile {
                offset: table.offset,
                size: table.size,
            });
        }
        for chunk in window[..want].chunks_exact(size_of::<S>()) {
            if let Ok((symbol, _)) = from_bytes::<S>(chunk) {
                raw.extend(function(elf, symbol, flags).filter(|symbol| !labels.is_label(symbol)));
            }
        }
        at += want as u64;
    }
    Ok(())
}

/// The symbol, if it names code.
fn function<S: Sym<Endian = LE>>(elf: &Elf, symbol: &S, flags: u32) -> Option<Raw> {
    let is_typed = match symbol.st_type() {
        elf::STT_FUNC | elf::STT_GNU_IFUNC => true,
        elf::STT_NOTYPE => false,
        _ => return None,
    };
    let section = match symbol.st_shndx(LE) {
        elf::SHN_UNDEF => return None,
        index if index < elf::SHN_LORESERVE => elf.headers().sections.get(usize::from(index))?,
        _ => return None,
    };
    let start: u64 = symbol.st_value(LE).into();
    let name = symbol.st_name(LE);
    if !section.is_executable()
        || start < section.address
        || start >= section.end()
        || name == 0
        || name > MAX_NAME
    {
        return None;
    }
    let local = if symbol.st_bind() == elf::STB_LOCAL {
        Entry::LOCAL
    } else {
        0
    };
    Some(Raw {
        start,
        size: symbol.st_size(LE).into(),
        section_end: section.end(),
        name: name | flags | local,
        is_typed,
    })
}

/// Settles how far each symbol reaches, and gives what lies behind a nested symbol back to the one around it.
fn settle(mut raw: Vec<Raw>) -> Vec<Entry> {
    raw.sort_unstable_by_key(|symbol| (symbol.start, symbol.name));
    raw.dedup_by_key(|symbol| (symbol.start, symbol.name, symbol.size));
    let mut entries = Vec::with_capacity(raw.len());
    // Symbols around the present place, the innermost last.
    let mut open: Vec<Entry> = Vec::new();
    let mut rest = raw.as_slice();
    while let Some(first) = rest.first() {
        let n_aliases = rest.partition_point(|symbol| symbol.start == first.start);
        let (aliases, behind) = rest.split_at(n_aliases);
        rest = behind;
        let next = behind.first().map_or(u64::MAX, |symbol| symbol.start);
        close(&mut open, first.start, &mut entries);
        let is_inside = open.iter().any(|around| around.end() > first.start);
        let has_typed = aliases.iter().any(|symbol| symbol.is_typed);
        let taken = aliases
            .iter()
            .filter(|symbol| symbol.is_typed || !(is_inside || has_typed));
        let before = entries.len();
        entries.extend(taken.map(|symbol| {
            let size = match symbol.size {
                0 => next.min(symbol.section_end) - symbol.start,
                size => size.min(symbol.section_end - symbol.start),
            };
            Entry {
                start: symbol.start,
                size: u32::try_from(size).unwrap_or(u32::MAX),
                name: symbol.name,
            }
        }));
        open.extend(entries[before..].iter().max_by_key(|entry| entry.size));
    }
    close(&mut open, u64::MAX, &mut entries);
    // Runs that `close` adds may lie before the group that closed them.
    entries.sort_by_key(|entry| entry.start);
    entries.shrink_to_fit();
    entries
}

/// Takes from `open` what ends before `place`, and lets the next outer one continue where an inner one ended.
fn close(open: &mut Vec<Entry>, place: u64, entries: &mut Vec<Entry>) {
    let mut reached = 0;
    while let Some(inner) = open.pop_if(|entry| entry.end() <= place) {
        reached = reached.max(inner.end());
        if let Some(around) = open.last()
            && reached < around.end()
            && reached < place
        {
            entries.push(Entry {
                start: reached,
                size: u32::try_from(around.end() - reached).unwrap_or(u32::MAX),
                name: around.name,
            });
        }
    }
}

/// Tells the labels that an assembler leaves for itself (`$x` of Arm, `.L…`) from names of functions.
struct AssemblerLabels<'a> {
    elf: &'a Elf,
    strings: Strings,
    /// The last answer: such labels share one string, and come in rows.
    last: Option<(u32, bool)>,
}

impl<'a> AssemblerLabels<'a> {
    fn new(elf: &'a Elf, strings: Strings) -> AssemblerLabels<'a> {
        AssemblerLabels {
            elf,
            strings,
            last: None,
        }
    }

    fn is_label(&mut self, symbol: &Raw) -> bool {
        if symbol.is_typed {
            return false;
        }
        let name = symbol.name & MAX_NAME;
        if let Some((_, answer)) = self.last.filter(|(known, _)| *known == name) {
            return answer;
        }
        let text = self.strings.get(self.elf.bytes().as_ref(), name);
        let has_marks = self.elf.machine().has_mapping_symbols();
        let answer = text.is_none_or(|text| is_assembler_label(&text, has_marks));
        self.last = Some((name, answer));
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(symbols: &[(u64, u64, u32, bool)], expected: &[(u64, u64, u32)]) {
        let raw = symbols
            .iter()
            .map(|(start, size, name, is_typed)| Raw {
                start: *start,
                size: *size,
                section_end: 1000,
                name: *name,
                is_typed: *is_typed,
            })
            .collect();
        let got: Vec<_> = settle(raw)
            .iter()
            .map(|entry| (entry.start, entry.end(), entry.name))
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn a_symbol_covers_its_size_and_no_more() {
        check(
            &[(10, 5, 1, true), (20, 5, 2, true)],
            &[(10, 15, 1), (20, 25, 2)],
        );
    }

    #[test]
    fn a_symbol_without_size_reaches_to_the_next_one_or_the_end_of_its_section() {
        check(
            &[(10, 0, 1, true), (20, 0, 2, false)],
            &[(10, 20, 1), (20, 1000, 2)],
        );
    }

    #[test]
    fn what_lies_behind_a_nested_function_belongs_to_the_outer_one() {
        check(
            &[(0, 100, 1, true), (20, 10, 2, true), (50, 10, 3, true)],
            &[
                (0, 100, 1),
                (20, 30, 2),
                (30, 100, 1),
                (50, 60, 3),
                (60, 100, 1),
            ],
        );
        check(
            &[(0, 100, 1, true), (50, 100, 2, true), (200, 1, 3, true)],
            &[(0, 100, 1), (50, 150, 2), (200, 201, 3)],
        );
        check(
            &[(0, 100, 1, true), (20, 60, 2, true), (30, 10, 3, true)],
            &[
                (0, 100, 1),
                (20, 80, 2),
                (30, 40, 3),
                (40, 80, 2),
                (80, 100, 1),
            ],
        );
    }

    #[test]
    fn a_label_inside_a_function_is_not_a_function() {
        check(
            &[(0, 100, 1, true), (20, 0, 2, false), (0, 0, 3, false)],
            &[(0, 100, 1)],
        );
    }

    #[test]
    fn aliases_are_all_kept() {
        check(
            &[(0, 10, 2, true), (0, 10, 1, true)],
            &[(0, 10, 1), (0, 10, 2)],
        );
    }

    #[test]
    fn our_own_functions_are_found_by_any_of_their_addresses() {
        let file = std::fs::File::open("/proc/self/exe").expect("our own executable");
        let elf = Elf::parse(Box::new(file)).expect("is elf");
        let symbols = elf.symbols().expect("readable");
        assert!(!symbols.is_empty());
        let main = symbols
            .entries
            .iter()
            .find(|entry| symbols.name(entry).as_deref() == Some(b"main"))
            .expect("main");
        for address in [main.start, main.end() - 1] {
            assert_eq!(
                symbols.lookup(LinkedAddress(address)).as_deref(),
                Some(b"main".as_slice())
            );
        }
        assert_eq!(symbols.lookup(LinkedAddress(0)), None);
        assert_eq!(symbols.lookup(LinkedAddress(u64::MAX)), None);
    }
}
