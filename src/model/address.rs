//! Address spaces as types: where a byte is in a process, and where it is in the file it came from.
//!
//! The third space, the addresses an ELF file was linked for, never leaves `object`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An actual virtual memory address: in a running process, or in the running kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Avma(pub u64);

/// The offset of a byte from the start of its module's file.
///
/// `offset = avma − mapping.start + mapping.file_offset`: needs no ELF header, survives unmapping and exec,
/// and is what `perf` prints as `[module]+0x…`. For the vDSO it is the offset in its image; for anonymous
/// memory and the kernel, which have no file, it is the address itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileOffset(pub u64);

impl fmt::Display for Avma {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl fmt::Display for FileOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
