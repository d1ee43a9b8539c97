//! Names from a file's symbol tables, which are read when they are first asked.

use std::sync::Arc;

use super::demangle::demangle;
use super::functions::{Function, Functions, Name, Wanted};
use super::{Corrupt, NameSource};
use crate::object::{Elf, LinkedAddress, Symbols};

/// The symbols of one file.
pub(super) struct ElfSymbols {
    elf: Arc<Elf>,
    symbols: Option<Symbols>,
    /// Bytes of the file, if it is in memory.
    held: usize,
}

impl ElfSymbols {
    pub(super) fn new(elf: Arc<Elf>) -> ElfSymbols {
        ElfSymbols {
            elf,
            symbols: None,
            held: 0,
        }
    }

    /// Those of a file that was decompressed into memory.
    pub(super) fn in_memory(elf: Arc<Elf>) -> ElfSymbols {
        let held = usize::try_from(elf.file_size()).unwrap_or(usize::MAX);
        ElfSymbols {
            held,
            ..ElfSymbols::new(elf)
        }
    }

    fn symbols(&mut self) -> Result<&Symbols, Corrupt> {
        if self.symbols.is_none() {
            self.symbols = Some(self.elf.symbols().map_err(|_| Corrupt)?);
        }
        self.symbols.as_ref().ok_or(Corrupt)
    }
}

impl NameSource for ElfSymbols {
    fn functions(
        &mut self,
        address: LinkedAddress,
        _wanted: Wanted,
        functions: &mut Functions,
    ) -> Result<(), Corrupt> {
        if let Some(linkage) = self.symbols()?.lookup(address) {
            functions.push(Function {
                name: Some(Name {
                    shown: &demangle(&linkage),
                    linkage: &linkage,
                    is_bare: false,
                }),
                place: None,
                is_inlined: false,
            });
        }
        Ok(())
    }

    fn is_empty(&mut self) -> bool {
        self.symbols().is_ok_and(Symbols::is_empty)
    }

    fn memory(&self) -> usize {
        let symbols = self.symbols.as_ref().map_or(0, Symbols::memory);
        symbols.saturating_add(self.held)
    }
}
