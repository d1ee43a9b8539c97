//! The name of a function's entry, which may stand in another entry that it refers to, of another unit or another file.

use std::collections::hash_map::Entry;

use gimli::{Abbreviations, EndianSlice, EntriesRaw, LittleEndian, UnitOffset};
use rustc_hash::FxHashMap;

use super::Corrupt;
use super::forms::{Bases, Reference, Text, Value, reference, text, with_text};
use super::header::UnitHeader;
use super::root::{Root, Wanted};
use super::sections::Sections;
use crate::symbolize::store::{Growing, TextFlags};
use crate::symbolize::table::NONE;

/// References from an entry to the one that has its name: an inlined call to its function, to that in its class.
const MAX_STEPS: usize = 16;
/// Bytes of an entry that are at hand at once; one that has more is read with more.
const USUAL: u64 = 512;
const LONGEST: u64 = 64 << 10;
/// Names by reference that are remembered.
const MAX_REMEMBERED: usize = 1 << 18;

/// Which file a unit is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum In {
    /// The file that is read.
    Main,
    /// A file of split units.
    Split,
    /// The file that `.gnu_debugaltlink` names.
    Alternate,
}

/// Names that were looked up.
#[derive(Default)]
pub(super) struct Names {
    by_reference: FxHashMap<(In, u64), u32>,
    /// All units of files whose units refer to each other, by place.
    units: FxHashMap<In, Vec<UnitHeader>>,
    /// What it takes to read strings in those that were referred to.
    known: FxHashMap<(In, u64), (Bases, bool)>,
    /// Bytes of names that may still be read for the present unit, and attributes of entries that it refers to.
    left: u64,
}

/// What a unit may take of both beside sixteen times as many as it has bytes: many entries can refer to few long names.
const FREE: u64 = 32 << 20;

/// The attributes of an entry that its name depends on.
#[derive(Default)]
pub(super) struct NameAttributes<'a> {
    pub(super) linkage: Option<Value<'a>>,
    pub(super) name: Option<Value<'a>>,
    pub(super) origin: Option<Reference>,
}

impl<'a> NameAttributes<'a> {
    /// Takes an attribute in, if it is one of them.
    #[inline]
    pub(super) fn take(&mut self, name: gimli::DwAt, value: Value<'a>) {
        match name {
            gimli::DW_AT_linkage_name | gimli::DW_AT_MIPS_linkage_name => {
                self.linkage = Some(value);
            }
            gimli::DW_AT_name => self.name = Some(value),
            gimli::DW_AT_abstract_origin | gimli::DW_AT_specification => {
                self.origin = reference(&value);
            }
            _ => {}
        }
    }
}

/// A unit while entries of it are read.
#[derive(Clone, Copy)]
pub(super) struct UnitView<'a> {
    pub(super) place: In,
    pub(super) header: &'a UnitHeader,
    pub(super) bases: &'a Bases,
    pub(super) has_scopes: bool,
}

/// The sections of the three files.
pub(super) struct Files<'a> {
    pub(super) main: &'a mut Sections,
    pub(super) split: Option<&'a mut Sections>,
    pub(super) alternate: Option<&'a mut Sections>,
}

impl Files<'_> {
    fn of(&mut self, place: In) -> Option<&mut Sections> {
        match place {
            In::Main => Some(self.main),
            In::Split => self.split.as_deref_mut(),
            In::Alternate => self.alternate.as_deref_mut(),
        }
    }
}

/// A name where it was found.
enum FoundName {
    Linkage(u32),
    Plain(u32),
    None,
}

impl Names {
    /// From now on names of a unit of so many bytes are looked up.
    pub(super) fn begin(&mut self, n_bytes: u64) {
        self.left = FREE.saturating_add(n_bytes.saturating_mul(16));
    }

    fn spend(&mut self, n: usize) -> Result<(), Corrupt> {
        self.left = self.left.checked_sub(n as u64).ok_or(Corrupt)?;
        Ok(())
    }

    /// The number of the name of an entry with these attributes; [`NONE`] if it has none.
    pub(super) fn number(
        &mut self,
        attributes: &NameAttributes<'_>,
        unit: UnitView<'_>,
        files: &mut Files<'_>,
        growing: &Growing,
    ) -> Result<u32, Corrupt> {
        let found = self.of_entry(attributes, unit, files, growing, 0)?;
        Ok(match found {
            FoundName::Linkage(number) | FoundName::Plain(number) => number,
            FoundName::None => NONE,
        })
    }

