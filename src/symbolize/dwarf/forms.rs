//! What the values of attributes mean: addresses, strings, references, lists of ranges.

use gimli::{AttributeValue, EndianSlice, LittleEndian};

use super::Corrupt;
use super::abbreviations::uleb128;
use super::header::UnitHeader;
use super::sections::Sections;
use super::window::{MAX_STRING, Window};

pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;
pub(super) type Value<'a> = AttributeValue<Bytes<'a>>;

/// A string where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text<'a> {
    /// In the unit itself.
    Inline(&'a [u8]),
    /// In `.debug_str`.
    Str(u64),
    /// In `.debug_line_str`.
    LineStr(u64),
    /// In the `.debug_str` of the file that `.gnu_debugaltlink` names.
    AlternateStr(u64),
}

/// An entry that another one refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Reference {
    /// An offset in the unit itself.
    Unit(u64),
    /// An offset in the same `.debug_info`.
    Info(u64),
    /// An offset in that of the file that `.gnu_debugaltlink` names.
    Alternate(u64),
}

/// What a unit's first entry says about how to read the others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bases {
    pub(super) addr: u64,
    pub(super) str_offsets: u64,
    pub(super) rnglists: u64,
    /// Added to what a split unit of DWARF 4 says of `.debug_ranges`.
    pub(super) gnu_ranges: u64,
    /// What entries of range lists are relative to.
    pub(super) low_pc: u64,
}

impl Bases {
    /// What they are where no attribute says so: the headers of the tables are in front, which DWARF 4 does not have.
    pub(super) fn default_of(header: &UnitHeader) -> Bases {
        let (is_5, is_64) = (
            header.encoding.version >= 5,
            header.encoding.format == gimli::Format::Dwarf64,
        );
        let header_of = |size: u64| match (is_5, is_64) {
            (false, _) => 0,
            (true, false) => size,
            (true, true) => size + 8,
        };
        Bases {
            addr: header_of(8),
            str_offsets: header_of(8),
            rnglists: header_of(12),
            ..Bases::default()
        }
    }
}

/// Where the string of an attribute stands; `None` if it has none.
pub(super) fn text<'a>(
    value: Value<'a>,
    header: &UnitHeader,
    bases: &Bases,
    str_offsets: &mut Window,
) -> Result<Option<Text<'a>>, Corrupt> {
    Ok(match value {
        AttributeValue::String(bytes) => Some(Text::Inline(bytes.slice())),
        AttributeValue::DebugStrRef(offset) => Some(Text::Str(offset.0 as u64)),
        AttributeValue::DebugLineStrRef(offset) => Some(Text::LineStr(offset.0 as u64)),
        AttributeValue::DebugStrRefSup(offset) => Some(Text::AlternateStr(offset.0 as u64)),
        AttributeValue::DebugStrOffsetsIndex(index) => {
            let word = u64::from(header.encoding.format.word_size());
            let at = (index.0 as u64)
                .checked_mul(word)
                .and_then(|at| at.checked_add(bases.str_offsets))
                .ok_or(Corrupt)?;
            Some(Text::Str(word_at(str_offsets, at, word)?))
        }
        _ => None,
    })
}

/// The address that an attribute says; `None` if it says none. `addr` is `.debug_addr` of the file that has the code.
pub(super) fn address(
    value: &Value<'_>,
    header: &UnitHeader,
    bases: &Bases,
    addr: &mut Window,
) -> Result<Option<u64>, Corrupt> {
    match value {
        AttributeValue::Addr(address) => Ok(Some(*address)),
        AttributeValue::DebugAddrIndex(index) => {
            indexed_address(index.0 as u64, header, bases, addr).map(Some)
        }
        _ => Ok(None),
    }
}

fn indexed_address(
    index: u64,
    header: &UnitHeader,
    bases: &Bases,
    addr: &mut Window,
) -> Result<u64, Corrupt> {
    let size = u64::from(header.encoding.address_size);
    let at = index
        .checked_mul(size)
        .and_then(|at| at.checked_add(bases.addr))
        .ok_or(Corrupt)?;
    word_at(addr, at, size)
}

fn word_at(window: &mut Window, at: u64, size: u64) -> Result<u64, Corrupt> {
    match size {
        4 => window
            .array(at)
            .map(|word| u64::from(u32::from_le_bytes(word))),
        _ => window.array(at).map(u64::from_le_bytes),
    }
}

