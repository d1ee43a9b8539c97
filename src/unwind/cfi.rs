//! From `.eh_frame` and `.debug_frame` to a [`Table`].
//!
//! `.debug_frame` counts for code that `.eh_frame` does not cover (Go has nothing else). The bytes are foreign: a damaged
//! entry is left out and counted, time and memory stay proportional to the size of the sections.
//!
//! Not done here: reading the sections from a file.

use gimli::{BaseAddresses, DebugFrame, EhFrame, LittleEndian, UnwindContext};

use super::encoder::Encoder;
use super::functions::{Bytes, EntryKind, Functions, Span, Storage, Whole, fill_gaps};
use super::{BuildError, CfaKind, Table, gap};
use crate::arch::{Base, Known, Machine};

/// A section and the address that it was linked for.
#[derive(Clone, Copy, Debug, Hash)]
pub struct CfiSection<'a> {
    /// Linked address; 0 for sections that are not loaded.
    pub address: u64,
    /// Content, not compressed.
    pub bytes: &'a [u8],
}

/// A run of code: what an executable `PT_LOAD` says.
#[derive(Clone, Copy, Debug, Hash)]
pub struct CodeRange {
    /// Linked address of its first byte.
    pub address: u64,
    /// File offset of its first byte.
    pub file_offset: u64,
    /// Bytes in the file.
    pub size: u64,
}

/// What a table is made from: all of it, so that equal inputs have equal tables ([`Fingerprint`](super::Fingerprint)).
#[derive(Clone, Copy, Debug, Hash)]
pub struct CfiInput<'a> {
    /// Whose code it is.
    pub machine: Machine,
    /// `.eh_frame`
    pub eh_frame: Option<CfiSection<'a>>,
    /// `.debug_frame`
    pub debug_frame: Option<CfiSection<'a>>,
    /// Where the code is.
    pub code: &'a [CodeRange],
    /// What is known of code that no function covers, by file offset; sorted.
    pub known: &'a [Known],
}

