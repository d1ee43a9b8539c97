//! From `.eh_frame` and `.debug_frame` to a [`Table`].
//!
//! `.debug_frame` counts for code that `.eh_frame` does not cover (Go has nothing else). The bytes are foreign: a damaged
//! entry is left out and counted, time and memory stay proportional to the size of the sections.
//!
//! Not done here: reading the sections from a file.

use gimli::{BaseAddresses, DebugFrame, EhFrame, LittleEndian, UnwindContext};

use super::encoder::Encoder;
use super::functions::{Bytes, EntryKind, Functions, Span, Storage, Whole, fill_gaps};
use super::x86_64::Base;
use super::{BuildError, CfaKind, Rule, Table};

/// A section and the address that it was linked for.
#[derive(Clone, Copy, Debug)]
pub struct CfiSection<'a> {
    /// Linked address; 0 for sections that are not loaded.
    pub address: u64,
    /// Content, not compressed.
    pub bytes: &'a [u8],
}

/// A run of code: what an executable `PT_LOAD` says.
#[derive(Clone, Copy, Debug)]
pub struct CodeRange {
    /// Linked address of its first byte.
    pub address: u64,
    /// File offset of its first byte.
    pub file_offset: u64,
    /// Bytes in the file.
    pub size: u64,
}

/// What a table is made from.
#[derive(Clone, Copy, Debug)]
pub struct CfiInput<'a> {
    /// `.eh_frame`
    pub eh_frame: Option<CfiSection<'a>>,
    /// `.debug_frame`
    pub debug_frame: Option<CfiSection<'a>>,
    /// Where the code is.
    pub code: &'a [CodeRange],
}

impl Table {
    /// The table of an x86-64 module.
    ///
    /// Of functions that overlap, each ends where the next one begins: hand-written trampolines start a byte early.
    pub fn from_cfi(input: &CfiInput<'_>) -> Result<Table, BuildError> {
        let mut cfi = Cfi::read(input)?;
        let table = cfi.encode(Base::Ignored)?;
        if table.rules.iter().any(|rule| rule.cfa == CfaKind::Base) {
            return cfi.encode(Base::Followed);
        }
        Ok(table)
    }
}

/// The functions of a module.
struct Cfi<'a> {
    eh_frame: Option<Functions<'a, EhFrame<Bytes<'a>>>>,
    debug_frame: Option<Functions<'a, DebugFrame<Bytes<'a>>>>,
    /// Sorted, disjoint.
    spans: Vec<Span>,
    skipped: u32,
    context: UnwindContext<usize, Storage>,
}

impl<'a> Cfi<'a> {
    fn read(input: &CfiInput<'a>) -> Result<Cfi<'a>, BuildError> {
        let sections = [input.eh_frame, input.debug_frame];
        for section in sections.iter().flatten() {
            // Functions are remembered by 32-bit offsets.
            if u32::try_from(section.bytes.len()).is_err() {
                return Err(BuildError::SectionTooLarge(section.bytes.len()));
            }
        }
        let mut eh_frame = input.eh_frame.map(|section| {
            let mut eh_frame = EhFrame::new(section.bytes, LittleEndian);
            eh_frame.set_address_size(8);
            let bases = BaseAddresses::default().set_eh_frame(section.address);
            Functions::new(eh_frame, bases, section.bytes, EntryKind::EhFrame)
        });
        let mut debug_frame = input.debug_frame.map(|section| {
            let mut debug_frame = DebugFrame::new(section.bytes, LittleEndian);
            debug_frame.set_address_size(8);
            let bases = BaseAddresses::default();
            Functions::new(debug_frame, bases, section.bytes, EntryKind::DebugFrame)
        });
        let mut skipped = 0;
        let mut spans = Vec::new();
        if let Some(functions) = &mut eh_frame {
            spans = functions.spans(input.code, &mut skipped);
        }
        if let Some(functions) = &mut debug_frame {
            let more = functions.spans(input.code, &mut skipped);
            spans = fill_gaps(spans, &more);
        }
        Ok(Cfi {
            eh_frame,
            debug_frame,
            spans,
            skipped,
            context: UnwindContext::new_in(),
        })
    }

    fn encode(&mut self, base: Base) -> Result<Table, BuildError> {
        let mut encoder = Encoder::new();
        let mut skipped = self.skipped;
        let mut spans = self.spans.iter().peekable();
        while let Some(span) = spans.next() {
            let (context, encoder) = (&mut self.context, &mut encoder);
            let whole = match (span.kind, &mut self.eh_frame, &mut self.debug_frame) {
                (EntryKind::EhFrame, Some(functions), _) => {
                    functions.encode(span, base, context, encoder)?
                }
                (EntryKind::DebugFrame, _, Some(functions)) => {
                    functions.encode(span, base, context, encoder)?
                }
                _ => Whole::No,
            };
            skipped += u32::from(whole == Whole::No);
            if spans.peek().is_none_or(|next| next.start > span.end) {
                encoder.push(span.end, Rule::NONE)?;
            }
        }
        Ok(encoder.finish(skipped)?)
    }
}
