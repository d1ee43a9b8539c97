//! The segments of a file as they lie in memory, read by linked address.

use std::ops::Range;
use std::sync::Arc;

use super::read_at::{ReadAt, fill};
use super::{LinkedAddress, Segment};

/// What the file alone says of a process's memory: no relocation is done, and nothing behind a segment's bytes in
/// the file is there.
#[derive(Clone)]
pub struct Image {
    bytes: Arc<dyn ReadAt>,
    segments: Box<[Segment]>,
}

impl Image {
    pub(super) fn new(bytes: Arc<dyn ReadAt>, segments: &[Segment]) -> Image {
        Image {
            bytes,
            segments: segments.into(),
        }
    }

    /// One readable segment that begins at `address`.
    #[cfg(test)]
    pub(crate) fn of(bytes: Vec<u8>, address: u64) -> Image {
        let size = bytes.len() as u64;
        let segment = Segment {
            address: LinkedAddress(address),
            file_offset: crate::model::FileOffset(0),
            file_size: size,
            memory_size: size,
            flags: object::elf::PF_R,
        };
        Image::new(Arc::new(bytes), &[segment])
    }

    /// Fills `buf` with what begins at `address`, and zeros where the file has nothing; returns the number of bytes
    /// that are the file's. What cannot be read is not there.
    pub fn read(&self, address: LinkedAddress, buf: &mut [u8]) -> usize {
        buf.fill(0);
        let wanted = address.0..address.0.saturating_add(buf.len() as u64);
        let mut n_bytes = 0;
        for segment in &self.segments {
            let start = segment.address.0;
            let held = start..start.saturating_add(segment.file_size);
            let (from, to) = (wanted.start.max(held.start), wanted.end.min(held.end));
            if from >= to {
                continue;
            }
            let Some(offset) = segment.file_offset.0.checked_add(from - held.start) else {
                continue;
            };
            let within = |at: u64| usize::try_from(at - wanted.start).unwrap_or(buf.len());
            let part = within(from)..within(to);
            n_bytes += fill(self.bytes.as_ref(), &mut buf[part], offset).unwrap_or(0);
        }
        n_bytes
    }

    /// The addresses of what is not code, in the order of the file.
    pub fn data(&self) -> impl Iterator<Item = Range<u64>> {
        let data = self.segments.iter().filter(|s| !s.is_executable());
        data.map(|s| s.address.0..s.address.0.saturating_add(s.file_size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_found_by_their_address_and_zeros_stand_where_there_are_none() {
        let image = Image::of(vec![1, 2, 3, 4], 0x1000);
        let check = |address: u64, expected: ([u8; 4], usize)| {
            let mut buf = [9; 4];
            let n_bytes = image.read(LinkedAddress(address), &mut buf);
            assert_eq!((buf, n_bytes), expected, "{address:#x}");
        };
        check(0x1000, ([1, 2, 3, 4], 4));
        check(0x1002, ([3, 4, 0, 0], 2));
        check(0xffe, ([0, 0, 1, 2], 2));
        check(0x1004, ([0; 4], 0));
        check(u64::MAX, ([0; 4], 0));
    }
}
