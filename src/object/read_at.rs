//! Bytes at an offset: a file by `pread`, or memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Something that can be read at any offset, without a position of its own.
pub trait ReadAt: Send + Sync {
    /// Reads from `offset`; fewer bytes than asked for mean that the end is near.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Number of bytes.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn len(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let n_bytes = rest.len().min(buf.len());
        buf[..n_bytes].copy_from_slice(&rest[..n_bytes]);
        Ok(n_bytes)
    }

    fn len(&self) -> u64 {
        Vec::len(self) as u64
    }
}

/// Fills `buf` as far as the bytes go and returns how far that was.
pub(super) fn fill(bytes: &dyn ReadAt, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut n_filled = 0;
    while n_filled < buf.len() {
        let Some(at) = offset.checked_add(n_filled as u64) else {
            break;
        };
        match bytes.read_at(&mut buf[n_filled..], at) {
            Ok(0) => break,
            Ok(n_bytes) => n_filled += n_bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(n_filled)
}
