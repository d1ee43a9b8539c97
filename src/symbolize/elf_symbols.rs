//! Names from a file's symbol tables.

use super::demangle::demangle;
use super::{Corrupt, Inline, NameSource, SourceName};
use crate::model::NameKind;
use crate::object::{LinkedAddress, Symbols};

/// The symbols of one file.
pub(super) struct ElfSymbols {
    symbols: Symbols,
    /// Bytes of the file, if it is in memory.
    held: usize,
}

impl ElfSymbols {
    pub(super) fn new(symbols: Symbols) -> ElfSymbols {
        ElfSymbols { symbols, held: 0 }
    }

    /// Those of a file that was decompressed to `size` bytes.
    pub(super) fn in_memory(symbols: Symbols, size: u64) -> ElfSymbols {
        let held = usize::try_from(size).unwrap_or(usize::MAX);
        ElfSymbols { symbols, held }
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
        self.symbols.memory().saturating_add(self.held)
    }
}
