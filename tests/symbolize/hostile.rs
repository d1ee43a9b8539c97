//! DWARF that is made to cost much: it costs its file its names. None of these tests would end, or fit into memory, if the work were not
//! bounded.

use std::collections::BTreeSet;
use std::fs;

use perfd::model::{NameKind, Unnamed};
use perfd::symbolize::{Config, Inline, Resolver, Shown, Srcline, Wanted};

use crate::made::{CODE, file_of, section};
use crate::workbench::{Workbench, frame, module_of};

/// A declaration: number, tag, whether children follow, pairs of attribute and form.
fn declaration(code: u8, tag: u8, has_children: bool, attributes: &[(u8, u8)]) -> Vec<u8> {
    let mut bytes = vec![code, tag, has_children.into()];
    bytes.extend(attributes.iter().flat_map(|(name, form)| [*name, *form]));
    bytes.extend([0, 0]);
    bytes
}

const UNIT: u8 = 0x11;
const FUNCTION: u8 = 0x2e;
const NAME: u8 = 0x03;
const LOW: u8 = 0x11;
const HIGH: u8 = 0x12;
const RANGES: u8 = 0x55;
const ORIGIN: u8 = 0x31;
const LINES: u8 = 0x10;

const ADDRESS: u8 = 0x01;
const WORD: u8 = 0x06;
const TEXT: u8 = 0x08;
const TEXT_AT: u8 = 0x0e;
const REFERENCE: u8 = 0x13;
const OFFSET: u8 = 0x17;

/// A unit of version 4 that says that it has 64 bytes of code: declaration 1, which must be `unit()`. Its entries begin at 24.
fn unit_at(table: u32, entries: &[u8]) -> Vec<u8> {
    let mut body = vec![4, 0];
    body.extend(table.to_le_bytes());
    body.extend([8, 1]);
    body.extend(CODE.to_le_bytes());
    body.extend(64u32.to_le_bytes());
    body.extend(entries);
    with_length(body)
}

fn unit() -> Vec<u8> {
    declaration(1, UNIT, true, &[(LOW, ADDRESS), (HIGH, WORD)])
}

fn with_length(body: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("small");
    [&length.to_le_bytes(), &body[..]].concat()
}

/// An address and a size.
fn code(start: u64, size: u32) -> Vec<u8> {
    [&start.to_le_bytes()[..], &size.to_le_bytes()].concat()
}

/// What the file's code is called, where that is looked up with little memory; and the reasons for what has no name.
fn names(sections: &[(&str, &[u8])]) -> (BTreeSet<String>, BTreeSet<Unnamed>) {
    let sections: Vec<_> = sections
        .iter()
        .map(|(name, bytes)| section(name, bytes))
        .collect();
    let bench = Workbench::new();
    let path = bench.path("hostile");
    fs::write(&path, file_of(&sections)).expect("written");
    let mut resolver = Resolver::new(Config {
        inline: Inline::Show,
        shown: Shown {
            srcline: Srcline::Show,
            ..Shown::default()
        },
        wanted: Wanted {
            linkage: true,
            places: true,
        },
        memory_budget: 16 << 20,
        ..Config::default()
    });
    let (mut texts, mut reasons) = (BTreeSet::new(), BTreeSet::new());
    for offset in (0..64).step_by(8) {
        for name in resolver.name(&module_of(&path), frame(offset)) {
            assert!(matches!(name.kind, NameKind::User | NameKind::Inlined));
            reasons.extend(name.unnamed);
            if name.unnamed.is_none() {
                texts.insert(name.text.to_string());
            }
        }
    }
    assert!(resolver.memory() < 64 << 20, "{}", resolver.memory());
    (texts, reasons)
}

#[track_caller]
fn assert_given_up(sections: &[(&str, &[u8])]) {
    let (texts, reasons) = names(sections);
    assert!(texts.is_empty(), "{texts:?}");
    assert_eq!(reasons, BTreeSet::from([Unnamed::FileCorrupt]));
}

#[test]
fn a_unit_made_here_gives_its_names() {
    let abbreviations = [
        unit(),
        declaration(
            2,
            FUNCTION,
            false,
            &[(NAME, TEXT), (LOW, ADDRESS), (HIGH, WORD)],
        ),
        vec![0],
    ]
    .concat();
    let entries = [&b"\x02first\0"[..], &code(CODE, 64), &[0]].concat();
    let (texts, reasons) = names(&[
        (".debug_info", &unit_at(0, &entries)),
        (".debug_abbrev", &abbreviations),
    ]);
    assert_eq!(texts, BTreeSet::from(["first".to_owned()]));
    assert!(reasons.is_empty(), "{reasons:?}");
}

