//! A table as bytes, on its way from who made it to who walks with it, and the check that it is one.
//!
//! Who made it may be anybody. A table that passes the check keeps all that `table.rs` says of the format, so that nothing that reads
//! tables can tell it from one of perfd's own making; whether its rows are right for the code, nobody can check.

use super::encoder::{MAX_PAGES, MAX_ROWS, MAX_RULES};
use super::table::{COUNT_BITS, COUNT_MASK, RULE_MASK};
use super::{CfaKind, FpKind, RaKind, Rule, Table};

/// The parts of a table, little endian.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableParts {
    /// Number of the page that the index begins with.
    pub first_page: u32,
    /// Words.
    pub index: Vec<u8>,
    /// Words.
    pub rows: Vec<u8>,
    /// Twelve bytes each.
    pub rules: Vec<u8>,
    /// Functions that were left out.
    pub skipped: u32,
}

/// What is wrong with bytes that should be a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// A part is no whole number of what it consists of, or more than a table may have.
    #[error("a part of a size that no table has")]
    Size,
    /// A rule that is none, or the first one is not that of code without a row.
    #[error("rule {0} is none")]
    Rule(usize),
    /// The rows of a page are not there, not in order, cross the end of a block or do not begin with the page.
    #[error("the rows of page {0} are not in order")]
    Page(usize),
    /// A row has a rule that is not there.
    #[error("row {0} has no rule")]
    Row(usize),
}

const RULE: usize = size_of::<Rule>();

impl Table {
    /// The table as bytes.
    pub fn to_parts(&self) -> TableParts {
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        TableParts {
            first_page: self.first_page,
            index: words(&self.index),
            rows: words(&self.rows),
            rules: self.rules.iter().flat_map(|rule| encode(*rule)).collect(),
            skipped: self.skipped,
        }
    }

    /// The table that bytes are.
    ///
    /// # Errors
    /// They are none.
    pub fn from_parts(parts: &TableParts) -> Result<Table, Contradiction> {
        let max_pages = usize::try_from(MAX_PAGES).unwrap_or(usize::MAX);
        let table = Table {
            first_page: parts.first_page,
            index: words(&parts.index, max_pages)?,
            rows: words(&parts.rows, MAX_ROWS)?,
            rules: rules(&parts.rules)?,
            skipped: parts.skipped,
        };
        for (idx, row) in table.rows.iter().enumerate() {
            if row >> 24 != 0 || (row & RULE_MASK) as usize >= table.rules.len() {
                return Err(Contradiction::Row(idx));
            }
        }
        for (idx, entry) in table.index.iter().enumerate() {
            check_page(&table.rows, *entry).ok_or(Contradiction::Page(idx))?;
        }
        Ok(table)
    }
}