    /// A linkage name counts before a plain one that is nearer.
    fn of_entry(
        &mut self,
        attributes: &NameAttributes<'_>,
        unit: UnitView<'_>,
        files: &mut Files<'_>,
        growing: &Growing,
        n_steps: usize,
    ) -> Result<FoundName, Corrupt> {
        if let Some(value) = &attributes.linkage
            && let Some(number) = self.keep(*value, unit, files, growing, false)?
        {
            return Ok(FoundName::Linkage(number));
        }
        let mut elsewhere = FoundName::None;
        if let Some(origin) = attributes.origin {
            elsewhere = self.of_reference(origin, unit, files, growing, n_steps)?;
            if let FoundName::Linkage(_) = elsewhere {
                return Ok(elsewhere);
            }
        }
        if let Some(value) = &attributes.name
            && let Some(number) = self.keep(*value, unit, files, growing, unit.has_scopes)?
        {
            return Ok(FoundName::Plain(number));
        }
        Ok(elsewhere)
    }

    fn of_reference(
        &mut self,
        origin: Reference,
        unit: UnitView<'_>,
        files: &mut Files<'_>,
        growing: &Growing,
        n_steps: usize,
    ) -> Result<FoundName, Corrupt> {
        if n_steps >= MAX_STEPS {
            return Err(Corrupt);
        }
        let (place, offset) = match origin {
            Reference::Unit(offset) if offset < unit.header.size => {
                (unit.place, unit.header.offset + offset)
            }
            Reference::Unit(_) => return Err(Corrupt),
            Reference::Info(offset) => (unit.place, offset),
            Reference::Alternate(offset) => (In::Alternate, offset),
        };
        // Whether a name is a linkage name is the sign bit of what is remembered: numbers of texts do not reach it.
        if let Some(known) = self.by_reference.get(&(place, offset)) {
            return Ok(remembered(*known));
        }
        let found =
            if place == unit.place && offset < unit.header.end() && offset >= unit.header.offset {
                self.read_entry(offset, unit, files, growing, n_steps)?
            } else {
                let Some((header, bases, has_scopes)) = self.unit_of(place, offset, files)? else {
                    return Ok(FoundName::None);
                };
                let other = UnitView {
                    place,
                    header: &header,
                    bases: &bases,
                    has_scopes,
                };
                self.read_entry(offset, other, files, growing, n_steps)?
            };
        if self.by_reference.len() >= MAX_REMEMBERED {
            self.by_reference.clear();
        }
        self.by_reference.insert((place, offset), packed(&found));
        Ok(found)
    }

    fn read_entry(
        &mut self,
        offset: u64,
        unit: UnitView<'_>,
        files: &mut Files<'_>,
        growing: &Growing,
        n_steps: usize,
    ) -> Result<FoundName, Corrupt> {
        let rest = unit.header.end() - offset;
        let mut n_bytes = USUAL;
        loop {
            let Some(sections) = files.of(unit.place) else {
                return Ok(FoundName::None);
            };
            let table = sections.abbrev.table(unit.header.abbrev_offset)?;
            // A copy, since strings are read while the attributes borrow from it.
            let n_taken = n_bytes.min(rest);
            let bytes = sections.info.at(offset, n_taken)?;
            let n_taken = usize::try_from(n_taken).map_err(|_| Corrupt)?;
            let entry = bytes.get(..n_taken).ok_or(Corrupt)?.to_vec();
            self.spend(n_taken / 16)?;
            match attributes_of(&entry, unit.header, &table) {
                Ok(attributes) => {
                    return self.of_entry(&attributes, unit, files, growing, n_steps + 1);
                }
                Err(gimli::Error::UnexpectedEof(_)) if n_bytes < rest.min(LONGEST) => n_bytes *= 16,
                Err(_) => return Err(Corrupt),
            }
        }
    }

    /// The unit that an offset of `.debug_info` is in, with what it takes to read strings in it.
    fn unit_of(
        &mut self,
        place: In,
        offset: u64,
        files: &mut Files<'_>,
    ) -> Result<Option<(UnitHeader, Bases, bool)>, Corrupt> {
        let Some(sections) = files.of(place) else {
            return Ok(None);
        };
        let units = match self.units.entry(place) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(all_units(sections)?),
        };
        let behind = units.partition_point(|unit| unit.offset <= offset);
        let header = behind.checked_sub(1).and_then(|idx| units.get(idx));
        let Some(header) = header.filter(|header| offset < header.end()).copied() else {
            return Err(Corrupt);
        };
        if let Some((bases, has_scopes)) = self.known.get(&(place, header.offset)) {
            return Ok(Some((header, *bases, *has_scopes)));
        }
        let root = Root::read(&header, sections, None, Wanted::Extent, |_, _, _| Ok(()))?;
        let known = (root.bases, root.language.is_some_and(has_scopes));
        if self.known.len() >= MAX_REMEMBERED {
            self.known.clear();
        }
        self.known.insert((place, header.offset), known);
        Ok(Some((header, known.0, known.1)))
    }
}

