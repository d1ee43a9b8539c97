//! Writes a [`Table`] from rows that come in order of file offset.

use rustc_hash::FxHashMap;

use super::table::{COUNT_BITS, PAGE_BITS, row};
use super::{Rule, Table};
use crate::model::FileOffset;

/// What a module has too much of for the table format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableLimit {
    /// 2²⁴ rows.
    #[error("more than {} unwind rows", MAX_ROWS)]
    Rows,
    /// 2²⁴ pages from its first to its last row.
    #[error("unwind rows more than {} pages apart", MAX_PAGES)]
    Pages,
    /// 255 rows a page.
    #[error("more than {} unwind rows in {} bytes", MAX_ROWS_OF_PAGE, 1 << PAGE_BITS)]
    RowsOfPage,
    /// 2¹⁶ rules.
    #[error("more than {} different unwind rules", MAX_RULES)]
    Rules,
}

pub(super) const MAX_ROWS: usize = 1 << 24;
pub(super) const MAX_PAGES: u64 = 1 << 24;
const MAX_ROWS_OF_PAGE: usize = 255;
pub(super) const MAX_RULES: usize = 1 << 16;

/// A table in the making.
#[derive(Debug)]
pub(super) struct Encoder {
    first_page: u64,
    /// The entries of all pages before the open one.
    index: Vec<u32>,
    rows: Vec<u32>,
    /// The page that `push` last wrote to.
    open_page: Option<u64>,
    /// First row of the open page.
    open_start: usize,
    /// The rule that holds from the last row on.
    current: u16,
    rules: Vec<Rule>,
    numbers: FxHashMap<Rule, u16>,
    /// The rule that was numbered last: neighbours in code often alternate between two.
    last: (Rule, u16),
}

impl Encoder {
    pub(super) fn new() -> Encoder {
        Encoder {
            first_page: 0,
            index: Vec::new(),
            rows: Vec::new(),
            open_page: None,
            open_start: 0,
            current: 0,
            rules: vec![Rule::NONE],
            numbers: FxHashMap::from_iter([(Rule::NONE, 0)]),
            last: (Rule::NONE, 0),
        }
    }

    /// From `offset` on, `rule` holds. Offsets never fall; of two rows at the same one the later replaces the earlier.
    pub(super) fn push(&mut self, offset: u64, rule: Rule) -> Result<(), TableLimit> {
        let number = self.number(rule)?;
        if number == self.current {
            return Ok(());
        }
        let page = offset >> PAGE_BITS;
        if self.open_page != Some(page) {
            self.open(page)?;
            if offset & PAGE_MASK != 0 {
                self.rows.push(row(0, self.current));
            }
        }
        let new = row(offset, number);
        let before = self.rows.len() - self.open_start;
        match self.rows.last_mut() {
            Some(last) if before > 0 && *last >> 16 == new >> 16 => {
                *last = new;
                if before > 1 && rule_of(self.rows[self.rows.len() - 2]) == number {
                    self.rows.pop();
                }
            }
            _ => self.rows.push(new),
        }
        if self.rows.len() - self.open_start > MAX_ROWS_OF_PAGE {
            return Err(TableLimit::RowsOfPage);
        }
        self.current = number;
        Ok(())
    }

    /// Nothing follows.
    pub(super) fn finish(mut self, skipped: u32) -> Result<Table, TableLimit> {
        self.close()?;
        Ok(Table {
            first_page: u32::try_from(self.first_page).map_err(|_| TableLimit::Pages)?,
            index: self.index.into_boxed_slice(),
            rows: self.rows.into_boxed_slice(),
            rules: self.rules.into_boxed_slice(),
            skipped,
        })
    }

    fn number(&mut self, rule: Rule) -> Result<u16, TableLimit> {
        if self.last.0 == rule {
            return Ok(self.last.1);
        }
        let number = match self.numbers.get(&rule) {
            Some(number) => *number,
            None => {
                let number = u16::try_from(self.rules.len()).map_err(|_| TableLimit::Rules)?;
                debug_assert!(self.rules.len() < MAX_RULES);
                self.rules.push(rule);
                self.numbers.insert(rule, number);
                number
            }
        };
        self.last = (rule, number);
        Ok(number)
    }

    /// Goes on to a later page; the pages before it that have no row of their own share one.
    fn open(&mut self, page: u64) -> Result<(), TableLimit> {
        let Some(open_page) = self.open_page else {
            self.first_page = page;
            self.open_page = Some(page);
            return Ok(());
        };
        debug_assert!(open_page < page);
        self.close()?;
        if page - self.first_page >= MAX_PAGES {
            return Err(TableLimit::Pages);
        }
        let between = usize::try_from(page - open_page - 1).map_err(|_| TableLimit::Pages)?;
        let entry = if self.current == 0 || between == 0 {
            0
        } else {
            self.rows.push(row(0, self.current));
            entry(self.rows.len() - 1, 1)?
        };
        self.index.resize(self.index.len() + between, entry);
        self.open_page = Some(page);
        self.open_start = self.rows.len();
        Ok(())
    }

    /// Writes the open page's index entry, and moves its rows to a block that holds them all.
    fn close(&mut self) -> Result<(), TableLimit> {
        if self.open_page.is_none() {
            return Ok(());
        }
        let count = self.rows.len() - self.open_start;
        let room = Table::BLOCK_ROWS - self.open_start % Table::BLOCK_ROWS;
        if count > room {
            let unused = std::iter::repeat_n(0, room);
            self.rows.splice(self.open_start..self.open_start, unused);
            self.open_start += room;
        }
        self.index.push(entry(self.open_start, count)?);
        self.open_page = None;
        Ok(())
    }
}