impl Table {
    /// The table of a module.
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
    known: &'a [Known],
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
            eh_frame.set_vendor(input.machine.vendor());
            let bases = BaseAddresses::default().set_eh_frame(section.address);
            Functions::new(
                input.machine,
                eh_frame,
                bases,
                section.bytes,
                EntryKind::EhFrame,
            )
        });
        let mut debug_frame = input.debug_frame.map(|section| {
            let mut debug_frame = DebugFrame::new(section.bytes, LittleEndian);
            debug_frame.set_address_size(8);
            debug_frame.set_vendor(input.machine.vendor());
            let bases = BaseAddresses::default();
            Functions::new(
                input.machine,
                debug_frame,
                bases,
                section.bytes,
                EntryKind::DebugFrame,
            )
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
            known: input.known,
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
        let first = spans.peek().map_or(u64::MAX, |first| first.start);
        gap::encode(&mut encoder, 0, first, self.known)?;
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
            let next = spans.peek().map_or(u64::MAX, |next| next.start);
            if next > span.end {
                gap::encode(encoder, span.end, next, self.known)?;
            }
        }
        Ok(encoder.finish(skipped)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FileOffset;
    use crate::object::Elf;
    use crate::unwind::{FpKind, RaKind, Rule};

    const ADDRESS: u64 = 0x40_1000;
    const FILE_OFFSET: u64 = 0x1000;
    const CODE: [CodeRange; 1] = [CodeRange {
        address: ADDRESS,
        file_offset: FILE_OFFSET,
        size: 0x1000,
    }];

    /// A section in the making; its header entry is at its start.
    struct Section {
        bytes: Vec<u8>,
        kind: EntryKind,
    }

    impl Section {
        /// Rules of a function's first instruction: `cfa = sp + 8`, return address at `cfa − 8`.
        fn new(kind: EntryKind, augmentation: &str) -> Section {
            let mut section = Section {
                bytes: Vec::new(),
                kind,
            };
            let mut body = Vec::from(match kind {
                EntryKind::EhFrame => 0u32.to_le_bytes(),
                EntryKind::DebugFrame => u32::MAX.to_le_bytes(),
            });
            body.push(1);
            body.extend(augmentation.as_bytes());
            body.extend([0, 1, 0x78, 16]);
            if augmentation.starts_with('z') {
                body.extend([1, 0]);
            }
            body.extend([0x0c, 7, 8, 0x90, 1]);
            section.entry(&body);
            section
        }

        fn eh_frame() -> Section {
            Section::new(EntryKind::EhFrame, "zR")
        }

        fn entry(&mut self, body: &[u8]) {
            let len = u32::try_from(body.len()).expect("small");
            self.bytes.extend(len.to_le_bytes());
            self.bytes.extend(body);
        }

        /// A function at `ADDRESS + start` whose later rows the instructions make.
        fn function(mut self, start: u64, len: u64, instructions: &[u8]) -> Section {
            let header = match self.kind {
                EntryKind::EhFrame => u32::try_from(self.bytes.len()).expect("small") + 4,
                EntryKind::DebugFrame => 0,
            };
            let mut body = Vec::from(header.to_le_bytes());
            body.extend(ADDRESS.wrapping_add(start).to_le_bytes());
            body.extend(len.to_le_bytes());
            if self.kind == EntryKind::EhFrame {
                body.push(0);
            }
            body.extend(instructions);
            self.entry(&body);
            self
        }
    }

    fn table(eh_frame: Option<&Section>, debug_frame: Option<&Section>) -> Table {
        let section = |section: &'_ Section| -> CfiSection<'static> {
            CfiSection {
                address: 0,
                bytes: Vec::leak(section.bytes.clone()),
            }
        };
        Table::from_cfi(&CfiInput {
            eh_frame: eh_frame.map(section),
            debug_frame: debug_frame.map(section),
            machine: Machine::X86_64,
            code: &CODE,
            known: &[],
        })
        .expect("within the limits")
    }

    #[test]
    fn code_at_the_entry_point_has_no_caller_unless_rows_say_otherwise() {
        let section = Section::eh_frame()
            .function(0x10, 0x10, &[])
            .function(0x60, 8, &[]);
        let table = |entry| {
            let section = CfiSection {
                address: 0,
                bytes: &section.bytes,
            };
            let known = [Known::entry(FILE_OFFSET + entry)];
            let input = CfiInput {
                machine: Machine::X86_64,
                eh_frame: Some(section),
                debug_frame: None,
                code: &CODE,
                known: &known,
            };
            Table::from_cfi(&input).expect("within the limits")
        };
        let between = table(0x30);
        assert_eq!(at(&between, 0x2f), None);
        assert_eq!(at(&between, 0x30), Some(Rule::END));
        assert_eq!(at(&between, 0x5f), Some(Rule::END));
        assert_eq!(at(&between, 0x60), sp(8));
        assert_eq!(at(&table(4), 4), Some(Rule::END));
        assert_eq!(at(&table(0x12), 0x12), sp(8));
        let behind = table(0x80);
        assert_eq!(at(&behind, 0x80), Some(Rule::END));
        assert_eq!(at(&behind, 0x80 + 96), None);
    }

    fn at(table: &Table, offset: u64) -> Option<Rule> {
        table.rule_at(FileOffset(FILE_OFFSET + offset))
    }

    fn sp(cfa_offset: i32) -> Option<Rule> {
        Some(Rule {
            cfa_offset,
            fp_offset: 0,
            ra_offset: -8,
            cfa: CfaKind::Sp,
            fp: FpKind::Same,
            ra: RaKind::AtCfa,
            flags: 0,
        })
    }

    /// `advance_loc 1; def_cfa_offset`
    const fn push_at_1(cfa_offset: u8) -> [u8; 4] {
        [0x41, 0x0e, cfa_offset, 0]
    }

    #[test]
    fn rows_hold_within_their_functions_and_nothing_holds_between() {
        let section = Section::eh_frame()
            .function(0x10, 0x10, &push_at_1(16))
            .function(0x28, 8, &[]);
        let table = table(Some(&section), None);
        let expected = [
            (0xf, None),
            (0x10, sp(8)),
            (0x11, sp(16)),
            (0x1f, sp(16)),
            (0x20, None),
            (0x28, sp(8)),
            (0x30, None),
        ];
        for (offset, rule) in expected {
            assert_eq!(at(&table, offset), rule, "{offset:#x}");
        }
        assert_eq!(table.skipped(), 0);
    }

    #[test]
    fn functions_in_any_order_make_the_same_table() {
        let up = Section::eh_frame()
            .function(0x10, 0x10, &push_at_1(16))
            .function(0x20, 0x10, &[]);
        let down =
            Section::eh_frame()
                .function(0x20, 0x10, &[])
                .function(0x10, 0x10, &push_at_1(16));
        assert_eq!(table(Some(&up), None), table(Some(&down), None));
    }

    #[test]
    fn a_function_ends_where_one_that_overlaps_it_begins() {
        let section = Section::eh_frame()
            .function(0x10, 0x20, &push_at_1(16))
            .function(0x1f, 0x11, &[]);
        let table = table(Some(&section), None);
        assert_eq!(at(&table, 0x1e), sp(16));
        assert_eq!(at(&table, 0x1f), sp(8));
        assert_eq!(at(&table, 0x2f), sp(8));
        assert_eq!(at(&table, 0x30), None);
    }

    #[test]
    fn debug_frame_says_what_eh_frame_does_not() {
        let eh_frame = Section::eh_frame().function(0x20, 0x10, &push_at_1(16));
        let debug_frame = Section::new(EntryKind::DebugFrame, "")
            .function(0x10, 0x18, &push_at_1(24))
            .function(0x20, 0x10, &push_at_1(32))
            .function(0x28, 0x18, &push_at_1(40));
        let both = table(Some(&eh_frame), Some(&debug_frame));
        let expected = [
            (0x1f, sp(24)),
            (0x2f, sp(16)),
            (0x30, sp(40)),
            (0x3f, sp(40)),
            (0x40, None),
        ];
        for (offset, rule) in expected {
            assert_eq!(at(&both, offset), rule, "{offset:#x}");
        }
        let alone = table(None, Some(&debug_frame));
        assert_eq!(at(&alone, 0x21), sp(32));
    }

    #[test]
    fn functions_outside_of_the_code_have_no_rows() {
        let section = Section::eh_frame()
            .function(0u64.wrapping_sub(ADDRESS), 0x100, &[])
            .function(0xff8, 0x100, &[]);
        let table = table(Some(&section), None);
        assert_eq!(at(&table, 0xff8), sp(8));
        assert_eq!(at(&table, 0x1000), None);
        assert_eq!(table.rule_at(FileOffset(0)), None);
    }

    #[test]
    fn a_damaged_function_is_counted_and_does_not_hide_others() {
        let mut section = Section::eh_frame().function(0, 0x10, &[0x3f]);
        // A function whose header lies outside of the section, and a header of an unknown version.
        section.entry(&[0xff; 24]);
        section.entry(&[0, 0, 0, 0, 99, 0, 0, 0]);
        let section = section.function(0x20, 0x10, &[]);
        let table = table(Some(&section), None);
        assert_eq!(table.skipped(), 2);
        assert_eq!(at(&table, 0), Some(Rule::UNSUPPORTED));
        assert_eq!(at(&table, 0x20), sp(8));
    }

    #[test]
    fn the_terminator_of_one_input_file_does_not_hide_the_next_ones() {
        let mut section = Section::eh_frame();
        section.bytes.extend([0; 4]);
        let table = table(Some(&section.function(0, 0x10, &[])), None);
        assert_eq!(at(&table, 0), sp(8));
    }

    #[test]
    fn signal_frames_are_marked() {
        // def_cfa_expression breg7 160, deref; expression rip: breg7 168; expression rbp: breg7 120
        let instructions = [
            0x0f, 4, 0x77, 0xa0, 0x01, 0x06, 0x10, 16, 3, 0x77, 0xa8, 0x01, 0x10, 6, 3, 0x77, 0xf8,
            0x00,
        ];
        let section = Section::new(EntryKind::EhFrame, "zRS").function(0, 9, &instructions);
        let expected = Rule {
            cfa_offset: 160,
            fp_offset: 120,
            ra_offset: 168,
            cfa: CfaKind::DerefSp,
            fp: FpKind::AtSp,
            ra: RaKind::AtSp,
            flags: Rule::SIGNAL,
        };
        assert_eq!(at(&table(Some(&section), None), 0), Some(expected));
    }

    #[test]
    fn a_function_that_realigns_its_stack_has_rules_for_prologue_and_body() {
        // def_cfa r10, 0 at 1; expression rbp: breg6 0 at 2; def_cfa_expression breg6 -8, deref at 3
        let instructions = [
            0x41, 0x0c, 10, 0, 0x41, 0x10, 6, 2, 0x76, 0, 0x41, 0x0f, 3, 0x76, 0x78, 0x06,
        ];
        let table = table(
            Some(&Section::eh_frame().function(0, 9, &instructions)),
            None,
        );
        let kinds = |offset| at(&table, offset).map(|rule| (rule.cfa, rule.cfa_offset, rule.fp));
        assert_eq!(kinds(1), Some((CfaKind::Drap, 0, FpKind::Same)));
        assert_eq!(kinds(2), Some((CfaKind::Drap, 0, FpKind::AtFp)));
        assert_eq!(kinds(3), Some((CfaKind::DerefFp, -8, FpKind::AtFp)));
    }

    #[test]
    fn an_undefined_return_address_ends_the_stack() {
        let section = Section::eh_frame().function(0, 8, &[0x07, 16]);
        assert_eq!(at(&table(Some(&section), None), 0), Some(Rule::END));
    }

    #[test]
    fn where_the_base_register_is_saved_is_said_where_a_frame_is_on_it() {
        // Either function saves rbx at cfa − 16; the second one bases its cfa on it.
        let saves = [0x83, 2];
        let section = Section::eh_frame().function(0, 8, &saves);
        assert_eq!(at(&table(Some(&section), None), 0), sp(8));
        let section = section.function(8, 8, &[0x83, 2, 0x0d, 3]);
        let table = table(Some(&section), None);
        assert_eq!(at(&table, 0).map(|rule| rule.flags), Some(2));
        assert_eq!(at(&table, 8).map(|rule| rule.cfa), Some(CfaKind::Base));
    }

    #[test]
    fn damaged_sections_cost_rows_and_nothing_else() {
        let program = std::fs::File::open("/proc/self/exe").expect("this program");
        let elf = Elf::parse(Box::new(program)).expect("an ELF file");
        let section = elf.section(".eh_frame").expect("readable");
        let section = section.expect("this program is unwound by it");
        let code = [CodeRange {
            address: 0,
            file_offset: 0,
            size: 1 << 30,
        }];
        let whole = &section.bytes[..section.bytes.len().min(20_000)];
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(0x1405_7b7e_f767_814f);
            usize::try_from(seed >> 33).expect("31 bits") % below
        };
        for _ in 0..300 {
            let mut bytes = whole[..random(whole.len())].to_vec();
            for _ in 0..random(40) {
                if bytes.is_empty() {
                    break;
                }
                let at = random(bytes.len());
                bytes[at] = [0, 0xff, 0x80, 0x7f, 0x0f, 0x0a][random(6)];
            }
            let section = CfiSection {
                address: section.address.0,
                bytes: &bytes,
            };
            for (eh_frame, debug_frame) in [(Some(section), None), (None, Some(section))] {
                let table = Table::from_cfi(&CfiInput {
                    eh_frame,
                    debug_frame,
                    machine: Machine::X86_64,
                    code: &code,
                    known: &[],
                });
                if let Ok(table) = table {
                    assert!(table.rows().len() <= 4 * bytes.len() + 4 * table.index().len());
                }
            }
        }
    }
}