/// What an attribute refers to; `None` for what is no reference, or one to types.
pub(super) fn reference(value: &Value<'_>) -> Option<Reference> {
    match value {
        AttributeValue::UnitRef(offset) => Some(Reference::Unit(offset.0 as u64)),
        AttributeValue::DebugInfoRef(offset) => Some(Reference::Info(offset.0 as u64)),
        AttributeValue::DebugInfoRefSup(offset) => Some(Reference::Alternate(offset.0 as u64)),
        _ => None,
    }
}

/// The addresses of an entry, as its attributes give them.
#[derive(Default)]
pub(super) struct Extent<'a> {
    pub(super) low: Option<u64>,
    /// An address, or the distance from `low`.
    pub(super) high: Option<Value<'a>>,
    pub(super) ranges: Option<Value<'a>>,
}

/// A unit's way to its lists of ranges. In split DWARF 5 they are with the split unit, in DWARF 4 with the skeleton.
pub(super) struct Lists<'a> {
    pub(super) header: &'a UnitHeader,
    pub(super) bases: &'a Bases,
    pub(super) addr: &'a mut Window,
    pub(super) ranges: &'a mut Window,
    pub(super) rnglists: &'a mut Window,
}

impl Extent<'_> {
    /// Calls `each` with every range of addresses, first and behind the last, and with an empty one for what else stands in a list, so that
    /// `each` can count. Stops with [`Corrupt`] when `each` refuses.
    pub(super) fn ranges(
        &self,
        lists: &mut Lists<'_>,
        each: &mut impl FnMut(u64, u64) -> Result<(), Corrupt>,
    ) -> Result<(), Corrupt> {
        if let Some(value) = &self.ranges {
            return match lists.offset(value)? {
                Some(offset) => lists.read(offset, each),
                None => Ok(()),
            };
        }
        let (Some(low), Some(high)) = (self.low, &self.high) else {
            return Ok(());
        };
        let end = match address(high, lists.header, lists.bases, lists.addr)? {
            Some(end) => end,
            None => {
                let Some(size) = high.udata_value() else {
                    return Ok(());
                };
                low.checked_add(size).ok_or(Corrupt)?
            }
        };
        if low < end { each(low, end) } else { Ok(()) }
    }
}

impl Lists<'_> {
    /// Where in its section the list begins.
    fn offset(&mut self, value: &Value<'_>) -> Result<Option<u64>, Corrupt> {
        Ok(match value {
            AttributeValue::RangeListsRef(offset) => {
                Some((offset.0 as u64).saturating_add(self.bases.gnu_ranges))
            }
            AttributeValue::SecOffset(offset) => {
                Some((*offset as u64).saturating_add(self.bases.gnu_ranges))
            }
            AttributeValue::DebugRngListsIndex(index) => {
                let word = u64::from(self.header.encoding.format.word_size());
                let at = (index.0 as u64)
                    .checked_mul(word)
                    .and_then(|at| at.checked_add(self.bases.rnglists))
                    .ok_or(Corrupt)?;
                let distance = word_at(self.rnglists, at, word)?;
                Some(distance.checked_add(self.bases.rnglists).ok_or(Corrupt)?)
            }
            _ => None,
        })
    }

    fn read(
        &mut self,
        offset: u64,
        each: &mut impl FnMut(u64, u64) -> Result<(), Corrupt>,
    ) -> Result<(), Corrupt> {
        let is_5 = self.header.encoding.version >= 5;
        // Most lists are short. One that does not end in what is at hand is read anew, with more.
        let mut least: u64 = 4 << 10;
        let mut n_done = 0;
        loop {
            let window = if is_5 {
                &mut *self.rnglists
            } else {
                &mut *self.ranges
            };
            let rest = window.size().saturating_sub(offset);
            let bytes = window.at(offset, least)?;
            let is_all = bytes.len() as u64 >= rest;
            let ended = walk(bytes, self.header, self.bases, self.addr, &mut n_done, each)?;
            match (ended, is_all) {
                (true, _) => return Ok(()),
                (false, true) => return Err(Corrupt),
                (false, false) => {}
            }
            least = least.saturating_mul(8);
        }
    }
}