const PAGE_MASK: u64 = (1 << PAGE_BITS) - 1;

impl Table {
    /// The table of rows that are known already: from each offset on its rule holds, up to the next one. Offsets never
    /// fall. The last row should be NONE, since it holds to the end of its page.
    ///
    /// # Errors
    /// What the format has no room for.
    pub fn from_rows(
        rows: impl IntoIterator<Item = (FileOffset, Rule)>,
    ) -> Result<Table, TableLimit> {
        let mut encoder = Encoder::new();
        for (offset, rule) in rows {
            encoder.push(offset.0, rule)?;
        }
        encoder.finish(0)
    }
}

fn rule_of(row: u32) -> u16 {
    let [low, high, ..] = row.to_le_bytes();
    u16::from_le_bytes([low, high])
}

fn entry(start: usize, count: usize) -> Result<u32, TableLimit> {
    if start + count > MAX_ROWS {
        return Err(TableLimit::Rows);
    }
    let start = u32::try_from(start).map_err(|_| TableLimit::Rows)?;
    let count = u32::try_from(count).map_err(|_| TableLimit::RowsOfPage)?;
    Ok(start << COUNT_BITS | count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unwind::CfaKind;

    fn rule(cfa_offset: i32) -> Rule {
        Rule {
            cfa_offset,
            cfa: CfaKind::Sp,
            ..Rule::NONE
        }
    }

    fn table(rows: &[(u64, Rule)]) -> Table {
        let rows = rows
            .iter()
            .map(|(offset, rule)| (FileOffset(*offset), *rule));
        Table::from_rows(rows).expect("within limits")
    }

    fn check_format(table: &Table) {
        assert_eq!(table.rules[0], Rule::NONE);
        for entry in table.index.iter().filter(|entry| **entry != 0) {
            let start = (entry >> COUNT_BITS) as usize;
            let rows = &table.rows[start..start + (entry & 0xff) as usize];
            assert_eq!(rows[0] >> 16, 0, "a page with rows begins with one at 0");
            assert!(rows.windows(2).all(|pair| pair[0] >> 16 < pair[1] >> 16));
            assert!(rows.iter().all(|row| row >> 24 == 0));
            let block = |idx: usize| idx / Table::BLOCK_ROWS;
            assert_eq!(block(start), block(start + rows.len() - 1));
        }
    }

    #[test]
    fn every_offset_has_the_rule_of_the_last_row_before_it() {
        let rows = [
            (0x1010, rule(8)),
            (0x1011, rule(16)),
            (0x10f0, rule(8)),
            (0x1450, rule(24)),
            (0x1500, Rule::NONE),
            (0x9000, rule(8)),
            (0x9001, Rule::NONE),
        ];
        let table = table(&rows);
        check_format(&table);
        for offset in 0..0xa000 {
            let expected = rows
                .iter()
                .rev()
                .find(|(from, _)| *from <= offset)
                .map(|(_, rule)| *rule)
                .filter(|rule| *rule != Rule::NONE);
            assert_eq!(table.rule_at(FileOffset(offset)), expected, "{offset:#x}");
        }
        assert_eq!(table.rule_at(FileOffset(u64::MAX)), None);
    }

    #[test]
    fn equal_neighbours_are_one_row() {
        let table = table(&[
            (0x10, rule(8)),
            (0x20, rule(8)),
            (0x30, rule(16)),
            (0x30, rule(8)),
            (0x40, Rule::NONE),
        ]);
        assert_eq!(table.rows.len(), 3);
        assert_eq!(table.rules.len(), 3);
    }

    #[test]
    fn pages_inside_a_function_share_their_row() {
        let table = table(&[(0, rule(8)), (0x10_0000, Rule::NONE)]);
        check_format(&table);
        assert_eq!(table.index.len(), 0x1001);
        assert_eq!(table.rows.len(), 3);
        assert_eq!(table.rule_at(FileOffset(0xf_ffff)), Some(rule(8)));
    }

    #[test]
    fn the_rows_of_a_page_stay_in_one_block() {
        let rows: Vec<_> = (0..20_000u64)
            .map(|n| (n * 7, rule(i32::try_from(n % 50).expect("small") * 8)))
            .collect();
        let table = table(&rows);
        check_format(&table);
        for (offset, rule) in rows {
            assert_eq!(table.rule_at(FileOffset(offset)), Some(rule));
        }
    }

    #[test]
    fn a_module_beyond_the_limits_is_refused() {
        let mut encoder = Encoder::new();
        let pushed =
            (0..70_000i32).try_for_each(|n| encoder.push(u64::from(n.unsigned_abs()) * 4, rule(n)));
        assert_eq!(pushed, Err(TableLimit::Rules));

        let mut encoder = Encoder::new();
        let pushed = (0..256).try_for_each(|n| encoder.push(n, rule(8 + i32::from(n % 2 == 0))));
        assert_eq!(pushed, Err(TableLimit::RowsOfPage));

        let mut encoder = Encoder::new();
        assert_eq!(encoder.push(0, rule(8)), Ok(()));
        assert_eq!(encoder.push(1 << 40, Rule::NONE), Err(TableLimit::Pages));
    }
}
