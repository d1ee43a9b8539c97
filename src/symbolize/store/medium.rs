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
    /// Appends bytes and returns where they begin. Where the disk is full, what was written comes into memory, and what follows too.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        match self {
            Medium::File { file, len } => {
                let at = *len;
                if file.write_all_at(bytes, at).is_ok() {
                    *len += bytes.len() as u64;
                    return Ok(at);
                }
                let n_written = usize::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
                let mut memory = vec![0; n_written];
                file.read_exact_at(&mut memory, 0)?;
                *self = Medium::Memory(memory);
                self.append(bytes)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_has_no_room_for_stays_in_memory() {
        let mut file = tempfile::tempfile().expect("a file");
        std::io::Write::write_all(&mut file, b"written").expect("room");
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        // Writing to it fails, as on a full disk; reading does not.
        let read_only = File::open(path).expect("ours");
        let mut medium = Medium::File {
            file: read_only,
            len: 7,
        };
        assert_eq!(medium.append(b" more").expect("memory"), 7);
        assert!(matches!(medium, Medium::Memory(_)));
        assert_eq!(medium.read(0, 12).expect("there"), b"written more");
    }
}