#[test]
fn entries_that_have_their_names_from_each_other_in_a_circle() {
    let abbreviations = [
        unit(),
        declaration(
            2,
            FUNCTION,
            false,
            &[(ORIGIN, REFERENCE), (LOW, ADDRESS), (HIGH, WORD)],
        ),
        vec![0],
    ]
    .concat();
    let function = |origin: u32| [&[2][..], &origin.to_le_bytes(), &code(CODE, 64)].concat();
    let (first, second) = (24, 41);
    for origins in [[first, first], [second, first]] {
        let entries = [function(origins[0]), function(origins[1]), vec![0]].concat();
        assert_given_up(&[
            (".debug_info", &unit_at(0, &entries)),
            (".debug_abbrev", &abbreviations),
        ]);
    }
}

#[test]
fn units_that_each_begin_in_another_place_of_one_table_of_declarations() {
    // The declaration that the units have comes last, so that each has to look for it.
    let filler = declaration(7, FUNCTION, false, &[]).repeat(200_000);
    let abbreviations = [filler, unit(), vec![0]].concat();
    let units: Vec<u8> = (0..200_000).flat_map(|idx| unit_at(idx * 5, &[])).collect();
    assert_given_up(&[(".debug_info", &units), (".debug_abbrev", &abbreviations)]);
}

#[test]
fn more_units_than_any_program_has() {
    let units = unit_at(0, &[]).repeat(300_000);
    let abbreviations = [unit(), vec![0]].concat();
    assert_given_up(&[(".debug_info", &units), (".debug_abbrev", &abbreviations)]);
}

#[test]
fn entries_with_attributes_that_take_no_byte() {
    let flags = [(0x3f, 0x19); 250];
    let abbreviations = [unit(), declaration(2, 0x0b, false, &flags), vec![0]].concat();
    let info = unit_at(0, &vec![2; 4 << 20]);
    assert_given_up(&[(".debug_info", &info), (".debug_abbrev", &abbreviations)]);
}

#[test]
fn functions_that_share_one_long_list_of_ranges() {
    let abbreviations = [
        unit(),
        declaration(2, FUNCTION, false, &[(NAME, TEXT), (RANGES, OFFSET)]),
        vec![0],
    ]
    .concat();
    let entries = b"\x02f\0\0\0\0\0".repeat(100_000);
    let pair = |start: u64, end: u64| [start.to_le_bytes(), end.to_le_bytes()].concat();
    // Ranges that all cover one address; empty ones; and what is no range but says what others begin from.
    for entry in [pair(CODE, CODE + 64), pair(CODE, CODE), pair(u64::MAX, 0)] {
        let ranges = [entry.repeat(100_000), vec![0; 16]].concat();
        assert_given_up(&[
            (".debug_info", &unit_at(0, &entries)),
            (".debug_abbrev", &abbreviations),
            (".debug_ranges", &ranges),
        ]);
    }
}

#[test]
fn units_that_share_one_list_without_ranges() {
    let abbreviations = [declaration(1, UNIT, true, &[(RANGES, OFFSET)]), vec![0]].concat();
    let one = [&[4, 0, 0, 0, 0, 0, 8, 1][..], &[0; 4], &[0]].concat();
    let units = with_length(one).repeat(100_000);
    let base = [[0xff; 8], CODE.to_le_bytes()].concat();
    let ranges = [base.repeat(100_000), vec![0; 16]].concat();
    assert_given_up(&[
        (".debug_info", &units),
        (".debug_abbrev", &abbreviations),
        (".debug_ranges", &ranges),
    ]);
}

#[test]
fn names_that_overlap_in_one_long_string() {
    let abbreviations = [
        unit(),
        declaration(
            2,
            FUNCTION,
            false,
            &[(NAME, TEXT_AT), (LOW, ADDRESS), (HIGH, WORD)],
        ),
        vec![0],
    ]
    .concat();
    let entries: Vec<u8> = (0..200_000u32)
        .flat_map(|idx| [&[2][..], &idx.to_le_bytes(), &code(CODE, 64)].concat())
        .collect();
    assert_given_up(&[
        (".debug_info", &unit_at(0, &entries)),
        (".debug_abbrev", &abbreviations),
        (".debug_str", &vec![b'x'; 1 << 20]),
    ]);
}

#[test]
fn a_name_of_some_mebibytes_is_cut() {
    let abbreviations = [
        unit(),
        declaration(
            2,
            FUNCTION,
            false,
            &[(NAME, TEXT), (LOW, ADDRESS), (HIGH, WORD)],
        ),
        vec![0],
    ]
    .concat();
    let entries = [&[2][..], &vec![b'x'; 16 << 20], &[0], &code(CODE, 64), &[0]].concat();
    let (texts, _) = names(&[
        (".debug_info", &unit_at(0, &entries)),
        (".debug_abbrev", &abbreviations),
    ]);
    assert_eq!(texts.len(), 1);
    assert!(texts.iter().all(|text| text.len() <= 4 << 10));
}

