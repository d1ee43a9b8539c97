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
/// Attributes of one declaration. Those that take no byte of an entry cost time all the same, for each entry anew.
const MOST_ATTRIBUTES: usize = 256;
/// Bytes of tables that are remembered; in memory they take twenty times that. Units refer to each other where they were optimized
/// together.
const REMEMBERED: usize = 1 << 20;
/// Bytes of tables that are read for one unit: its own, and those of units that it refers to.
pub(super) const FOR_A_UNIT: u64 = 64 << 20;

/// The section, with the tables that were read last.
pub(super) struct Declarations {
    window: Window,
    tables: FxHashMap<u64, Arc<Abbreviations>>,
    /// Bytes of them.
    n_bytes: usize,
    /// Bytes that may still be read: a table can be referred to by as many units as a file has, each at another place of it.
    left: u64,
}

impl Declarations {
    /// Nothing was read yet.
    pub(super) fn new(window: Window) -> Declarations {
        Declarations {
            window,
            tables: FxHashMap::default(),
            n_bytes: 0,
            left: FOR_A_UNIT,
        }
    }

    /// Bytes of the section.
    pub(super) fn size(&self) -> u64 {
        self.window.size()
    }

    /// So many bytes may be read from now on.
    pub(super) fn allow(&mut self, n_bytes: u64) {
        self.left = n_bytes;
    }

    /// The whole table at `offset`.
    pub(super) fn table(&mut self, offset: u64) -> Result<Arc<Abbreviations>, Corrupt> {
        if let Some(table) = self.tables.get(&offset) {
            return Ok(Arc::clone(table));
        }
        let (table, n_bytes) = self.read(offset)?;
        let table = Arc::new(table);
        if self.n_bytes + n_bytes > REMEMBERED {
            self.tables.clear();
            self.n_bytes = 0;
        }
        self.n_bytes += n_bytes;
        self.tables.insert(offset, Arc::clone(&table));
        Ok(table)
    }

    fn read(&mut self, offset: u64) -> Result<(Abbreviations, usize), Corrupt> {
        let mut least = USUAL;
        loop {
            let bytes = self.window.at(offset, least)?;
            let is_all = (bytes.len() as u64) < least || least >= LONGEST;
            let most = usize::try_from(least).map_err(|_| Corrupt)?;
            let bytes = &bytes[..bytes.len().min(most)];
            self.left = self.left.checked_sub(bytes.len() as u64).ok_or(Corrupt)?;
            match length(bytes)? {
                Some(len) => return Ok((parse(&bytes[..len]).map_err(|_| Corrupt)?, len)),
                None if is_all => return Err(Corrupt),
                None => least = (least * 8).min(LONGEST),
            }
        }
    }

    /// A table of the one declaration of `code` in that at `offset`, if it is near its beginning: looking through thousands of units
    /// should not take thousands of tables apart for the sake of their first entries.
    pub(super) fn only(&mut self, offset: u64, code: u64) -> Option<Abbreviations> {
        let bytes = self.window.at(offset, USUAL).ok()?;
        let mut at = 0;
        let from = loop {
            let from = at;
            match declaration(bytes, &mut at).ok()?? {
                0 => return None,
                found if found == code => break from,
                _ => {}
            }
        };
        self.left = self.left.checked_sub(at as u64)?;
        let mut table = bytes.get(from..at)?.to_vec();
        table.push(0);
        parse(&table).ok()
    }
}

/// Bytes of the table that `bytes` begin with; `None` if it does not end in them.
fn length(bytes: &[u8]) -> Result<Option<usize>, Corrupt> {
    let mut at = 0;
    loop {
        match declaration(bytes, &mut at)? {
            Some(0) => return Ok(Some(at)),
            Some(_) => {}
            None => return Ok(None),
        }
    }
}