/// More units than any file has whose units refer to each other.
const MAX_UNITS: usize = 1 << 18;

fn all_units(sections: &mut Sections) -> Result<Vec<UnitHeader>, Corrupt> {
    let mut units = Vec::new();
    let mut offset = 0;
    while offset < sections.info.size() {
        let parsed = UnitHeader::read(&mut sections.info, offset)?;
        units.extend(parsed.header);
        if units.len() > MAX_UNITS {
            return Err(Corrupt);
        }
        offset = parsed.end;
    }
    Ok(units)
}

fn attributes_of<'a>(
    entry: &'a [u8],
    header: &UnitHeader,
    table: &Abbreviations,
) -> gimli::Result<NameAttributes<'a>> {
    let bytes = EndianSlice::new(entry, LittleEndian);
    let mut entries = EntriesRaw::new(bytes, header.encoding, table, UnitOffset(0));
    let mut attributes = NameAttributes::default();
    if let Some(abbreviation) = entries.read_abbreviation()? {
        for spec in abbreviation.attributes() {
            let attribute = entries.read_attribute(*spec)?;
            attributes.take(attribute.name(), attribute.value());
        }
    }
    Ok(attributes)
}

impl Names {
    /// Adds a name to the texts; `None` if there is none.
    fn keep(
        &mut self,
        value: Value<'_>,
        unit: UnitView<'_>,
        files: &mut Files<'_>,
        growing: &Growing,
        may_be_bare: bool,
    ) -> Result<Option<u32>, Corrupt> {
        let Some(sections) = files.of(unit.place) else {
            return Ok(None);
        };
        let Some(place) = text(value, unit.header, unit.bases, &mut sections.str_offsets)? else {
            return Ok(None);
        };
        let key = match place {
            Text::Inline(_) => None,
            Text::Str(offset) => Some((unit.place, 0, offset)),
            Text::LineStr(offset) => Some((unit.place, 1, offset)),
            Text::AlternateStr(offset) => Some((In::Alternate, 0, offset)),
        };
        // Split files have strings of their own each: an offset does not tell them apart.
        let key =
            key.filter(|(place, _, _)| *place != In::Split)
                .map(|(place, section, offset)| {
                    offset << 4
                        | section << 3
                        | u64::from(place == In::Alternate) << 2
                        | u64::from(may_be_bare)
                });
        if let Some(number) = key.and_then(|key| growing.at_place(key)) {
            return Ok((number != NONE).then_some(number));
        }
        let in_unit = unit.place;
        let (sections, alternate) = match in_unit {
            In::Main => (&mut *files.main, files.alternate.as_deref_mut()),
            In::Split => match files.split.as_deref_mut() {
                Some(split) => (split, None),
                None => return Ok(None),
            },
            In::Alternate => match files.alternate.as_deref_mut() {
                Some(alternate) => (alternate, None),
                None => return Ok(None),
            },
        };
        let mut n_bytes = 0;
        let number = with_text(place, sections, alternate, |name| {
            n_bytes = name.len();
            if name.is_empty() {
                return NONE;
            }
            // The GNU C library calls its own functions by aliases (`__GI___qsort_r`) that nobody else can.
            let is_bare = match may_be_bare {
                true => !name.starts_with(b"_Z"),
                false => name.starts_with(b"__GI_"),
            };
            growing.name(key, name, TextFlags { is_bare })
        })?;
        self.spend(n_bytes)?;
        Ok((number != NONE).then_some(number))
    }
}

const IS_LINKAGE: u32 = 1 << 31;

fn packed(found: &FoundName) -> u32 {
    match found {
        FoundName::None => NONE,
        FoundName::Plain(number) => *number,
        FoundName::Linkage(number) => number | IS_LINKAGE,
    }
}

fn remembered(packed: u32) -> FoundName {
    match packed {
        NONE => FoundName::None,
        number if number & IS_LINKAGE != 0 => FoundName::Linkage(number & !IS_LINKAGE),
        number => FoundName::Plain(number),
    }
}

/// Whether the plain names of a language's functions lack the scopes that they are in.
pub(super) fn has_scopes(language: gimli::DwLang) -> bool {
    matches!(
        language,
        gimli::DW_LANG_C_plus_plus
            | gimli::DW_LANG_C_plus_plus_03
            | gimli::DW_LANG_C_plus_plus_11
            | gimli::DW_LANG_C_plus_plus_14
            | gimli::DW_LANG_C_plus_plus_17
            | gimli::DW_LANG_C_plus_plus_20
            | gimli::DW_LANG_Rust
    )
}
