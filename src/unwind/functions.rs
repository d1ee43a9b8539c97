//! The function entries of an unwind section, and the rows of each.
//!
//! Every entry is looked at, in order; `.eh_frame_hdr` is not trusted.

use std::cmp::Reverse;

use gimli::{
    BaseAddresses, CommonInformationEntry, EndianSlice, FrameDescriptionEntry, LittleEndian,
    Register, RegisterRule, UnwindContext, UnwindContextStorage, UnwindOffset, UnwindSection,
    UnwindTableRow,
};

use super::encoder::{Encoder, TableLimit};
use super::{CodeRange, Rule};
use crate::arch::{Base, Machine};

pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;

/// Room for the evaluation of one function. No compiler names more registers; a hostile file that does is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage;

impl UnwindContextStorage<usize> for Storage {
    type Rules = [(Register, RegisterRule<usize>); 40];
    type Stack = Box<[UnwindTableRow<usize, Self>; 8]>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryKind {
    EhFrame,
    DebugFrame,
}

/// The code of one function, before its rows are evaluated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// File offset of its first byte.
    pub(super) start: u64,
    /// File offset behind its last byte.
    pub(super) end: u64,
    /// Linked address − file offset.
    bias: u64,
    /// Where in the section its entry is.
    entry: u32,
    pub(super) kind: EntryKind,
}

/// Whether a function's rows are all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whole {
    Yes,
    No,
}

/// The function entries of one section.
pub(super) struct Functions<'a, S> {
    machine: Machine,
    section: S,
    bases: BaseAddresses,
    bytes: &'a [u8],
    kind: EntryKind,
    headers: Headers<'a>,
}

impl<'a, S> Functions<'a, S>
where
    S: UnwindSection<Bytes<'a>>,
{
    pub(super) fn new(
        machine: Machine,
        section: S,
        bases: BaseAddresses,
        bytes: &'a [u8],
        kind: EntryKind,
    ) -> Functions<'a, S> {
        Functions {
            machine,
            section,
            bases,
            bytes,
            kind,
            headers: Headers::new(bytes),
        }
    }

    /// The functions that lie in `code`, sorted, disjoint.
    pub(super) fn spans(&mut self, code: &[CodeRange], skipped: &mut u32) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut range: Option<&CodeRange> = None;
        for entry in entries(self.bytes, self.kind) {
            let Some(function) = self.function(entry) else {
                *skipped += 1;
                continue;
            };
            let address = function.initial_address();
            if !range.is_some_and(|range| holds(range, address)) {
                range = code.iter().find(|range| holds(range, address));
            }
            // A function that the linker dropped stands at address 0, or anywhere: it has no code.
            let Some(range) = range.filter(|range| holds(range, address)) else {
                continue;
            };
            let bias = range.address.wrapping_sub(range.file_offset);
            let start = address.wrapping_sub(bias);
            let room = range.size - (address - range.address);
            let end = start.saturating_add(function.len().min(room));
            if start < end {
                spans.push(Span {
                    start,
                    end,
                    bias,
                    entry,
                    kind: self.kind,
                });
            }
        }
        spans.sort_by_key(|span| (span.start, Reverse(span.end)));
        spans.dedup_by_key(|span| span.start);
        for idx in 1..spans.len() {
            let next = spans[idx].start;
            let span = &mut spans[idx - 1];
            span.end = span.end.min(next);
        }
        spans
    }

    fn function(&mut self, entry: u32) -> Option<FrameDescriptionEntry<Bytes<'a>>> {
        let offset = S::Offset::from(entry as usize);
        let partial = self
            .section
            .partial_fde_from_offset(&self.bases, offset)
            .ok()?;
        let headers = &mut self.headers;
        partial
            .parse(|section, bases, offset| headers.find(section, bases, offset))
            .ok()
    }

    /// Writes a function's rows. `Ok(Whole::No)`: they end where something is damaged.
    pub(super) fn encode(
        &mut self,
        span: &Span,
        base: Base,
        context: &mut UnwindContext<usize, Storage>,
        encoder: &mut Encoder,
    ) -> Result<Whole, TableLimit> {
        let damaged_from = |encoder: &mut Encoder, offset: u64| {
            encoder.push(offset, Rule::UNSUPPORTED)?;
            Ok(Whole::No)
        };
        let Some(function) = self.function(span.entry) else {
            return damaged_from(encoder, span.start);
        };
        let flags = if function.is_signal_trampoline() {
            Rule::SIGNAL
        } else {
            0
        };
        let Ok(mut rows) = function.rows(&self.section, &self.bases, context) else {
            return damaged_from(encoder, span.start);
        };
        let mut done = span.start;
        loop {
            let row = match rows.next_row() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(Whole::Yes),
                Err(_) => return damaged_from(encoder, done),
            };
            let start = row.start_address().wrapping_sub(span.bias);
            let end = row.end_address().wrapping_sub(span.bias);
            if start >= span.end {
                return Ok(Whole::Yes);
            }
            // Rows of no length are what the next one replaces; those before the span were cut off.
            if end <= done || start >= end {
                continue;
            }
            let mut rule = self.machine.rule(&self.section, row, base);
            rule.flags |= flags;
            encoder.push(start.max(done), rule)?;
            done = end.min(span.end);
        }
    }
}

