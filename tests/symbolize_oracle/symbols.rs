//! What the symbol table says, as far as the normalisation needs it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use object::{Object, ObjectSymbol, SymbolKind};

/// Names of code by address, and names of source files.
#[derive(Default)]
pub struct Symbols {
    by_start: BTreeMap<u64, BTreeSet<String>>,
    /// Without version.
    starts_of: HashMap<String, Vec<u64>>,
    files: BTreeSet<String>,
}

impl Symbols {
    pub fn of(file: &object::File<'_>) -> Symbols {
        let mut symbols = Symbols::default();
        for symbol in file.symbols().chain(file.dynamic_symbols()) {
            let Ok(name) = symbol.name() else { continue };
            match symbol.kind() {
                SymbolKind::File => {
                    symbols.files.insert(name.to_owned());
                }
                SymbolKind::Section | SymbolKind::Data | SymbolKind::Tls => (),
                _ if symbol.is_undefined() || name.is_empty() => (),
                _ => symbols.add(symbol.address(), name),
            }
        }
        symbols
    }

    pub fn add(&mut self, start: u64, name: &str) {
        let names = self.by_start.entry(start).or_default();
        if names.insert(name.to_owned()) {
            let starts = self
                .starts_of
                .entry(unversioned(name).to_owned())
                .or_default();
            starts.push(start);
        }
    }

    pub fn add_source(&mut self, file: &str) {
        self.files.insert(file.to_owned());
    }

    /// Whether a source file goes by this name.
    pub fn has_source(&self, file: &str) -> bool {
        self.files.contains(file)
    }

    /// Whether a symbol of this name begins where the last one at or before the address begins; a version does not count.
    pub fn is_at(&self, address: u64, name: &str) -> bool {
        self.last_before(address)
            .any(|symbol| symbol == name || unversioned(symbol) == name)
    }

    /// Whether this is the name of the function that such a symbol is a part or a clone of.
    pub fn is_origin_at(&self, address: u64, name: &str) -> bool {
        self.last_before(address).any(|symbol| {
            let origin = plain(symbol);
            let starts = self.starts_of.get(origin).into_iter().flatten();
            origin == name || starts.into_iter().any(|&start| self.is_at(start, name))
        })
    }

    fn last_before(&self, address: u64) -> impl Iterator<Item = &str> {
        let last = self.by_start.range(..=address).next_back();
        last.into_iter()
            .flat_map(|(_, names)| names.iter().map(String::as_str))
    }
}

fn unversioned(symbol: &str) -> &str {
    symbol.split_once('@').map_or(symbol, |(name, _)| name)
}

/// Without version and without what a compiler appends behind a dot; names of Go have dots of their own.
fn plain(symbol: &str) -> &str {
    let name = unversioned(symbol);
    let appended = [
        ".cold",
        ".isra.",
        ".part.",
        ".constprop.",
        ".llvm.",
        ".lto_priv.",
        ".localalias",
        ".abi0",
    ];
    let cut = appended.iter().filter_map(|part| name.find(part)).min();
    &name[..cut.unwrap_or(name.len())]
}

#[test]
fn versions_and_what_compilers_append_are_told_from_names() {
    assert_eq!(plain("xdr_pmaplist@GLIBC_2.2.5"), "xdr_pmaplist");
    assert_eq!(plain("f.isra.0.cold"), "f");
    assert_eq!(plain("runtime.(*mheap).alloc"), "runtime.(*mheap).alloc");
}

#[test]
fn a_cold_part_belongs_to_every_name_of_its_function() {
    let mut symbols = Symbols::default();
    symbols.add(0x10, "__GI_f");
    symbols.add(0x10, "f@@GLIBC_2.34");
    symbols.add(0x80, "__GI_f.cold");
    assert!(symbols.is_at(0x1f, "f") && symbols.is_at(0x1f, "__GI_f"));
    assert!(!symbols.is_at(0x8f, "f") && symbols.is_origin_at(0x8f, "f"));
    assert!(!symbols.is_origin_at(0x8f, "g") && !symbols.is_at(0xf, "f"));
    assert!(!symbols.is_origin_at(0x1f, "__GI_f.cold"));
}
