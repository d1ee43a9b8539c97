//! Hides the line tables of a file's units from the reader: names need no lines.
//!
//! addr2line reads a unit's whole line table for each unit that it looks a function up in, and cannot be told not
//! to; on libpython that took 45 % of the time and a third of the memory. What it has no reference to it does not
//! read, so the reference, `DW_AT_stmt_list`, is given another name where `.debug_abbrev` declares it. The format is §7.5.3 of
//! the DWARF 5 standard: tables of declarations, each `code tag has_children (name form [value])* 0 0`, ended by a code of 0.

const DW_AT_STMT_LIST: u8 = 0x10;
/// Assigned to nothing in any version of the standard, and as long.
const UNASSIGNED: u8 = 0x04;
const DW_FORM_IMPLICIT_CONST: u64 = 0x21;

/// Renames every `DW_AT_stmt_list` in the declarations of `debug_abbrev`. Stops where they make no sense.
pub(super) fn hide(debug_abbrev: &mut [u8]) {
    let mut cursor = Cursor {
        bytes: debug_abbrev,
        at: 0,
    };
    while cursor.declaration().is_some() {}
}

struct Cursor<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Cursor<'_> {
    fn declaration(&mut self) -> Option<()> {
        let code = self.uleb128()?;
        if code == 0 {
            return Some(());
        }
        let _tag = self.uleb128()?;
        let _has_children = self.uleb128()?;
        loop {
            let name_at = self.at;
            let name = self.uleb128()?;
            let form = self.uleb128()?;
            if form == DW_FORM_IMPLICIT_CONST {
                self.uleb128()?;
            }
            if (name, form) == (0, 0) {
                return Some(());
            }
            if name == u64::from(DW_AT_STMT_LIST) && self.bytes[name_at] == DW_AT_STMT_LIST {
                self.bytes[name_at] = UNASSIGNED;
            }
        }
    }

    /// Also steps over a signed number, whose value is then not the one returned.
    fn uleb128(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = *self.bytes.get(self.at)?;
            self.at += 1;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_to_the_line_table_is_renamed_and_nothing_else() {
        let mut tables = vec![
            // A compile unit: name, stmt_list; a subprogram with an implicit constant 0x10.
            1, 0x11, 1, 0x03, 0x0e, 0x10, 0x17, 0, 0, //
            2, 0x2e, 0, 0x3a, 0x21, 0x10, 0x11, 0x01, 0, 0, 0, //
            // The next table; its code needs two bytes.
            0x80, 0x01, 0x11, 0, 0x10, 0x17, 0, 0, 0,
        ];
        let before = tables.clone();
        hide(&mut tables);
        let changed: Vec<usize> = (0..tables.len())
            .filter(|at| tables[*at] != before[*at])
            .collect();
        assert_eq!(changed, [5, 24]);
        assert!(changed.iter().all(|at| tables[*at] == UNASSIGNED));
    }

    #[test]
    fn declarations_that_make_no_sense_are_left_alone() {
        for bytes in [&[][..], &[0xff; 40], &[1], &[1, 0x11], &[1, 0x11, 1, 0x10]] {
            let mut copy = bytes.to_vec();
            hide(&mut copy);
            assert_eq!(copy, bytes);
        }
    }
}
