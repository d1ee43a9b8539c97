//! Names from the table that the Go runtime itself reads, which stripped programs still have.

use std::sync::Arc;

use super::demangle::as_it_is;
use super::{Corrupt, Inline, NameSource, Place, SourceName};
use crate::model::NameKind;
use crate::object::go::GoTable;
use crate::object::{Elf, LinkedAddress};

/// The table of one file.
pub(super) struct GoNames {
    table: GoTable,
}

impl GoNames {
    /// The table of `elf`, if it has one.
    pub(super) fn open(elf: &Elf) -> Option<GoNames> {
        GoTable::open(elf).map(|table| GoNames { table })
    }
}

impl NameSource for GoNames {
    fn names(
        &mut self,
        address: LinkedAddress,
        inline: Inline,
        names: &mut Vec<SourceName>,
    ) -> Result<(), Corrupt> {
        let n_shown = match inline {
            Inline::Show => usize::MAX,
            Inline::Hide => 1,
        };
        let frames = self.table.frames(address.0).into_iter().take(n_shown);
        names.extend(frames.enumerate().map(|(depth, frame)| SourceName {
            text: Some(as_it_is(&frame.name)),
            is_bare: false,
            kind: match depth {
                0 => NameKind::User,
                _ => NameKind::Inlined,
            },
            place: frame.place.map(|place| Place {
                file: Arc::from(String::from_utf8_lossy(&place.file)),
                line: place.line,
            }),
        }));
        Ok(())
    }

    fn memory(&self) -> usize {
        self.table.memory()
    }
}
