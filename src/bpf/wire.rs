//! What perfd and the BPF programs both read: `bpf/wire.h` and `bpf/limits.h`, struct by struct.

use crate::model::Ended;

/// Events of a run that can be walked in the kernel.
pub const MAX_EVENTS: usize = 8;
/// Modules that the programs tell apart.
pub const MAX_MODULES: usize = 65536;
pub(super) const MAX_TABLES: u32 = 4096;
pub(super) const BLOCK_WORDS: usize = 1024;
pub(super) const BLOCK_MAPPINGS: usize = 64;
pub(super) const MAX_MAPPING_BLOCKS: usize = 64;
pub(super) const CHUNK_FRAMES: usize = 64;
/// Chunks of the native part of a stack; those of its Python part have the numbers behind.
pub(super) const MAX_CHUNKS: u64 = (512u64 + 127 + 1).div_ceil(CHUNK_FRAMES as u64);
pub(super) const QUALNAME_BYTES: usize = 128;
pub(super) const FILENAME_BYTES: usize = 64;
pub(super) const MAX_EVAL_RANGES: usize = 4;
/// What no field of a struct has for an offset.
pub(super) const NO_OFFSET: u16 = 0xffff;
/// In the second word of a Python frame: with it a call of the evaluation function begins.
pub(super) const PYTHON_ENTRY: u64 = 1;
pub(super) const MAX_PROCESSES: u32 = 16384;
pub(super) const MAX_PYTHONS: u32 = 4096;
pub(super) const MAX_STACK_CHUNKS: u32 = 16384;
pub(super) const MAX_COUNTS: u32 = 16384;
pub(super) const MAX_DOMAINS: u32 = 256;
pub(super) const MAX_DOMAIN_LEVELS: u32 = 16;
/// Where a change has it, the process's number is another one's now.
pub(super) const NEW_PROCESS: u64 = 1;
pub(super) const N_OUTCOMES: usize = 5;

pub(super) const MODULE_UNKNOWN: u32 = 0;
pub(super) const MODULE_TABLE: u32 = 1;
pub(super) const MODULE_NO_TABLE: u32 = 2;

pub(super) const EVERYBODY: u32 = 0;
pub(super) const TOLD_TARGETS: u32 = 1;
pub(super) const SOME_TARGETS_UNTOLD: u32 = 2;

pub(super) const FRAME_RETURN: u64 = 1 << 63;
pub(super) const FRAME_MODULE_SHIFT: u32 = 47;
pub(super) const FRAME_OFFSET_MASK: u64 = (1 << FRAME_MODULE_SHIFT) - 1;

/// How a walk ended, by the numbers of `enum ended`.
pub(super) const ENDED: [Ended; 10] = Ended::ALL;

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident, $size:expr, { $($field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(C)]
        pub(super) struct $name {
            $(pub(super) $field: $type),*
        }
        const _: () = assert!(size_of::<$name>() == $size);
        // SAFETY: integers alone, and, as the size says, no byte between them.
        unsafe impl aya::Pod for $name {}
    )*};
}

wire! {
    /// `struct module`
    Module, 28, { state: u32, first_page: u32, n_pages: u32, rows: u32, rules: u32, n_rules: u32, table: u32 }
    /// `struct block`
    Block, 4096, { words: [u32; BLOCK_WORDS] }
    /// `struct space`
    Space, 16 + 8 * MAX_MAPPING_BLOCKS, { generation: u32, n_blocks: u32, as_of: u64, first: [u64; MAX_MAPPING_BLOCKS] }
    /// `struct change`
    Change, 16, { time: u64, start: u64 }
    /// `struct mapping_block_key`
    MappingBlockKey, 12, { pid: u32, generation: u32, block: u32 }
    /// `struct mapping_block`
    MappingBlock, 28 * BLOCK_MAPPINGS, {
        start: [u64; BLOCK_MAPPINGS], end: [u64; BLOCK_MAPPINGS], bias: [u64; BLOCK_MAPPINGS], module: [u32; BLOCK_MAPPINGS],
    }
    /// `struct chunk_key`, its `struct stack_key` included
    ChunkKey, 24, { stack: [u64; 2], chunk: u64 }
    /// `struct chunk`
    Chunk, 8 * CHUNK_FRAMES, { frames: [u64; CHUNK_FRAMES] }
    /// `struct count_key`
    CountKey, 64, {
        stack: [u64; 2], pid: u32, tid: u32, comm: [u8; 16], time: u64, cpu: u16, n_kernel: u16, n_user: u16, event: u8, ended: u8,
        n_python: u16, python: u8, unused: u8, domain: u16, unused_too: u16,
    }
    /// `struct count`
    Count, 24, { weight: u64, samples: u64, squares: u64 }
    /// `struct python_layout`
    PythonLayoutWire, 40, {
        interpreter_next: u16, interpreter_threads: u16, thread_next: u16, thread_native_id: u16, thread_frame: u16, frame_in_holder: u16,
        frame_previous: u16, frame_code: u16, frame_owner: u16, frame_is_entry: u16, owner_without_code: u16, object_type: u16,
        code_filename: u16, code_qualname: u16, code_first_line: u16, string_length: u16, string_state: u16, ascii_text: u16,
        other_text: u16, unused: u16,
    }
    /// `struct python_process`
    PythonProcessWire, 64 + 16 * MAX_EVAL_RANGES, {
        interpreters: u64, code_type: u64, module: u64, eval_start: [u64; MAX_EVAL_RANGES], eval_end: [u64; MAX_EVAL_RANGES],
        layout: PythonLayoutWire,
    }
    /// `struct python_name`
    PythonNameWire, 16 + QUALNAME_BYTES + FILENAME_BYTES, {
        first_line: u32, n_qualname: u32, n_filename: u32, qualname_width: u16, filename_width: u16, qualname: [u8; QUALNAME_BYTES],
        filename: [u8; FILENAME_BYTES],
    }
    /// `struct python_name_key`
    PythonNameKey, 16, { hash: [u64; 2] }
    /// `struct control`
    Control, 24, { active: u32, only_targets: u32, since: u64, domain_levels: u32, unused: u32 }
    /// `struct account`
    Account, 8 + 8 * MAX_EVENTS * N_OUTCOMES, { at_work: u64, outcomes: [[u64; N_OUTCOMES]; MAX_EVENTS] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_the_header() {
        let header = include_str!("../../bpf/limits.h");
        for (name, expected) in [
            ("MAX_EVENTS", MAX_EVENTS as u64),
            ("MAX_MODULES", MAX_MODULES as u64),
            ("MAX_TABLES", u64::from(MAX_TABLES)),
            ("MAX_PROCESSES", u64::from(MAX_PROCESSES)),
            ("MAX_PYTHONS", u64::from(MAX_PYTHONS)),
            ("MAX_STACK_CHUNKS", u64::from(MAX_STACK_CHUNKS)),
            ("MAX_COUNTS", u64::from(MAX_COUNTS)),
            ("MAX_DOMAINS", u64::from(MAX_DOMAINS)),
            ("MAX_DOMAIN_LEVELS", u64::from(MAX_DOMAIN_LEVELS)),
        ] {
            let define = format!("#define {name} ");
            let value = header.lines().find_map(|line| line.strip_prefix(&define));
            assert_eq!(value, Some(expected.to_string().as_str()), "{name}");
        }
    }
}
