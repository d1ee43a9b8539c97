//! Names from a file's symbol tables.

use super::demangle::of_symbol;
use super::{Corrupt, Demangle, Inline, NameSource, SourceName};
use crate::model::NameKind;
use crate::object::{LinkedAddress, Symbols};

/// The symbols of one file.
pub(super) struct ElfSymbols {
    symbols: Symbols,
    demangle: Demangle,
}

impl ElfSymbols {
    pub(super) fn new(symbols: Symbols, demangle: Demangle) -> ElfSymbols {
        ElfSymbols { symbols, demangle }
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
            text: Some(of_symbol(&name, self.demangle)),
            is_bare: false,
            kind: NameKind::User,
            place: None,
        }));
        Ok(())
    }

    fn memory(&self) -> usize {
        self.symbols.memory()
    }
}
