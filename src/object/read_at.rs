//! Bytes at an offset: a file by `pread`, or memory.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

/// Something that can be read at any offset, without a position of its own.
pub trait ReadAt: Send + Sync {
    /// Reads from `offset`; fewer bytes than asked for mean that the end is near.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Number of bytes.
    fn len(&self) -> u64;

    /// What tells the file that they are in from any other; `None` if they are in none.
    fn stamp(&self) -> Option<FileStamp> {
        None
    }

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One state of one file: any other file, and the same one after a change, has another stamp. The time is that of the
/// inode's last change, which the kernel sets and nobody can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    changed: (i64, i64),
}

impl fmt::Display for FileStamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = self.changed;
        let (device, inode) = (self.device, self.inode);
        write!(f, "{device:x}.{inode:x}.{seconds:x}.{nanos:x}")
    }
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn len(&self) -> u64 {
        self.metadata().map_or(0, |metadata| metadata.len())
    }

    fn stamp(&self) -> Option<FileStamp> {
        let found = self.metadata().ok()?;
        Some(FileStamp {
            device: found.dev(),
            inode: found.ino(),
            changed: (found.ctime(), found.ctime_nsec()),
        })
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

/// A run of bytes of something larger.
pub struct Slice {
    whole: Arc<dyn ReadAt>,
    start: u64,
    size: u64,
}

impl Slice {
    /// `size` bytes from `start` on; what of it lies behind the end of `whole` cannot be read.
    pub fn new(whole: Arc<dyn ReadAt>, start: u64, size: u64) -> Slice {
        let size = size.min(whole.len().saturating_sub(start));
        Slice { whole, start, size }
    }
}

impl ReadAt for Slice {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.size.saturating_sub(offset);
        let n_bytes = usize::try_from(rest).map_or(buf.len(), |rest| rest.min(buf.len()));
        self.whole
            .read_at(&mut buf[..n_bytes], self.start.saturating_add(offset))
    }

    fn len(&self) -> u64 {
        self.size
    }
}

/// Fills `buf` as far as the bytes go and returns how far that was.
pub fn fill(bytes: &dyn ReadAt, buf: &mut [u8], offset: u64) -> io::Result<usize> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_its_own_offsets_and_ends_where_it_ends() {
        let whole: Arc<dyn ReadAt> = Arc::new(vec![0, 1, 2, 3, 4, 5]);
        let check = |start, size, offset, expected: &[u8]| {
            let part = Slice::new(Arc::clone(&whole), start, size);
            let mut buf = [0; 4];
            let n_bytes = fill(&part, &mut buf, offset).expect("memory");
            assert_eq!(&buf[..n_bytes], expected);
        };
        check(1, 3, 0, &[1, 2, 3]);
        check(1, 3, 2, &[3]);
        check(1, 3, 3, &[]);
        check(4, 9, 0, &[4, 5]);
        check(9, 9, 0, &[]);
        check(1, u64::MAX, 1, &[2, 3, 4, 5]);
    }
}
