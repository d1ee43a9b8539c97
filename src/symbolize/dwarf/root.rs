//! A unit's first entry: where its code is, and how the rest is to be read.

use std::sync::Arc;

use gimli::{EndianSlice, EntriesRaw, LittleEndian, UnitOffset};

use super::forms::{Bases, Extent, Text, Value, address, text, with_text};
use super::header::UnitHeader;
use super::sections::Sections;
use super::{Corrupt, abbreviations};

/// Bytes that a first entry may have. The longest, of a compiler that writes its command line there, have some thousands.
const LONGEST: u64 = 64 << 10;
/// Bytes that are enough for most.
const USUAL: u64 = 256;

/// The first entry of a unit, with its strings copied.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) bases: Bases,
    /// Where the line program begins in `.debug_line`.
    pub(super) lines: Option<u64>,
    pub(super) name: Vec<u8>,
    pub(super) directory: Vec<u8>,
    pub(super) language: Option<gimli::DwLang>,
    /// Of a skeleton: the file that has the unit proper.
    pub(super) split_file: Option<Vec<u8>>,
    /// The number that a skeleton and its split unit are known by.
    pub(super) split_id: Option<u64>,
}

/// How much of it is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Where the unit's code is.
    Extent,
    /// All.
    All,
}

impl Root {
    /// Reads the entry, and tells `extent` where the unit's code is.
    pub(super) fn read(
        header: &UnitHeader,
        sections: &mut Sections,
        alternate: Option<&mut Sections>,
        wanted: Wanted,
        extent: impl FnOnce(&Extent<'_>, &Bases, &mut Sections) -> Result<(), Corrupt>,
    ) -> Result<Root, Corrupt> {
        let size = header.size - header.header_size;
        let at = header.offset + header.header_size;
        // The attributes borrow from the entry's bytes while other sections are read.
        let mut entry = Vec::new();
        let mut n_bytes = USUAL;
        loop {
            let bytes = sections.info.at(at, n_bytes.min(size))?;
            entry.clear();
            let n_taken = usize::try_from(n_bytes.min(size)).map_err(|_| Corrupt)?;
            entry.extend_from_slice(bytes.get(..n_taken).ok_or(Corrupt)?);
            let mut code_at = 0;
            let code = abbreviations::uleb128(&entry, &mut code_at).ok_or(Corrupt)?;
            let table = match sections.abbrev.only(header.abbrev_offset, code) {
                Some(table) => Arc::new(table),
                None => sections.abbrev.table(header.abbrev_offset)?,
            };
            let entries = EntriesRaw::new(
                EndianSlice::new(&entry, LittleEndian),
                header.encoding,
                &table,
                UnitOffset(0),
            );
            match Attributes::read(entries) {
                Ok(attributes) => {
                    return attributes.root(header, sections, alternate, wanted, extent);
                }
                Err(gimli::Error::UnexpectedEof(_)) if n_bytes < size.min(LONGEST) => n_bytes *= 16,
                Err(_) => return Err(Corrupt),
            }
        }
    }
}

/// The attributes that matter, not interpreted yet: what they mean depends on others behind them.
#[derive(Default)]
struct Attributes<'a> {
    extent: Extent<'a>,
    low: Option<Value<'a>>,
    lines: Option<u64>,
    name: Option<Value<'a>>,
    directory: Option<Value<'a>>,
    language: Option<gimli::DwLang>,
    split_name: Option<Value<'a>>,
    split_id: Option<u64>,
    addr: Option<u64>,
    str_offsets: Option<u64>,
    rnglists: Option<u64>,
    gnu_ranges: Option<u64>,
}

impl<'a> Attributes<'a> {
    fn read(
        mut entries: EntriesRaw<'_, EndianSlice<'a, LittleEndian>>,
    ) -> gimli::Result<Attributes<'a>> {
        let mut read = Attributes::default();
        let Some(abbreviation) = entries.read_abbreviation()? else {
            return Ok(read);
        };
        for spec in abbreviation.attributes() {
            let attribute = entries.read_attribute(*spec)?;
            let value = attribute.value();
            let offset = || attribute.offset_value().map(|offset| offset as u64);
            match attribute.name() {
                gimli::DW_AT_low_pc => read.low = Some(value),
                gimli::DW_AT_high_pc => read.extent.high = Some(value),
                gimli::DW_AT_ranges => read.extent.ranges = Some(value),
                gimli::DW_AT_stmt_list => read.lines = offset(),
                gimli::DW_AT_name => read.name = Some(value),
                gimli::DW_AT_comp_dir => read.directory = Some(value),
                gimli::DW_AT_language => {
                    if let gimli::AttributeValue::Language(language) = value {
                        read.language = Some(language);
                    }
                }
                gimli::DW_AT_dwo_name | gimli::DW_AT_GNU_dwo_name => read.split_name = Some(value),
                gimli::DW_AT_GNU_dwo_id => {
                    read.split_id = match value {
                        gimli::AttributeValue::DwoId(id) => Some(id.0),
                        _ => value.udata_value(),
                    }
                }
                gimli::DW_AT_addr_base | gimli::DW_AT_GNU_addr_base => read.addr = offset(),
                gimli::DW_AT_str_offsets_base => read.str_offsets = offset(),
                gimli::DW_AT_rnglists_base => read.rnglists = offset(),
                gimli::DW_AT_GNU_ranges_base => read.gnu_ranges = offset(),
                _ => {}
            }
        }
        Ok(read)
    }

    fn root(
        mut self,
        header: &UnitHeader,
        sections: &mut Sections,
        mut alternate: Option<&mut Sections>,
        wanted: Wanted,
        extent: impl FnOnce(&Extent<'_>, &Bases, &mut Sections) -> Result<(), Corrupt>,
    ) -> Result<Root, Corrupt> {
        let default = Bases::default_of(header);
        let mut bases = Bases {
            addr: self.addr.unwrap_or(default.addr),
            str_offsets: self.str_offsets.unwrap_or(default.str_offsets),
            rnglists: self.rnglists.unwrap_or(default.rnglists),
            // What a skeleton says of it holds for its split unit, not for itself.
            gnu_ranges: 0,
            low_pc: 0,
        };
        if let Some(low) = &self.low {
            self.extent.low = address(low, header, &bases, &mut sections.addr)?;
            bases.low_pc = self.extent.low.unwrap_or_default();
        }
        extent(&self.extent, &bases, sections)?;
        let mut root = Root {
            lines: self.lines,
            language: self.language,
            split_id: header.dwo_id.or(self.split_id),
            ..Root::default()
        };
        if wanted == Wanted::All {
            let mut string = |value: Option<Value<'_>>| -> Result<Vec<u8>, Corrupt> {
                let place = match value {
                    Some(value) => text(value, header, &bases, &mut sections.str_offsets)?,
                    None => None,
                };
                let place = place.unwrap_or(Text::Inline(&[]));
                with_text(place, sections, alternate.as_deref_mut(), <[u8]>::to_vec)
            };
            root.name = string(self.name)?;
            root.directory = string(self.directory)?;
            if self.split_name.is_some() {
                root.split_file = Some(string(self.split_name)?);
            }
        }
        bases.gnu_ranges = self.gnu_ranges.unwrap_or_default();
        root.bases = bases;
        Ok(root)
    }
}
