//! What the values of attributes mean: addresses, strings, references.

use gimli::{AttributeValue, EndianSlice, LittleEndian};

use super::Corrupt;
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

pub(super) fn indexed_address(
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

pub(super) fn word_at(window: &mut Window, at: u64, size: u64) -> Result<u64, Corrupt> {
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
