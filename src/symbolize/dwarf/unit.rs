//! From one unit's entries and line program to its table.
//!
//! Entries are read one after the other, as they stand: functions, what was inlined into them, and where; everything else
//! is stepped over. Work is bounded by what the unit has: names are looked up once for each entry, and range lists,
//! which many entries could share, have an allowance.

use std::ops::Range;

use gimli::{Abbreviation, EndianSlice, EntriesRaw, LittleEndian, UnitOffset};

use super::Corrupt;
use super::abbreviations;
use super::forms::{Bytes, Value, address};
use super::header::UnitHeader;
use super::lines;
use super::names::{self, In, NameAttributes, Names, UnitView};
use super::ranges::{Extent, Lists};
use super::root::{Root, Wanted};
use super::sections::{Sections, Sources};
use super::split::SplitUnit;
use crate::symbolize::store::Growing;
use crate::symbolize::table::{Draft, NONE, Scope, ScopeRange};

/// Functions inside of each other: a compiler inlines some tens deep.
const MAX_DEPTH: usize = 256;
/// Bytes of a unit; the largest have some ten million.
const LARGEST: u64 = 256 << 20;
/// Attributes of all entries of a unit, beside four times as many as it has bytes: some take none.
const FREE_ATTRIBUTES: u64 = 1 << 24;
/// Entries in lists of ranges of a unit's functions, beside as many as it has bytes.
const FREE_RANGES: u64 = 1 << 20;

/// One reader of a file's units: its windows, and what it remembers from unit to unit.
pub(super) struct UnitReader {
    main: Sections,
    alternate: Option<Sections>,
    code: Range<u64>,
    names: Names,
    bytes: Vec<u8>,
}

impl UnitReader {
    /// A reader of the file with these sections, which has code at `code`.
    pub(super) fn new(main: &Sources, alternate: Option<&Sources>, code: Range<u64>) -> UnitReader {
        UnitReader {
            main: Sections::new(main),
            alternate: alternate.map(Sections::new),
            code,
            names: Names::default(),
            bytes: Vec::new(),
        }
    }

    /// The table of the unit at `offset`, whose texts go to `growing`; `None` if it has no code. `find_split` finds the unit
    /// proper of a skeleton.
    pub(super) fn table(
        &mut self,
        offset: u64,
        growing: &Growing,
        find_split: &dyn Fn(&Root) -> Option<SplitUnit>,
    ) -> Result<Option<Vec<u8>>, Corrupt> {
        let parsed = UnitHeader::read(&mut self.main.info, offset)?;
        let Some(header) = parsed.header else {
            return Ok(None);
        };
        self.main.abbrev.allow(abbreviations::FOR_A_UNIT);
        if let Some(alternate) = &mut self.alternate {
            alternate.abbrev.allow(abbreviations::FOR_A_UNIT);
        }
        self.names.begin(header.size);
        let root = Root::read(
            &header,
            &mut self.main,
            self.alternate.as_mut(),
            Wanted::All,
            |_, _, _| Ok(()),
        )?;
        let (mut files, rows) = lines::read(
            &root,
            &header,
            &mut self.main,
            self.alternate.as_mut(),
            &self.code,
            growing,
        )?;
        let mut draft = Draft {
            rows,
            ..Draft::default()
        };
        let split = root.split_file.as_ref().and_then(|_| find_split(&root));
        let mut walk = Walk {
            draft: &mut draft,
            files: &mut files,
            growing,
            code: &self.code,
            names: &mut self.names,
            n_ranges_left: FREE_RANGES + header.size,
            n_attributes_left: FREE_ATTRIBUTES + 4 * header.size.min(LARGEST),
            open: Vec::new(),
        };
        match split {
            Some(split) => {
                let mut sections = Sections::new(&split.sources);
                let (split_header, bases) = split.open(&mut sections, &root)?;
                if split_header.size > LARGEST {
                    return Err(Corrupt);
                }
                sections
                    .info
                    .read(split_header.offset, split_header.size, &mut self.bytes)?;
                // What one split file says of its strings says nothing about the next one's.
                *walk.names = Names::default();
                walk.names.begin(split_header.size);
                walk.n_ranges_left = FREE_RANGES + split_header.size;
                walk.n_attributes_left = FREE_ATTRIBUTES + 4 * split_header.size.min(LARGEST);
                let unit = UnitView {
                    place: In::Split,
                    header: &split_header,
                    bases: &bases,
                    has_scopes: split.has_scopes(&mut sections, &split_header)?,
                };
                let files = names::Files {
                    main: &mut self.main,
                    split: Some(&mut sections),
                    alternate: self.alternate.as_mut(),
                };
                walk.unit(&self.bytes, unit, files)?;
                *walk.names = Names::default();
            }
            None if header.size > LARGEST => return Err(Corrupt),
            None => {
                self.main
                    .info
                    .read(header.offset, header.size, &mut self.bytes)?;
                let unit = UnitView {
                    place: In::Main,
                    header: &header,
                    bases: &root.bases,
                    has_scopes: root.language.is_some_and(names::has_scopes),
                };
                let files = names::Files {
                    main: &mut self.main,
                    split: None,
                    alternate: self.alternate.as_mut(),
                };
                walk.unit(&self.bytes, unit, files)?;
            }
        }
        draft.files = files.texts;
        Ok(draft.table())
    }
}