/// Steps over a declaration and returns its code, 0 for the end of a table; `None` if it does not end in `bytes`.
fn declaration(bytes: &[u8], at: &mut usize) -> Result<Option<u64>, Corrupt> {
    let Some(code) = uleb128(bytes, at) else {
        return Ok(None);
    };
    if code == 0 {
        return Ok(Some(0));
    }
    let Some(_tag) = uleb128(bytes, at) else {
        return Ok(None);
    };
    *at += 1;
    for _ in 0..=MOST_ATTRIBUTES {
        let (Some(name), Some(form)) = (uleb128(bytes, at), uleb128(bytes, at)) else {
            return Ok(None);
        };
        if (name, form) == (0, 0) {
            return Ok(Some(code));
        }
        if form == u64::from(gimli::DW_FORM_implicit_const.0) && uleb128(bytes, at).is_none() {
            return Ok(None);
        }
    }
    Err(Corrupt)
}

fn parse(bytes: &[u8]) -> gimli::Result<Abbreviations> {
    DebugAbbrev::new(bytes, LittleEndian).abbreviations(DebugAbbrevOffset(0))
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

    fn declarations(bytes: &[u8]) -> Declarations {
        Declarations::new(Window::new(Some(Arc::new(bytes.to_vec())), 1 << 10))
    }

    #[test]
    fn one_declaration_is_read_by_itself() {
        let mut whole = declarations(TABLE);
        let table = whole.only(0, 1).expect("there");
        assert!(table.get(1).is_some() && table.get(2).is_none());
        let table = whole.only(0, 2).expect("there");
        assert!(table.get(1).is_none() && table.get(2).is_some());
        assert!(whole.only(0, 3).is_none() && whole.only(0, 0).is_none());
        for cut in 1..10 {
            assert!(declarations(&TABLE[..cut]).only(0, 1).is_none(), "{cut}");
        }
    }

    #[test]
    fn a_table_is_read_once_and_one_without_an_end_not_at_all() {
        let mut whole = declarations(TABLE);
        let one = whole.table(0).expect("there");
        let two = whole.table(0).expect("there");
        assert!(Arc::ptr_eq(&one, &two) && one.get(2).is_some());
        assert!(declarations(&TABLE[..10].repeat(200_000)).table(0).is_err());
    }

    /// So many declarations, the last one at the end of a table.
    fn long_table(n_declarations: u32) -> Vec<u8> {
        let code = |code: u32| {
            [
                (code & 0x7f) as u8 | 0x80,
                (code >> 7 & 0x7f) as u8 | 0x80,
                u8::try_from(code >> 14).expect("few"),
            ]
        };
        let declared = (1..=n_declarations).flat_map(|number| {
            let [first, second, third] = code(number);
            [first, second, third, 0x2e, 0, 0, 0]
        });
        declared.chain([0]).collect()
    }

    #[test]
    fn parts_of_one_large_table_are_neither_all_remembered_nor_read_without_end() {
        let bytes = long_table(100_000);
        let mut section = declarations(&bytes);
        let n_read = (0..10_000)
            .take_while(|idx| section.table(idx * 7).is_ok())
            .count();
        // Each is some 700 KB long, for which 4 KiB are read first, and eight times that, and so on.
        assert!((10..120).contains(&n_read), "{n_read}");
        assert!(section.n_bytes <= REMEMBERED && section.tables.len() == 1);
        section.allow(FOR_A_UNIT);
        assert!(section.table(0).is_ok());
    }

    #[test]
    fn a_declaration_of_more_attributes_than_any_compiler_writes_is_refused() {
        let table = |n_attributes: usize| {
            let attributes = [0x3f, 0x19].repeat(n_attributes);
            [&[1, 0x2e, 0][..], &attributes, &[0, 0, 0]].concat()
        };
        assert!(declarations(&table(MOST_ATTRIBUTES)).table(0).is_ok());
        assert!(declarations(&table(MOST_ATTRIBUTES + 1)).table(0).is_err());
        assert!(
            declarations(&table(MOST_ATTRIBUTES + 1))
                .only(0, 1)
                .is_none()
        );
    }
}
