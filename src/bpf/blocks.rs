//! From an unwind table to the blocks that BPF programs read: index, rows and rules, each from a block's beginning.

use super::wire::{BLOCK_WORDS, Block, MODULE_TABLE, Module};
use crate::model::Rule;

/// Words that a rule takes: 12 bytes and as many unused ones as make it a power of two.
const RULE_WORDS: usize = 4;

/// The parts of an unwind table (`unwind::Table`).
#[derive(Clone, Copy, Debug)]
pub struct TableWords<'a> {
    /// Number of the page that the index begins with.
    pub first_page: u32,
    /// The index.
    pub index: &'a [u32],
    /// The rows.
    pub rows: &'a [u32],
    /// The rules.
    pub rules: &'a [Rule],
}

impl TableWords<'_> {
    /// Bytes of the table's blocks.
    pub fn bytes_in_blocks(&self) -> u64 {
        let words = [
            self.index.len(),
            self.rows.len(),
            RULE_WORDS * self.rules.len(),
        ];
        let n_blocks: usize = words.iter().map(|n| n.div_ceil(BLOCK_WORDS)).sum();
        (n_blocks.max(1) * size_of::<Block>()) as u64
    }

    /// Bytes of kernel memory that the table takes: its blocks and the head of their array, as the kernel allocates them
    /// (`__bpf_map_area_alloc` of kernel/bpf/syscall.c): up to 32 KiB a power of two, beyond that whole pages.
    pub fn bytes_in_kernel(&self) -> u64 {
        /// `struct bpf_array` without its values: some 320 bytes.
        const HEAD: u64 = 512;
        const LARGEST_POWER: u64 = 32 << 10;
        let bytes = self.bytes_in_blocks() + HEAD;
        match bytes <= LARGEST_POWER {
            true => bytes.next_power_of_two(),
            false => bytes.next_multiple_of(4096),
        }
    }
}

/// The blocks, and where in them what begins.
pub(super) fn encode(table: &TableWords<'_>) -> (Module, Vec<Block>) {
    let mut blocks = Vec::new();
    append(&mut blocks, table.index.iter().copied());
    let rows = blocks.len();
    append(&mut blocks, table.rows.iter().copied());
    let rules = blocks.len();
    append(&mut blocks, table.rules.iter().flat_map(words));
    let number = |n: usize| u32::try_from(n).expect("the limits of tables are far lower");
    let module = Module {
        state: MODULE_TABLE,
        first_page: table.first_page,
        n_pages: number(table.index.len()),
        rows: number(rows),
        rules: number(rules),
        n_rules: number(table.rules.len()),
        table: 0,
    };
    (module, blocks)
}

fn append(blocks: &mut Vec<Block>, mut words: impl Iterator<Item = u32>) {
    while let Some(first) = words.next() {
        let mut block = Block {
            words: [0; BLOCK_WORDS],
        };
        block.words[0] = first;
        let rest = block.words[1..].iter_mut();
        rest.zip(&mut words).for_each(|(place, word)| *place = word);
        blocks.push(block);
    }
}

fn words(rule: &Rule) -> [u32; RULE_WORDS] {
    let halves = |low: i16, high: i16| {
        u32::from(low.cast_unsigned()) | u32::from(high.cast_unsigned()) << 16
    };
    [
        rule.cfa_offset.cast_unsigned(),
        halves(rule.fp_offset, rule.ra_offset),
        u32::from_le_bytes([rule.cfa as u8, rule.fp as u8, rule.ra as u8, rule.flags]),
        0,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_begins_a_block_and_no_rule_crosses_one() {
        let index: Vec<u32> = (0..1500).collect();
        let rows: Vec<u32> = (0..10).collect();
        let mut rules = vec![Rule::NONE; 300];
        rules[257].cfa_offset = -2;
        rules[257].ra_offset = -8;
        let table = TableWords {
            first_page: 7,
            index: &index,
            rows: &rows,
            rules: &rules,
        };
        let (module, blocks) = encode(&table);
        assert_eq!(table.bytes_in_kernel(), 32 << 10);
        assert_eq!((module.rows, module.rules, blocks.len()), (2, 3, 5));
        assert_eq!((module.n_pages, module.n_rules), (1500, 300));
        assert_eq!(blocks[1].words[475..477], [1499, 0]);
        assert_eq!(blocks[2].words[9], 9);
        assert_eq!(blocks[4].words[4..6], [u32::MAX - 1, 0xfff8_0000]);
    }
}
