//! Names from the table that the Go runtime itself reads, which stripped programs still have.

use super::demangle::as_it_is;
use super::functions::{Function, Functions, Name, Place, Wanted};
use super::{Corrupt, NameSource};
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
    fn functions(
        &mut self,
        address: LinkedAddress,
        _wanted: Wanted,
        functions: &mut Functions,
    ) -> Result<(), Corrupt> {
        let outermost_first = self.table.frames(address.0);
        for (depth, frame) in outermost_first.iter().enumerate().rev() {
            functions.push(Function {
                name: Some(Name {
                    shown: &as_it_is(&frame.name),
                    linkage: &frame.name,
                    is_bare: false,
                }),
                place: frame.place.as_ref().map(|place| Place {
                    file: &place.file,
                    line: place.line,
                }),
                is_inlined: depth > 0,
            });
        }
        Ok(())
    }

    fn is_empty(&mut self) -> bool {
        false
    }

    fn memory(&self) -> usize {
        self.table.memory()
    }
}
