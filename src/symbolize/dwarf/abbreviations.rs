//! The declarations that entries are written by: `.debug_abbrev`, §7.5.3 of the DWARF 5 standard.
//!
//! Each is `code tag has_children (name form [value])* 0 0`, and a table ends with a code of 0.

use std::sync::Arc;

use gimli::{Abbreviations, DebugAbbrev, DebugAbbrevOffset, LittleEndian};

use rustc_hash::FxHashMap;

use super::Corrupt;
use super::window::Window;

/// A table of so many bytes is read without asking whether it is that long; rustc's have 2 KiB, those of link time optimization 20.
const USUAL: u64 = 4 << 10;
/// No compiler makes a table longer than that.
const LONGEST: u64 = 1 << 20;
/// Tables that are remembered: 4 MiB. Units refer to each other where they were optimized together.
const N_KNOWN: usize = 256;

/// Tables by where they are.
#[derive(Default)]
pub(super) struct Known {
    tables: FxHashMap<u64, Arc<Abbreviations>>,
}

impl Known {
    /// The whole table at `offset`.
    pub(super) fn table(
        &mut self,
        abbrev: &mut Window,
        offset: u64,
    ) -> Result<Arc<Abbreviations>, Corrupt> {
        if let Some(table) = self.tables.get(&offset) {
            return Ok(Arc::clone(table));
        }
        let table = Arc::new(read(abbrev, offset)?);
        if self.tables.len() >= N_KNOWN {
            self.tables.clear();
        }
        self.tables.insert(offset, Arc::clone(&table));
        Ok(table)
    }
}

fn read(abbrev: &mut Window, offset: u64) -> Result<Abbreviations, Corrupt> {
    let rest = abbrev.size().saturating_sub(offset);
    let mut least = USUAL;
    loop {
        let bytes = abbrev.at(offset, least)?;
        let is_all = bytes.len() as u64 >= rest.min(LONGEST);
        let bytes = &bytes[..bytes
            .len()
            .min(usize::try_from(LONGEST).unwrap_or(usize::MAX))];
        match parse(bytes) {
            Ok(table) => return Ok(table),
            Err(gimli::Error::UnexpectedEof(_)) if !is_all => least *= 8,
            Err(_) => return Err(Corrupt),
        }
    }
}

fn parse(bytes: &[u8]) -> gimli::Result<Abbreviations> {
    DebugAbbrev::new(bytes, LittleEndian).abbreviations(DebugAbbrevOffset(0))
}

/// A table of the first declaration at `offset` alone, if it is the one of `code`: that of a unit's first entry mostly is, and
/// looking through thousands of units should not read thousands of tables.
pub(super) fn first(abbrev: &mut Window, offset: u64, code: u64) -> Option<Abbreviations> {
    let bytes = abbrev.at(offset, USUAL).ok()?;
    let mut at = 0;
    if uleb128(bytes, &mut at)? != code {
        return None;
    }
    let _tag = uleb128(bytes, &mut at)?;
    at += 1;
    loop {
        let name = uleb128(bytes, &mut at)?;
        let form = uleb128(bytes, &mut at)?;
        if form == u64::from(gimli::DW_FORM_implicit_const.0) {
            uleb128(bytes, &mut at)?;
        }
        if (name, form) == (0, 0) {
            break;
        }
    }
    let mut table = bytes.get(..at)?.to_vec();
    table.push(0);
    parse(&table).ok()
}

/// Also steps over a signed number, whose value is then not the one returned.
pub(super) fn uleb128(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..70).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = &[
        // A unit: name, an implicit constant; then a subprogram; the end.
        1, 0x11, 1, 0x03, 0x0e, 0x13, 0x21, 0x7c, 0, 0, //
        2, 0x2e, 0, 0x3a, 0x0b, 0, 0, //
        0,
    ];

    #[test]
    fn the_first_declaration_is_read_by_itself_if_it_is_the_right_one() {
        let mut window = Window::new(Some(Arc::new(TABLE.to_vec())), 1 << 10);
        let table = first(&mut window, 0, 1).expect("there");
        assert!(table.get(1).is_some() && table.get(2).is_none());
        assert!(first(&mut window, 0, 2).is_none());
        assert!(first(&mut window, 10, 2).is_some());
        for cut in 1..10 {
            let mut window = Window::new(Some(Arc::new(TABLE[..cut].to_vec())), 1 << 10);
            assert!(first(&mut window, 0, 1).is_none(), "{cut}");
        }
    }

    #[test]
    fn a_table_is_read_once_and_one_without_an_end_not_at_all() {
        let mut known = Known::default();
        let mut window = Window::new(Some(Arc::new(TABLE.to_vec())), 1 << 10);
        let one = known.table(&mut window, 0).expect("there");
        let two = known.table(&mut window, 0).expect("there");
        assert!(Arc::ptr_eq(&one, &two) && one.get(2).is_some());
        let endless = TABLE[..10].repeat(200_000);
        let mut window = Window::new(Some(Arc::new(endless)), 1 << 10);
        assert!(Known::default().table(&mut window, 0).is_err());
    }
}
