//! Names from a file's symbol tables.

use super::demangle::demangle;
use super::{Corrupt, Inline, NameSource, SourceName};
use crate::model::NameKind;
use crate::object::{LinkedAddress, Symbols};

/// The symbols of one file.
pub(super) struct ElfSymbols {
    symbols: Symbols,
}

impl ElfSymbols {
    pub(super) fn new(symbols: Symbols) -> ElfSymbols {
        ElfSymbols { symbols }
    }
}

impl NameSource for ElfSymbols {
    fn names(
        &mut self,
        address: LinkedAddress,
        _inline: Inline,
        names: &mut Vec<SourceName>,
    ) -> Result<(), Corrupt> {
        names.extend(self.symbols.lookup(address).map(|name| SourceName {
            text: Some(demangle(&name)),
            is_bare: false,
            kind: NameKind::User,
        }));
        Ok(())
    }

    fn memory(&self) -> usize {
        self.symbols.memory()
    }
}