fn words(bytes: &[u8], max: usize) -> Result<Box<[u32]>, Contradiction> {
    let (words, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() || words.len() > max {
        return Err(Contradiction::Size);
    }
    Ok(words.iter().map(|word| u32::from_le_bytes(*word)).collect())
}

fn rules(bytes: &[u8]) -> Result<Box<[Rule]>, Contradiction> {
    let (all, rest) = bytes.as_chunks::<RULE>();
    if !rest.is_empty() || all.len() > MAX_RULES {
        return Err(Contradiction::Size);
    }
    let decoded = all.iter().enumerate();
    let decoded = decoded.map(|(idx, bytes)| decode(*bytes).ok_or(Contradiction::Rule(idx)));
    let rules: Box<[Rule]> = decoded.collect::<Result<_, _>>()?;
    match rules.first() {
        Some(&Rule::NONE) => Ok(rules),
        _ => Err(Contradiction::Rule(0)),
    }
}

/// `None` if the entry of a page has rows that it must not have.
fn check_page(rows: &[u32], entry: u32) -> Option<()> {
    let (start, count) = (
        (entry >> COUNT_BITS) as usize,
        (entry & COUNT_MASK) as usize,
    );
    if count == 0 {
        return Some(());
    }
    let end = start.checked_add(count)?;
    let of_page = rows.get(start..end)?;
    let is_in_block = start / Table::BLOCK_ROWS == (end - 1) / Table::BLOCK_ROWS;
    let begins = |row: &u32| row >> 16;
    let is_sorted = of_page
        .windows(2)
        .all(|pair| begins(&pair[0]) < begins(&pair[1]));
    let begins_with_page = of_page.first().map(begins) == Some(0);
    (is_in_block && is_sorted && begins_with_page).then_some(())
}

fn encode(rule: Rule) -> [u8; RULE] {
    let mut bytes = [0; RULE];
    bytes[..4].copy_from_slice(&rule.cfa_offset.to_le_bytes());
    bytes[4..6].copy_from_slice(&rule.fp_offset.to_le_bytes());
    bytes[6..8].copy_from_slice(&rule.ra_offset.to_le_bytes());
    bytes[8..].copy_from_slice(&[rule.cfa as u8, rule.fp as u8, rule.ra as u8, rule.flags]);
    bytes
}

fn decode(bytes: [u8; RULE]) -> Option<Rule> {
    let [a, b, c, d, e, f, g, h, cfa, fp, ra, flags] = bytes;
    const CFA: [CfaKind; 10] = [
        CfaKind::None,
        CfaKind::Unsupported,
        CfaKind::End,
        CfaKind::Sp,
        CfaKind::Fp,
        CfaKind::DerefSp,
        CfaKind::DerefFp,
        CfaKind::Drap,
        CfaKind::Plt,
        CfaKind::Base,
    ];
    const FP: [FpKind; 6] = [
        FpKind::Same,
        FpKind::AtCfa,
        FpKind::AtFp,
        FpKind::AtSp,
        FpKind::Undefined,
        FpKind::AtSpWithLink,
    ];
    const RA: [RaKind; 4] = [RaKind::Undefined, RaKind::AtCfa, RaKind::AtSp, RaKind::Link];
    Some(Rule {
        cfa_offset: i32::from_le_bytes([a, b, c, d]),
        fp_offset: i16::from_le_bytes([e, f]),
        ra_offset: i16::from_le_bytes([g, h]),
        cfa: *CFA.get(usize::from(cfa))?,
        fp: *FP.get(usize::from(fp))?,
        ra: *RA.get(usize::from(ra))?,
        flags,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Elf;

    fn own() -> Table {
        let file = std::fs::File::open("/proc/self/exe").expect("our own executable");
        let elf = Elf::parse(Box::new(file)).expect("is elf");
        Table::build(&elf).expect("within limits")
    }

    #[test]
    fn a_table_comes_back_as_it_was() {
        let table = own();
        assert!(table.rows().len() > 1000 && table.rules().len() > 10);
        assert_eq!(Table::from_parts(&table.to_parts()), Ok(table));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let rule = |cfa: u8| [0, 0, 0, 0, 0, 0, 0, 0, cfa, 0, 0, 0];
        let word = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let good = TableParts {
            first_page: 1,
            index: word(&[2 | 1 << 8, 0]),
            rows: word(&[0, 0, 0x10_0001]),
            rules: [rule(0), rule(3)].concat(),
            skipped: 0,
        };
        assert!(Table::from_parts(&good).is_ok());
        let check = |change: &dyn Fn(&mut TableParts), expected| {
            let mut parts = good.clone();
            change(&mut parts);
            assert_eq!(Table::from_parts(&parts), Err(expected));
        };
        check(&|parts| parts.index.push(0), Contradiction::Size);
        check(&|parts| parts.rules.push(0), Contradiction::Size);
        check(&|parts| parts.rules.clear(), Contradiction::Rule(0));
        check(&|parts| parts.rules[8] = 1, Contradiction::Rule(0));
        check(&|parts| parts.rules[20] = 10, Contradiction::Rule(1));
        check(&|parts| parts.rules[21] = 6, Contradiction::Rule(1));
        check(&|parts| parts.rules[22] = 4, Contradiction::Rule(1));
        check(&|parts| parts.rows[8] = 2, Contradiction::Row(2));
        check(&|parts| parts.rows[3] = 1, Contradiction::Row(0));
        check(&|parts| parts.rows[6] = 1, Contradiction::Page(0));
        check(&|parts| parts.rows[10] = 0, Contradiction::Page(0));
        check(
            &|parts| parts.index = word(&[2 | 2 << 8]),
            Contradiction::Page(0),
        );
        check(
            &|parts| parts.index = word(&[0, u32::MAX]),
            Contradiction::Page(1),
        );
        // Over the end of a block.
        let across = |parts: &mut TableParts| {
            parts.rows = word(&[&[0; 1023][..], &[0, 0x10_0001]].concat());
            parts.index = word(&[2 | 1022 << 8, 2 | 1023 << 8]);
            parts.rows[1023 * 4 + 2] = 0x10;
        };
        check(&across, Contradiction::Page(1));
    }
}
