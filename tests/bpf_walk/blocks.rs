//! A table in the blocks that BPF programs read: index, rows and rules, each from a block's beginning.

use perfd::unwind::{Rule, Table};

/// Bytes of a block (`BLOCK` of `bpf/limits.h`).
const BLOCK: usize = 4096;

/// `struct module` of `bpf/wire.h`, and the blocks of its table.
pub struct Blocks {
    pub state: u32,
    pub first_page: u32,
    pub n_pages: u32,
    /// The block that the rows begin at.
    pub rows: u32,
    /// The block that the rules begin at.
    pub rules: u32,
    pub n_rules: u32,
    pub bytes: Vec<u8>,
}

impl Blocks {
    /// A module without a table: `MODULE_UNKNOWN` or `MODULE_NO_TABLE`.
    pub fn none(state: u32) -> Blocks {
        Blocks {
            state,
            first_page: 0,
            n_pages: 0,
            rows: 0,
            rules: 0,
            n_rules: 0,
            bytes: Vec::new(),
        }
    }

    pub fn of(table: &Table) -> Blocks {
        let mut bytes = Vec::new();
        bytes.extend(table.index().iter().flat_map(|entry| entry.to_le_bytes()));
        let rows = next_block(&mut bytes);
        bytes.extend(table.rows().iter().flat_map(|row| row.to_le_bytes()));
        let rules = next_block(&mut bytes);
        bytes.extend(table.rules().iter().flat_map(|rule| rule_bytes(*rule)));
        next_block(&mut bytes);
        Blocks {
            state: 1,
            first_page: table.first_page(),
            n_pages: count(table.index().len()),
            rows,
            rules,
            n_rules: count(table.rules().len()),
            bytes,
        }
    }

    pub fn n_blocks(&self) -> usize {
        self.bytes.len() / BLOCK
    }
}

/// Fills up the last block; returns the number of the next one.
fn next_block(bytes: &mut Vec<u8>) -> u32 {
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    count(bytes.len() / BLOCK)
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("within the limits of a table")
}

/// `struct rule` of `bpf/wire.h`: 16 bytes, so that none crosses a block.
fn rule_bytes(rule: Rule) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&rule.cfa_offset.to_le_bytes());
    bytes[4..6].copy_from_slice(&rule.fp_offset.to_le_bytes());
    bytes[6..8].copy_from_slice(&rule.ra_offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&[rule.cfa as u8, rule.fp as u8, rule.ra as u8, rule.flags]);
    bytes
}
