//! The header of a unit: §7.5.1 of the DWARF 5 standard, and those of versions 2 to 4.
//!
//! gimli parses headers too, but wants the whole unit for it; here a unit may be gigabytes of which 40 bytes are at hand.

use gimli::{Encoding, Format};

use super::Corrupt;
use super::window::Window;

/// Bytes of the longest header: 12 + 2 + 1 + 1 + 8 + 8 + 8.
const LONGEST: u64 = 40;

/// What a unit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnitKind {
    /// Code, or the part of it that is shared by some units (`DW_UT_partial`).
    Code,
    /// Types only.
    Types,
}

/// Where a unit is and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UnitHeader {
    /// In `.debug_info`.
    pub(super) offset: u64,
    /// Bytes, with the header.
    pub(super) size: u64,
    /// Bytes of the header.
    pub(super) header_size: u64,
    pub(super) encoding: Encoding,
    /// In `.debug_abbrev`.
    pub(super) abbrev_offset: u64,
    pub(super) kind: UnitKind,
    /// What a skeleton and its split unit have in common; in DWARF 4 an attribute says it instead.
    pub(super) dwo_id: Option<u64>,
}

impl UnitHeader {
    /// The header at `offset`. `Ok(None)` for a version that perfd does not know, together with where the next unit is.
    pub(super) fn read(info: &mut Window, offset: u64) -> Result<Parsed, Corrupt> {
        let section_size = info.size();
        let bytes = info.at(offset, LONGEST)?;
        let mut cursor = Cursor { bytes, at: 0 };
        let (length, format) = match cursor.u32()? {
            0xffff_ffff => (cursor.u64()?, Format::Dwarf64),
            length if length >= 0xffff_fff0 => return Err(Corrupt),
            length => (u64::from(length), Format::Dwarf32),
        };
        let size = length.checked_add(cursor.at as u64).ok_or(Corrupt)?;
        let end = offset.checked_add(size).ok_or(Corrupt)?;
        if end > section_size || length < 2 {
            return Err(Corrupt);
        }
        let version = cursor.u16()?;
        if !(2..=5).contains(&version) {
            return Ok(Parsed { end, header: None });
        }
        let mut kind = UnitKind::Code;
        let mut dwo_id = None;
        let (address_size, abbrev_offset);
        if version == 5 {
            let unit_type = cursor.u8()?;
            address_size = cursor.u8()?;
            abbrev_offset = cursor.offset(format)?;
            match gimli::DwUt(unit_type) {
                gimli::DW_UT_skeleton | gimli::DW_UT_split_compile => dwo_id = Some(cursor.u64()?),
                gimli::DW_UT_compile | gimli::DW_UT_partial => {}
                _ => kind = UnitKind::Types,
            }
        } else {
            abbrev_offset = cursor.offset(format)?;
            address_size = cursor.u8()?;
        }
        if !matches!(address_size, 4 | 8) || cursor.at as u64 > size {
            return Err(Corrupt);
        }
        Ok(Parsed {
            end,
            header: Some(UnitHeader {
                offset,
                size,
                header_size: cursor.at as u64,
                encoding: Encoding {
                    address_size,
                    format,
                    version,
                },
                abbrev_offset,
                kind,
                dwo_id,
            }),
        })
    }

    /// Where the next unit is.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.size
    }
}

/// A header, if it is of a known version, and where its unit ends.
pub(super) struct Parsed {
    pub(super) end: u64,
    pub(super) header: Option<UnitHeader>,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let rest = self.bytes.get(self.at..).ok_or(Corrupt)?;
        self.at += N;
        rest.first_chunk().copied().ok_or(Corrupt)
    }

    fn u8(&mut self) -> Result<u8, Corrupt> {
        Ok(u8::from_le_bytes(self.take()?))
    }

    fn u16(&mut self) -> Result<u16, Corrupt> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, Corrupt> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, Corrupt> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn offset(&mut self, format: Format) -> Result<u64, Corrupt> {
        match format {
            Format::Dwarf32 => self.u32().map(u64::from),
            Format::Dwarf64 => self.u64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn read(bytes: &[u8]) -> Result<Parsed, Corrupt> {
        UnitHeader::read(&mut Window::new(Some(Arc::new(bytes.to_vec())), 1 << 10), 0)
    }

    #[test]
    fn headers_of_versions_4_and_5_are_read() {
        let four = [12, 0, 0, 0, 4, 0, 0x34, 0x12, 0, 0, 8, 1, 2, 3, 4, 5];
        let header = read(&four).expect("good").header.expect("known");
        assert_eq!((header.size, header.header_size), (16, 11));
        assert_eq!((header.abbrev_offset, header.encoding.version), (0x1234, 4));
        let mut skeleton = vec![20, 0, 0, 0, 5, 0, 4, 8, 7, 0, 0, 0];
        skeleton.extend_from_slice(&[9; 8]);
        skeleton.extend_from_slice(&[0; 4]);
        let header = read(&skeleton).expect("good").header.expect("known");
        assert_eq!(header.header_size, 20);
        assert_eq!(header.dwo_id, Some(0x0909_0909_0909_0909));
    }

    #[test]
    fn a_unit_must_end_in_its_section() {
        assert!(read(&[13, 0, 0, 0, 4, 0, 0, 0, 0, 0, 8]).is_err());
        assert!(read(&[0xff; 60]).is_err());
        assert!(read(&[0xff, 0xff, 0xff]).is_err());
        assert!(read(&[0, 0, 0, 0, 4, 0]).is_err());
    }

    #[test]
    fn a_version_of_the_future_is_passed_over() {
        let parsed = read(&[4, 0, 0, 0, 9, 0, 0, 0]).expect("passed over");
        assert_eq!((parsed.end, parsed.header), (8, None));
    }
}
