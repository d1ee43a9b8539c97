//! The rows of one module, in the form in which they are looked up: version 2 of the format.
//!
//! Everything is keyed by **file offset**, so that one table serves every process and every mapping of a file.
//! The bytes are meant to be read by an in-kernel unwinder as they are; all numbers are little endian:
//!
//! ```text
//! index  u32 for each 256-byte page of file offsets, the first for page `first_page`
//!          bits 31–8  row_start: number of the page's first row
//!          bits  7–0  count: number of its rows, 0 if nothing in the page has a row
//! rows   u32
//!          bits 31–24 0
//!          bits 23–16 pc_low8: offset within the page from which the row holds
//!          bits 15–0  number of its rule
//! rules  12 bytes each (see [`Rule`]); number 0 is always NONE
//! ```
//!
//! - The rows of a page are sorted by `pc_low8`, without equal ones; the first has `pc_low8 = 0`, if need be by a
//!   synthetic row that repeats what holds at the page's start (or says NONE). So a lookup reads one index entry,
//!   a few rows next to each other, and one rule: the last row with `pc_low8 ≤ offset & 255`.
//! - The rows of a page lie within one block of [`Table::BLOCK_ROWS`] rows (4 KiB), counted from row 0; unused
//!   rows before a block's end are 0. Pages may share a row.
//! - Gaps between the functions that have unwind information have NONE rows, and so has the end of the last one.
//! - Limits: 2²⁴ rows, 2²⁴ pages, 255 rows a page, 2¹⁶ rules. A module beyond them has no table ([`TableLimit`](super::TableLimit)).

use super::Rule;
use crate::model::FileOffset;

/// The rows of one module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Table {
    pub(super) first_page: u32,
    pub(super) index: Box<[u32]>,
    pub(super) rows: Box<[u32]>,
    /// Not empty: the first is NONE.
    pub(super) rules: Box<[Rule]>,
    pub(super) skipped: u32,
}

impl Table {
    /// Version of the format, in all its parts.
    pub const VERSION: u32 = 2;
    /// Rows in a block that no page's rows cross the end of.
    pub const BLOCK_ROWS: usize = 1024;

    /// The rule for the code at `offset`; `None` if nothing says how it unwinds.
    ///
    /// A return address is looked up one byte before ([`Frame::lookup`](crate::model::Frame::lookup)).
    pub fn rule_at(&self, offset: FileOffset) -> Option<Rule> {
        let rule = self.lookup(offset);
        (rule != Rule::NONE).then_some(rule)
    }

    /// [`Table::rule_at`] with NONE as a rule like any other.
    #[inline]
    pub(super) fn lookup(&self, offset: FileOffset) -> Rule {
        let page = (offset.0 >> PAGE_BITS).wrapping_sub(u64::from(self.first_page));
        let Some(entry) = usize::try_from(page)
            .ok()
            .and_then(|page| self.index.get(page))
        else {
            return Rule::NONE;
        };
        let (start, count) = (entry >> COUNT_BITS, entry & COUNT_MASK);
        let Some(rows) = self.rows.get(start as usize..(start + count) as usize) else {
            return Rule::NONE;
        };
        let key = row(offset.0, u16::MAX);
        let behind = rows.partition_point(|row| *row <= key);
        let Some(row) = behind.checked_sub(1).and_then(|last| rows.get(last)) else {
            return Rule::NONE;
        };
        self.rules
            .get((row & RULE_MASK) as usize)
            .copied()
            .unwrap_or(Rule::NONE)
    }

    /// Number of the page that the index begins with.
    pub fn first_page(&self) -> u32 {
        self.first_page
    }

    /// The index.
    pub fn index(&self) -> &[u32] {
        &self.index
    }

    /// The rows.
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }

    /// The rules that rows number.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Functions whose unwind information was damaged, or not of a kind perfd knows, and was left out.
    pub fn skipped(&self) -> u32 {
        self.skipped
    }

    /// Bytes of memory that the table takes.
    pub fn memory(&self) -> usize {
        size_of::<Table>()
            + size_of_val(&*self.index)
            + size_of_val(&*self.rows)
            + size_of_val(&*self.rules)
    }
}

/// log₂ of a page's bytes.
pub(super) const PAGE_BITS: u32 = 8;
/// Bits of `count` in an index entry.
pub(super) const COUNT_BITS: u32 = 8;
pub(super) const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;
pub(super) const RULE_MASK: u32 = 0xffff;

/// The row that begins at `offset`.
#[inline]
pub(super) fn row(offset: u64, rule: u16) -> u32 {
    let [pc_low8, ..] = offset.to_le_bytes();
    u32::from(pc_low8) << 16 | u32::from(rule)
}
