//! Symbols by name: where a file has a function or variable that is asked for.

use object::LittleEndian as LE;
use object::elf;
use object::pod::from_bytes;
use object::read::elf::Sym;

use super::elf::{Elf, ElfError, LinkedAddress};
use super::headers::{Class, SectionHeader};

/// The largest symbol or string table that is looked through.
const MAX_TABLE: u64 = 64 << 20;

/// Where symbols are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolTables {
    /// In `.dynsym`, which is small and never stripped.
    Dynamic,
    /// There and in `.symtab`.
    All,
}

/// A function or variable that the file defines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSymbol {
    /// As it stands there.
    pub name: String,
    /// Where it was linked for.
    pub address: LinkedAddress,
    /// Its bytes.
    pub size: u64,
}

impl Elf {
    /// The symbols whose names are wanted, sorted by name and address, each once. Only 64-bit files have any.
    ///
    /// # Errors
    /// Those of reading; tables of more than 64 MiB are not looked through.
    pub fn symbols_named(
        &self,
        tables: SymbolTables,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<NamedSymbol>, ElfError> {
        let mut found = Vec::new();
        if self.headers().class != Class::Bits64 {
            return Ok(found);
        }
        let kinds = match tables {
            SymbolTables::Dynamic => [elf::SHT_DYNSYM].as_slice(),
            SymbolTables::All => &[elf::SHT_DYNSYM, elf::SHT_SYMTAB],
        };
        for &kind in kinds {
            if let Some(table) = self.headers().of_kind(kind) {
                self.look_through(table, &is_wanted, &mut found)?;
            }
        }
        found.sort_by(|a, b| (&a.name, a.address, a.size).cmp(&(&b.name, b.address, b.size)));
        found.dedup_by(|a, b| a.name == b.name && a.address == b.address);
        Ok(found)
    }

    fn look_through(
        &self,
        table: &SectionHeader,
        is_wanted: impl Fn(&str) -> bool,
        found: &mut Vec<NamedSymbol>,
    ) -> Result<(), ElfError> {
        let Some(strings) = self.headers().sections.get(table.link as usize) else {
            return Ok(());
        };
        for section in [table, strings] {
            if section.size > MAX_TABLE {
                return Err(ElfError::TooLarge(section.size));
            }
        }
        let strings = self.raw(strings)?;
        let symbols = self.raw(table)?;
        for chunk in symbols.chunks_exact(size_of::<elf::Sym64<LE>>()) {
            let Ok((symbol, _)) = from_bytes::<elf::Sym64<LE>>(chunk) else {
                continue;
            };
            let is_defined = symbol.st_shndx(LE) != elf::SHN_UNDEF;
            if let Some(name) = name_at(&strings, symbol.st_name(LE))
                && is_defined
                && is_wanted(name)
            {
                found.push(NamedSymbol {
                    name: name.to_owned(),
                    address: LinkedAddress(symbol.st_value(LE)),
                    size: symbol.st_size(LE),
                });
            }
        }
        Ok(())
    }
}

/// The string that begins there, if it is one, and no longer than any name that is asked for.
fn name_at(strings: &[u8], at: u32) -> Option<&str> {
    const LONGEST: usize = 64;
    let rest = strings.get(at as usize..)?;
    let rest = &rest[..rest.len().min(LONGEST)];
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_found_and_nothing_else() {
        let file = std::fs::File::open("/proc/self/exe").expect("our own executable");
        let elf = Elf::parse(Box::new(file)).expect("is elf");
        let named = |name: &'static str| {
            let found = elf.symbols_named(SymbolTables::All, |found| found == name);
            found.expect("readable")
        };
        let found = named("main");
        assert_eq!(found.len(), 1);
        let symbols = elf.symbols().expect("readable");
        let at_address = symbols.lookup(found[0].address).expect("covered");
        assert_eq!(at_address, b"main");
        assert!(named("no such symbol").is_empty());
    }

    #[test]
    fn a_name_outside_of_its_table_is_none() {
        assert_eq!(name_at(b"\0ab\0", 1), Some("ab"));
        assert_eq!(name_at(b"\0ab", 1), None);
        assert_eq!(name_at(b"\0ab\0", 9), None);
        assert_eq!(name_at(&[b'a'; 1000], 0), None);
    }
}
