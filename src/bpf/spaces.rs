//! The mappings of a process as BPF programs search them: blocks of a generation, and a head that names it.

use super::wire::{
    BLOCK_MAPPINGS, FRAME_OFFSET_MASK, MAX_MAPPING_BLOCKS, MAX_MODULES, MappingBlock, Space,
};
use crate::model::{AddressSpace, MonoNs};

/// The blocks of a process's mappings and their head; mappings that do not fit are left out, so that samples in them go to the ring.
pub(super) fn encode(
    space: &AddressSpace,
    generation: u32,
    as_of: MonoNs,
) -> (Space, Vec<MappingBlock>) {
    let fits = |end: u64, module: u32| end <= FRAME_OFFSET_MASK && (module as usize) < MAX_MODULES;
    let mappings: Vec<_> = space
        .iter()
        .filter(|mapping| fits(mapping.end.0, mapping.module.0))
        .take(MAX_MAPPING_BLOCKS * BLOCK_MAPPINGS)
        .collect();
    let mut head = Space {
        generation,
        n_blocks: 0,
        as_of: as_of.0,
        first: [u64::MAX; MAX_MAPPING_BLOCKS],
    };
    let mut blocks = Vec::new();
    for (chunk, first) in mappings.chunks(BLOCK_MAPPINGS).zip(&mut head.first) {
        let mut block = MappingBlock {
            start: [u64::MAX; BLOCK_MAPPINGS],
            end: [0; BLOCK_MAPPINGS],
            bias: [0; BLOCK_MAPPINGS],
            module: [0; BLOCK_MAPPINGS],
        };
        *first = chunk[0].start.0;
        for (at, mapping) in chunk.iter().enumerate() {
            block.start[at] = mapping.start.0;
            block.end[at] = mapping.end.0;
            block.bias[at] = mapping.file_offset.0.wrapping_sub(mapping.start.0);
            block.module[at] = mapping.module.0;
        }
        blocks.push(block);
        head.n_blocks += 1;
    }
    (head, blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Avma, FileOffset, Mapping, ModuleId};

    #[test]
    fn mappings_stand_in_blocks_by_address_and_those_that_cannot_be_told_are_left_out() {
        let mut space = AddressSpace::new();
        let mut insert = |start: u64, module| {
            space.insert(Mapping {
                start: Avma(start),
                end: Avma(start + 0x1000),
                file_offset: FileOffset(0x400),
                module: ModuleId(module),
                since: MonoNs(0),
            });
        };
        (1..=100u32).for_each(|n| insert(u64::from(n) << 20, n));
        insert(101 << 20, 65536);
        insert(1 << 50, 1);
        let (head, blocks) = encode(&space, 9, MonoNs(5));
        assert_eq!((head.generation, head.n_blocks, blocks.len()), (9, 2, 2));
        assert_eq!(head.first[..3], [1 << 20, 65 << 20, u64::MAX]);
        assert_eq!(blocks[1].module[35..37], [100, 0]);
        assert_eq!(blocks[1].start[36], u64::MAX);
        let bias = blocks[0].bias[0];
        assert_eq!(bias.wrapping_add((1 << 20) + 8), 0x408);
    }
}
