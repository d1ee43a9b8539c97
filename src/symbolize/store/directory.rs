//! What a file of tables holds, at its end.

use std::io;

use super::medium::Medium;

/// Also says the version: a file that another perfd wrote in another form is not taken for one.
const MAGIC: &[u8; 16] = b"perfd names v1\r\n";
/// Bytes of the end: the directory's place, and the magic.
const END: u32 = 32;
/// Bytes of the largest directory that is read: that of a file with millions of ranges.
const LARGEST: u32 = 256 << 20;

/// A run of bytes of the file, and its check sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) size: u32,
    pub(super) crc: u32,
}

impl Extent {
    /// Appends bytes to the medium.
    pub(super) fn append(medium: &mut Medium, bytes: &[u8]) -> io::Result<Extent> {
        Ok(Extent {
            offset: medium.append(bytes)?,
            size: u32::try_from(bytes.len()).map_err(|_| io::ErrorKind::FileTooLarge)?,
            crc: crc32fast::hash(bytes),
        })
    }

    /// The bytes, if they are still what was written.
    pub(super) fn read(&self, medium: &Medium) -> Option<Vec<u8>> {
        let bytes = medium.read(self.offset, self.size).ok()?;
        (crc32fast::hash(&bytes) == self.crc).then_some(bytes)
    }
}

/// Addresses whose code is in a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::symbolize) struct UnitRange {
    pub(in crate::symbolize) start: u64,
    /// Behind the last.
    pub(in crate::symbolize) end: u64,
    /// The unit's place in `.debug_info`.
    pub(in crate::symbolize) unit: u64,
}

/// The parts of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) pieces: Vec<Extent>,
    /// Sorted by unit.
    pub(super) units: Vec<(u64, Extent)>,
    pub(super) ranges: Vec<UnitRange>,
}

impl Directory {
    /// Writes the directory, and with it the end of the file.
    pub(super) fn write(&self, medium: &mut Medium) -> io::Result<()> {
        let mut bytes = Vec::new();
        for len in [self.pieces.len(), self.units.len(), self.ranges.len()] {
            let len = u32::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        for piece in &self.pieces {
            push_extent(piece, &mut bytes);
        }
        for (unit, extent) in &self.units {
            bytes.extend_from_slice(&unit.to_le_bytes());
            push_extent(extent, &mut bytes);
        }
        for range in &self.ranges {
            for number in [range.start, range.end, range.unit] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
        }
        let extent = Extent::append(medium, &bytes)?;
        let mut end = Vec::new();
        push_extent(&extent, &mut end);
        end.extend_from_slice(MAGIC);
        medium.append(&end)?;
        Ok(())
    }

    /// Reads the directory of a file of `len` bytes; `None` if it is not complete.
    pub(super) fn read(medium: &Medium, len: u64) -> Option<Directory> {
        let end = medium.read(len.checked_sub(u64::from(END))?, END).ok()?;
        let mut cursor = Cursor(&end);
        let extent = cursor.extent()?;
        let fits = extent.offset.checked_add(u64::from(extent.size)) == Some(len - u64::from(END));
        if cursor.0 != MAGIC || !fits || extent.size > LARGEST {
            return None;
        }
        let bytes = extent.read(medium)?;
        let mut cursor = Cursor(&bytes);
        let (n_pieces, n_units, n_ranges) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let needed = u64::from(n_pieces) * 16 + u64::from(n_units) * 24 + u64::from(n_ranges) * 24;
        if needed != cursor.0.len() as u64 {
            return None;
        }
        Some(Directory {
            pieces: (0..n_pieces)
                .map(|_| cursor.extent())
                .collect::<Option<_>>()?,
            units: (0..n_units)
                .map(|_| Some((cursor.u64()?, cursor.extent()?)))
                .collect::<Option<_>>()?,
            ranges: (0..n_ranges)
                .map(|_| {
                    Some(UnitRange {
                        start: cursor.u64()?,
                        end: cursor.u64()?,
                        unit: cursor.u64()?,
                    })
                })
                .collect::<Option<_>>()?,
        })
    }
}

fn push_extent(extent: &Extent, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&extent.offset.to_le_bytes());
    bytes.extend_from_slice(&extent.size.to_le_bytes());
    bytes.extend_from_slice(&extent.crc.to_le_bytes());
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    fn u64(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn extent(&mut self) -> Option<Extent> {
        Some(Extent {
            offset: self.u64()?,
            size: self.u32()?,
            crc: self.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> (Directory, Vec<u8>) {
        let mut medium = Medium::Memory(Vec::new());
        let piece = Extent::append(&mut medium, b"some texts").expect("memory");
        let table = Extent::append(&mut medium, b"a table").expect("memory");
        let directory = Directory {
            pieces: vec![piece],
            units: vec![(0x123, table)],
            ranges: vec![UnitRange {
                start: 1,
                end: 2,
                unit: 0x123,
            }],
        };
        directory.write(&mut medium).expect("memory");
        let Medium::Memory(bytes) = medium else {
            unreachable!("made above")
        };
        (directory, bytes)
    }

    fn read(bytes: &[u8]) -> Option<Directory> {
        Directory::read(&Medium::Memory(bytes.to_vec()), bytes.len() as u64)
    }

    #[test]
    fn what_was_written_comes_back() {
        let (directory, bytes) = written();
        let read = read(&bytes).expect("complete");
        assert_eq!(read, directory);
        let medium = Medium::Memory(bytes);
        assert_eq!(read.pieces[0].read(&medium).expect("good"), b"some texts");
    }

    #[test]
    fn a_file_that_was_cut_or_changed_anywhere_in_its_directory_is_none() {
        let (_, bytes) = written();
        for cut in 0..bytes.len() {
            assert_eq!(read(&bytes[..cut]), None, "{cut}");
        }
        for at in b"some textsa table".len()..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert_eq!(read(&damaged), None, "{at}");
        }
        let mut damaged = bytes;
        damaged[3] ^= 1;
        let piece = read(&damaged).expect("the directory is good").pieces[0];
        assert_eq!(piece.read(&Medium::Memory(damaged)), None);
    }
}