/// The lines of the one unit, which has one function.
fn with_lines(program: &[u8]) -> (BTreeSet<String>, BTreeSet<Unnamed>) {
    let root = [(LINES, OFFSET), (LOW, ADDRESS), (HIGH, WORD)];
    let abbreviations = [
        declaration(1, UNIT, true, &root),
        declaration(
            2,
            FUNCTION,
            false,
            &[(NAME, TEXT), (LOW, ADDRESS), (HIGH, WORD)],
        ),
        vec![0],
    ]
    .concat();
    let mut body = vec![4, 0, 0, 0, 0, 0, 8, 1];
    body.extend([0; 4]);
    body.extend(code(CODE, 64));
    body.extend(b"\x02f\0");
    body.extend(code(CODE, 64));
    body.push(0);
    names(&[
        (".debug_info", &with_length(body)),
        (".debug_abbrev", &abbreviations),
        (".debug_line", program),
    ])
}

/// A line program of version 4, with these files and steps.
fn program(files: &[u8], steps: &[u8]) -> Vec<u8> {
    let mut header = vec![1, 1, 1, 0xfb, 14, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1];
    header.extend(files);
    with_length([&[4, 0][..], &with_length(header), steps].concat())
}

/// Directories and files: no directory, one file.
const FILES: &[u8] = b"\0a.c\0\0\0\0\0";

fn set_address() -> Vec<u8> {
    [&[0, 9, 2][..], &CODE.to_le_bytes()].concat()
}

const END: &[u8] = &[2, 64, 0, 1, 1];

#[test]
fn a_line_program_made_here_gives_its_lines() {
    let steps = [&set_address()[..], &[3, 4, 1], END].concat();
    let (texts, _) = with_lines(&program(FILES, &steps));
    assert_eq!(texts, BTreeSet::from(["f (a.c:5)".to_owned()]));
}

#[test]
fn lines_that_advance_to_the_end_of_the_address_space_and_on() {
    let far = [&[2][..], &[0xff; 9], &[1]].concat();
    let steps = [&set_address()[..], &[1], &far.repeat(1000), END].concat();
    let (texts, reasons) = with_lines(&program(FILES, &steps));
    assert!(texts.len() + reasons.len() > 0);
}

#[test]
fn more_rows_than_any_unit_has() {
    // Each byte is a row.
    let steps = [&set_address()[..], &vec![18; 9 << 20], END].concat();
    let (texts, reasons) = with_lines(&program(FILES, &steps));
    assert!(texts.is_empty(), "{texts:?}");
    assert_eq!(reasons, BTreeSet::from([Unnamed::FileCorrupt]));
}

#[test]
fn files_that_are_all_in_one_directory_with_a_long_name() {
    let mut files = vec![b'd'; 8000];
    files.extend([0, 0]);
    files.extend(b"a\0\x01\0\0".repeat(200_000));
    files.push(0);
    let steps = [&set_address()[..], &[1], END].concat();
    let (texts, _) = with_lines(&program(&files, &steps));
    assert!(texts.iter().any(|text| text.starts_with("f")), "{texts:?}");
}

#[test]
fn indexes_into_tables_that_are_not_there() {
    // Of a string, an address and a list of ranges, each in one byte or four.
    for (attribute, form) in [
        (NAME, 0x25),
        (NAME, 0x28),
        (LOW, 0x29),
        (LOW, 0x2c),
        (RANGES, 0x23),
    ] {
        let function = [(attribute, form), (LOW, ADDRESS), (HIGH, WORD)];
        let root = [(LOW, ADDRESS), (HIGH, WORD)];
        let abbreviations = [
            declaration(1, UNIT, true, &root),
            declaration(2, FUNCTION, false, &function),
            vec![0],
        ]
        .concat();
        let mut body = vec![5, 0, 1, 8, 0, 0, 0, 0, 1];
        body.extend(code(CODE, 64));
        body.extend([2, 0x7f]);
        if matches!(form, 0x28 | 0x2c) {
            body.extend([0xff; 3]);
        }
        body.extend(code(CODE, 64));
        body.push(0);
        // The later attribute counts: an address that is said twice is no harm.
        let (texts, reasons) = names(&[
            (".debug_info", &with_length(body)),
            (".debug_abbrev", &abbreviations),
        ]);
        assert!(texts.is_empty(), "{attribute:#x}: {texts:?}");
        assert_eq!(reasons.len(), 1, "{attribute:#x}");
    }
}

#[test]
fn compressed_sections_that_declare_more_than_they_can_hold() {
    for size in [1u64 << 62, 1 << 40, 600 << 20] {
        let info = [
            &b"ZLIB"[..],
            &size.to_be_bytes(),
            &[0x78, 0x9c, 3, 0, 0, 0, 0, 1],
        ]
        .concat();
        let (texts, reasons) = names(&[(".zdebug_info", &info), (".debug_abbrev", &unit())]);
        assert!(
            texts.is_empty() && reasons.len() == 1,
            "{texts:?} {reasons:?}"
        );
    }
}