/// Goes through a list, leaving out the first `n_done` entries, which were seen before; whether it came to its end.
fn walk(
    bytes: &[u8],
    header: &UnitHeader,
    bases: &Bases,
    addr: &mut Window,
    n_done: &mut usize,
    each: &mut impl FnMut(u64, u64) -> Result<(), Corrupt>,
) -> Result<bool, Corrupt> {
    let mut list = List {
        bytes,
        address_size: header.encoding.address_size,
    };
    let mut base = bases.low_pc;
    let mut seen = 0;
    loop {
        let entry = match header.encoding.version >= 5 {
            true => list.entry()?,
            false => list.old_entry(),
        };
        let Some(entry) = entry else {
            return Ok(false);
        };
        seen += 1;
        let mut at = |index| indexed_address(index, header, bases, addr);
        let range = match entry {
            Entry::End => return Ok(true),
            Entry::Base(address) => {
                base = address;
                None
            }
            Entry::BaseIndex(index) => {
                base = at(index)?;
                None
            }
            Entry::FromBase(begin, end) => Some((base.wrapping_add(begin), base.wrapping_add(end))),
            Entry::Indexes(begin, end) => Some((at(begin)?, at(end)?)),
            Entry::IndexAndLength(begin, length) => {
                let begin = at(begin)?;
                Some((begin, begin.wrapping_add(length)))
            }
            Entry::Addresses(begin, end) => Some((begin, end)),
            Entry::AddressAndLength(begin, length) => Some((begin, begin.wrapping_add(length))),
        };
        if seen > *n_done {
            *n_done = seen;
            let (begin, end) = range.unwrap_or_default();
            each(begin, end)?;
        }
    }
}

/// An entry of a list of ranges: §2.17.3 and §7.25 of the DWARF 5 standard. gimli reads them too, but takes the end of its
/// bytes for the end of the list, and so cannot say whether more of the section has to be read.
enum Entry {
    End,
    Base(u64),
    BaseIndex(u64),
    FromBase(u64, u64),
    Indexes(u64, u64),
    IndexAndLength(u64, u64),
    Addresses(u64, u64),
    AddressAndLength(u64, u64),
}

/// The bytes of a list that are at hand.
struct List<'a> {
    bytes: &'a [u8],
    address_size: u8,
}

impl List<'_> {
    /// The next entry of `.debug_ranges`; `None` if it is not all at hand.
    fn old_entry(&mut self) -> Option<Entry> {
        let largest = match self.address_size {
            4 => u64::from(u32::MAX),
            _ => u64::MAX,
        };
        Some(match (self.address()?, self.address()?) {
            (0, 0) => Entry::End,
            (begin, end) if begin == largest => Entry::Base(end),
            (begin, end) => Entry::FromBase(begin, end),
        })
    }

    /// The next entry of `.debug_rnglists`; `Ok(None)` if it is not all at hand.
    fn entry(&mut self) -> Result<Option<Entry>, Corrupt> {
        let Some((kind, rest)) = self.bytes.split_first() else {
            return Ok(None);
        };
        self.bytes = rest;
        let kind = gimli::DwRle(*kind);
        let entry = match kind {
            gimli::DW_RLE_end_of_list => Some(Entry::End),
            gimli::DW_RLE_base_address => self.address().map(Entry::Base),
            gimli::DW_RLE_base_addressx => self.number().map(Entry::BaseIndex),
            gimli::DW_RLE_offset_pair => self.two(Self::number, Self::number, Entry::FromBase),
            gimli::DW_RLE_startx_endx => self.two(Self::number, Self::number, Entry::Indexes),
            gimli::DW_RLE_startx_length => {
                self.two(Self::number, Self::number, Entry::IndexAndLength)
            }
            gimli::DW_RLE_start_end => self.two(Self::address, Self::address, Entry::Addresses),
            gimli::DW_RLE_start_length => {
                self.two(Self::address, Self::number, Entry::AddressAndLength)
            }
            _ => return Err(Corrupt),
        };
        Ok(entry)
    }

    fn two(
        &mut self,
        first: fn(&mut Self) -> Option<u64>,
        second: fn(&mut Self) -> Option<u64>,
        entry: fn(u64, u64) -> Entry,
    ) -> Option<Entry> {
        let first = first(self)?;
        Some(entry(first, second(self)?))
    }

    fn address(&mut self) -> Option<u64> {
        if self.address_size == 4 {
            let (word, rest) = self.bytes.split_first_chunk()?;
            self.bytes = rest;
            return Some(u64::from(u32::from_le_bytes(*word)));
        }
        let (word, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(u64::from_le_bytes(*word))
    }

    fn number(&mut self) -> Option<u64> {
        let mut at = 0;
        let number = uleb128(self.bytes, &mut at)?;
        self.bytes = &self.bytes[at..];
        Some(number)
    }
}

