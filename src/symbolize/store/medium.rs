//! Where the bytes of tables are while they are written: a file, or memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that can only be appended to, and be read.
pub(super) enum Medium {
    /// A file of our own making.
    File {
        /// Open for reading and writing.
        file: File,
        /// Bytes so far.
        len: u64,
    },
    /// Memory.
    Memory(Vec<u8>),
}

impl Medium {
    /// Appends bytes and returns where they begin.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        match self {
            Medium::File { file, len } => {
                let at = *len;
                file.write_all_at(bytes, at)?;
                *len += bytes.len() as u64;
                Ok(at)
            }
            Medium::Memory(memory) => {
                let at = memory.len() as u64;
                memory.extend_from_slice(bytes);
                Ok(at)
            }
        }
    }

    /// Reads `size` bytes.
    pub(super) fn read(&self, offset: u64, size: u32) -> io::Result<Vec<u8>> {
        let n_bytes = size as usize;
        match self {
            Medium::File { file, .. } => {
                let mut bytes = vec![0; n_bytes];
                file.read_exact_at(&mut bytes, offset)?;
                Ok(bytes)
            }
            Medium::Memory(memory) => usize::try_from(offset)
                .ok()
                .and_then(|at| memory.get(at..)?.get(..n_bytes))
                .map(<[u8]>::to_vec)
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        match self {
            Medium::File { .. } => 0,
            Medium::Memory(memory) => memory.capacity(),
        }
    }
}