/// `first`, and what of `second` lies between; both sorted and disjoint.
///
/// A function of `second` gives at most one piece, so that its rows are evaluated at most once.
pub(super) fn fill_gaps(first: Vec<Span>, second: &[Span]) -> Vec<Span> {
    if first.is_empty() {
        return second.to_vec();
    }
    let mut pieces = Vec::new();
    for span in second {
        let next = first.partition_point(|other| other.start <= span.start);
        let start = match next.checked_sub(1).map(|idx| first[idx].end) {
            Some(covered) => span.start.max(covered),
            None => span.start,
        };
        let end = match first.get(next) {
            Some(other) => span.end.min(other.start),
            None => span.end,
        };
        if start < end {
            pieces.push(Span {
                start,
                end,
                ..*span
            });
        }
    }
    let mut all = first;
    all.append(&mut pieces);
    all.sort_by_key(|span| span.start);
    all
}

/// The entries that functions share, as they were last read.
struct Headers<'a> {
    bytes: &'a [u8],
    slots: Vec<Option<(usize, CommonInformationEntry<Bytes<'a>>)>>,
}

/// Enough for the libraries of a distribution, whose linker merges equal headers.
const HEADER_SLOTS: usize = 64;
/// Real ones have 20 to 40 bytes. They are evaluated again for each function, so that a long one would cost quadratic time.
const MAX_HEADER_BYTES: u32 = 512;

impl<'a> Headers<'a> {
    fn new(bytes: &'a [u8]) -> Headers<'a> {
        Headers {
            bytes,
            slots: vec![None; HEADER_SLOTS],
        }
    }

    fn find<S>(
        &mut self,
        section: &S,
        bases: &BaseAddresses,
        offset: S::Offset,
    ) -> gimli::Result<CommonInformationEntry<Bytes<'a>>>
    where
        S: UnwindSection<Bytes<'a>>,
    {
        let position: usize = UnwindOffset::into(offset);
        let slot = (position / 4) % HEADER_SLOTS;
        if let Some((held, header)) = &self.slots[slot]
            && *held == position
        {
            return Ok(header.clone());
        }
        if u32_at(self.bytes, position).is_none_or(|length| length > MAX_HEADER_BYTES) {
            return Err(gimli::Error::UnexpectedEof(gimli::ReaderOffsetId(0)));
        }
        let header = section.cie_from_offset(bases, offset)?;
        self.slots[slot] = Some((position, header.clone()));
        Ok(header)
    }
}

/// Offsets of the function entries of a section, read from the lengths and kinds of entries alone, so that a
/// damaged entry does not hide those behind it.
fn entries(bytes: &[u8], kind: EntryKind) -> impl Iterator<Item = u32> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let entry = at;
            let length = u32_at(bytes, at)?;
            // 64-bit entries are legal, and no toolchain writes them for Linux programs.
            if length == u32::MAX {
                return None;
            }
            at = at
                .checked_add(4)?
                .checked_add(usize::try_from(length).ok()?)?;
            // The terminator of one input file may stand before another's entries.
            if length < 4 {
                continue;
            }
            let is_header = match (kind, u32_at(bytes, entry + 4)?) {
                (EntryKind::EhFrame, id) => id == 0,
                (EntryKind::DebugFrame, id) => id == u32::MAX,
            };
            if !is_header {
                return u32::try_from(entry).ok();
            }
        }
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn holds(range: &CodeRange, address: u64) -> bool {
    address.wrapping_sub(range.address) < range.size
}