/// Reads a string into memory, from the sections that its place is in.
pub(super) fn with_text<T>(
    text: Text<'_>,
    sections: &mut Sections,
    alternate: Option<&mut Sections>,
    work: impl FnOnce(&[u8]) -> T,
) -> Result<T, Corrupt> {
    Ok(match text {
        Text::Inline(bytes) => work(&bytes[..bytes.len().min(MAX_STRING)]),
        Text::Str(offset) => work(&sections.str.at(offset)?),
        Text::LineStr(offset) => work(&sections.line_str.at(offset)?),
        Text::AlternateStr(offset) => match alternate {
            Some(alternate) => work(&alternate.str.at(offset)?),
            None => work(&[]),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbolize::dwarf::header::UnitKind;
    use std::sync::Arc;

    fn ranges(version: u16, section: Vec<u8>) -> Result<Vec<(u64, u64)>, Corrupt> {
        let header = UnitHeader {
            offset: 0,
            size: 0,
            header_size: 0,
            encoding: gimli::Encoding {
                address_size: 8,
                format: gimli::Format::Dwarf32,
                version,
            },
            abbrev_offset: 0,
            kind: UnitKind::Code,
            dwo_id: None,
        };
        let bases = Bases {
            low_pc: 0x1000,
            ..Bases::default()
        };
        let addresses: Vec<u8> = [0x5000u64, 0x6000].map(u64::to_le_bytes).concat();
        let mut addr = Window::new(Some(Arc::new(addresses)), 64);
        let section: Arc<dyn crate::object::ReadAt> = Arc::new(section);
        // Narrow, so that lists end behind what is at hand.
        let mut lists = Lists {
            header: &header,
            bases: &bases,
            addr: &mut addr,
            ranges: &mut Window::new(Some(Arc::clone(&section)), 16),
            rnglists: &mut Window::new(Some(section), 16),
        };
        let mut found = Vec::new();
        lists.read(0, &mut |start, end| {
            // Entries that give no addresses are told of too.
            if start < end {
                found.push((start, end));
            }
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn a_list_that_is_longer_than_what_is_at_hand_is_read_to_its_end() {
        let entry = |number: u64| {
            [number * 16, number * 16 + 8]
                .map(u64::to_le_bytes)
                .concat()
        };
        let mut old: Vec<u8> = (1..3000).flat_map(entry).collect();
        old.extend_from_slice(&[0; 16]);
        let found = ranges(4, old.clone()).expect("whole");
        assert_eq!(found.len(), 2999);
        assert_eq!(found[2998], (0x1000 + 2999 * 16, 0x1008 + 2999 * 16));
        assert!(ranges(4, old[..old.len() - 16].to_vec()).is_err());

        let mut new: Vec<u8> = (0..3000).flat_map(|_| [4, 0x10, 0x20]).collect();
        new.push(0);
        assert_eq!(
            ranges(5, new.clone()).expect("whole"),
            [(0x1010, 0x1020); 3000]
        );
        new.pop();
        assert!(ranges(5, new).is_err());
    }

    #[test]
    fn every_kind_of_entry_is_understood() {
        let mut list = vec![4, 1, 2, 1, 1, 4, 1, 2, 2, 0, 1, 3, 1, 0x10];
        list.push(5);
        list.extend_from_slice(&0x7000u64.to_le_bytes());
        list.extend_from_slice(&[4, 1, 2, 6]);
        list.extend_from_slice(&[0x8000u64, 0x8001].map(u64::to_le_bytes).concat());
        list.push(7);
        list.extend_from_slice(&0x9000u64.to_le_bytes());
        list.extend_from_slice(&[3, 0]);
        let expected = [
            (0x1001, 0x1002),
            (0x6001, 0x6002),
            (0x5000, 0x6000),
            (0x6000, 0x6010),
            (0x7001, 0x7002),
            (0x8000, 0x8001),
            (0x9000, 0x9003),
        ];
        assert_eq!(ranges(5, list).expect("whole"), expected);
        assert!(ranges(5, vec![9, 0]).is_err());
    }
}
