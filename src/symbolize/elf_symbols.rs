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
}

impl ElfSymbols {
    pub(super) fn new(elf: Arc<Elf>) -> ElfSymbols {
        ElfSymbols { elf, symbols: None }
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
        self.symbols.as_ref().map_or(0, Symbols::memory)
    }
}