struct Walk<'a> {
    draft: &'a mut Draft,
    files: &'a mut lines::Files,
    growing: &'a Growing,
    code: &'a Range<u64>,
    names: &'a mut Names,
    n_ranges_left: u64,
    n_attributes_left: u64,
    /// Functions around the present entry: how deep they stand, and their scopes; [`NONE`] for one without code.
    open: Vec<(isize, u32)>,
}

impl Walk<'_> {
    fn unit(
        &mut self,
        bytes: &[u8],
        unit: UnitView<'_>,
        mut files: names::Files<'_>,
    ) -> Result<(), Corrupt> {
        let table = {
            let sections = match (&mut files.split, unit.place) {
                (Some(split), In::Split) => &mut **split,
                _ => &mut *files.main,
            };
            sections.abbrev.table(unit.header.abbrev_offset)?
        };
        let header_size = usize::try_from(unit.header.header_size).map_err(|_| Corrupt)?;
        let rest = bytes.get(header_size..).ok_or(Corrupt)?;
        let mut entries = EntriesRaw::new(
            EndianSlice::new(rest, LittleEndian),
            unit.header.encoding,
            &table,
            UnitOffset(header_size),
        );
        while !entries.is_empty() {
            let depth = entries.next_depth();
            let Some(abbreviation) = entries.read_abbreviation().map_err(|_| Corrupt)? else {
                // Padding behind the unit's last entry is nulls too.
                continue;
            };
            // Whatever stands no deeper than a function is behind it, a block that has others in it too.
            while self.open.pop_if(|(open, _)| *open >= depth).is_some() {}
            let n_attributes = abbreviation.attributes().len() as u64;
            self.n_attributes_left = self
                .n_attributes_left
                .checked_sub(n_attributes)
                .ok_or(Corrupt)?;
            match abbreviation.tag() {
                gimli::DW_TAG_subprogram | gimli::DW_TAG_inlined_subroutine => {
                    self.function(depth, abbreviation, &mut entries, unit, &mut files)?;
                }
                _ => entries
                    .skip_attributes(abbreviation.attributes())
                    .map_err(|_| Corrupt)?,
            }
        }
        Ok(())
    }

    fn function(
        &mut self,
        depth: isize,
        abbreviation: &Abbreviation,
        entries: &mut EntriesRaw<'_, Bytes<'_>>,
        unit: UnitView<'_>,
        files: &mut names::Files<'_>,
    ) -> Result<(), Corrupt> {
        let mut low: Option<Value<'_>> = None;
        let mut extent = Extent::default();
        let mut name = NameAttributes::default();
        let (mut call_file, mut call_line) = (None, 0);
        for spec in abbreviation.attributes() {
            let attribute = entries.read_attribute_inline(*spec).map_err(|_| Corrupt)?;
            match attribute.name() {
                gimli::DW_AT_low_pc => low = Some(attribute.value()),
                gimli::DW_AT_high_pc => extent.high = Some(attribute.value()),
                gimli::DW_AT_ranges => extent.ranges = Some(attribute.value()),
                gimli::DW_AT_call_file => {
                    call_file = match attribute.value() {
                        gimli::AttributeValue::FileIndex(file) => Some(file),
                        value => value.udata_value(),
                    }
                }
                gimli::DW_AT_call_line => call_line = attribute.udata_value().unwrap_or_default(),
                other => name.take(other, attribute.value()),
            }
        }
        let parent = match abbreviation.tag() {
            gimli::DW_TAG_inlined_subroutine => self.open.last().map_or(NONE, |(_, scope)| *scope),
            _ => NONE,
        };
        let is_orphan = abbreviation.tag() == gimli::DW_TAG_inlined_subroutine && parent == NONE;
        let has_code = !is_orphan && (low.is_some() || extent.ranges.is_some());
        let scope = if has_code {
            if let Some(low) = &low {
                extent.low = address(low, unit.header, unit.bases, &mut files.main.addr)?;
            }
            self.add(&extent, unit, files, |walk, files| {
                let name = walk.names.number(&name, unit, files, walk.growing)?;
                let call_file = match (parent, call_file) {
                    (NONE, _) | (_, None) => NONE,
                    (_, Some(file)) => walk.files.number(file, walk.growing),
                };
                Ok(Scope {
                    parent,
                    name,
                    call_file,
                    call_line: u32::try_from(call_line).unwrap_or_default(),
                })
            })?
        } else {
            NONE
        };
        if abbreviation.has_children() {
            if self.open.len() >= MAX_DEPTH {
                return Err(Corrupt);
            }
            self.open.push((depth, scope));
        }
        Ok(())
    }

    /// Adds the ranges of a function, and the function if it has any; its number.
    fn add(
        &mut self,
        extent: &Extent<'_>,
        unit: UnitView<'_>,
        files: &mut names::Files<'_>,
        scope: impl FnOnce(&mut Self, &mut names::Files<'_>) -> Result<Scope, Corrupt>,
    ) -> Result<u32, Corrupt> {
        let number = u32::try_from(self.draft.scopes.len()).map_err(|_| Corrupt)?;
        let before = self.draft.ranges.len();
        let main = &mut *files.main;
        let is_split_5 = unit.place == In::Split && unit.header.encoding.version >= 5;
        let rnglists = match files.split.as_deref_mut() {
            Some(split) if is_split_5 => &mut split.rnglists,
            _ => &mut main.rnglists,
        };
        let mut lists = Lists {
            header: unit.header,
            bases: unit.bases,
            addr: &mut main.addr,
            ranges: &mut main.ranges,
            rnglists,
        };
        let Walk {
            draft,
            code,
            n_ranges_left,
            ..
        } = self;
        extent.ranges(&mut lists, &mut |start, end| {
            *n_ranges_left = n_ranges_left.checked_sub(1).ok_or(Corrupt)?;
            if start < end && code.contains(&start) {
                draft.ranges.push(ScopeRange {
                    start,
                    end: end.min(code.end),
                    scope: number,
                });
            }
            Ok(())
        })?;
        if self.draft.ranges.len() == before {
            return Ok(NONE);
        }
        let scope = scope(self, files)?;
        self.draft.scopes.push(scope);
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_can_be_given_to_a_thread() {
        fn assert_send<T: Send>() {}
        assert_send::<UnitReader>();
    }
}
