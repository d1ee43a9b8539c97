//! DWARF 4 and 5 whose headers hold and whose entries follow their declarations.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use arbitrary::Arbitrary;
use entries::made::{CODE, CODE_SIZE, file_of, section};

#[derive(Arbitrary, Debug)]
struct Dwarf {
    units: Vec<Unit>,
    strings: Vec<u8>,
    addresses: Vec<u16>,
    string_offsets: Vec<u8>,
    ranges: Vec<(Address, Address)>,
    /// Behind the header of `.debug_rnglists`.
    range_lists: Vec<u8>,
    lines: Lines,
    /// Changed bytes of `.debug_info` and `.debug_abbrev`.
    damage: Vec<(bool, u16, u8)>,
}

#[derive(Arbitrary, Debug)]
struct Unit {
    is_5: bool,
    language: Language,
    has_lines: bool,
    root: Vec<Attribute>,
    entries: Vec<Entry>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Language {
    C,
    Cpp,
    Rust,
}

#[derive(Arbitrary, Debug)]
struct Entry {
    tag: Tag,
    has_children: bool,
    attributes: Vec<Attribute>,
    /// Lists of children that end behind it.
    n_ends: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Tag {
    Function,
    Inlined,
    Block,
    Namespace,
    Imported,
}

/// Inside of the code, or anything.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Address {
    Within(u8),
    Any(u64),
}

impl Address {
    fn value(self) -> u64 {
        match self {
            Address::Within(distance) => CODE + u64::from(distance),
            Address::Any(address) => address,
        }
    }
}

#[derive(Arbitrary, Debug)]
enum Attribute {
    Low(Address),
    LowIndex(u8),
    HighSize(u32),
    High(Address),
    Ranges(u16),
    RangesIndex(u8),
    Name(String),
    NameAt(u16),
    NameIndex(u8),
    LineName(u16),
    Linkage(u16),
    LinkageText(String),
    OriginInUnit(u16),
    OriginInFile(u16),
    Specification(u16),
    OriginElsewhere(u16),
    CallFile(u8),
    CallLine(i16),
    AddressBase(u8),
    StringBase(u8),
    RangeBase(u8),
    SplitName(String),
    SplitId(u64),
    Any { name: u8, form: u8, value: Vec<u8> },
}

impl Attribute {
    /// Name, form, value.
    fn parts(&self) -> (u16, u8, Vec<u8>) {
        let wide = |value: u64| value.to_le_bytes().to_vec();
        let word = |value: u16| u32::from(value).to_le_bytes().to_vec();
        let text = |text: &str| [text.replace('\0', " ").as_bytes(), &[0]].concat();
        match self {
            Attribute::Low(address) => (0x11, 0x01, wide(address.value())),
            Attribute::LowIndex(index) => (0x11, 0x29, vec![*index]),
            Attribute::HighSize(size) => (0x12, 0x06, size.to_le_bytes().to_vec()),
            Attribute::High(address) => (0x12, 0x01, wide(address.value())),
            Attribute::Ranges(offset) => (0x55, 0x17, word(*offset)),
            Attribute::RangesIndex(index) => (0x55, 0x23, vec![index & 0x7f]),
            Attribute::Name(name) => (0x03, 0x08, text(name)),
            Attribute::NameAt(offset) => (0x03, 0x0e, word(*offset)),
            Attribute::NameIndex(index) => (0x03, 0x25, vec![*index]),
            Attribute::LineName(offset) => (0x03, 0x1f, word(*offset)),
            Attribute::Linkage(offset) => (0x6e, 0x0e, word(*offset)),
            Attribute::LinkageText(name) => (0x6e, 0x08, text(&format!("_Z{name}"))),
            Attribute::OriginInUnit(offset) => (0x31, 0x13, word(*offset)),
            Attribute::OriginInFile(offset) => (0x31, 0x10, word(*offset)),
            Attribute::Specification(offset) => (0x47, 0x13, word(*offset)),
            Attribute::OriginElsewhere(offset) => (0x31, 0x1c, word(*offset)),
            Attribute::CallFile(file) => (0x58, 0x0b, vec![*file]),
            Attribute::CallLine(line) => (0x59, 0x05, line.to_le_bytes().to_vec()),
            Attribute::AddressBase(base) => (0x73, 0x17, word((*base).into())),
            Attribute::StringBase(base) => (0x72, 0x17, word((*base).into())),
            Attribute::RangeBase(base) => (0x74, 0x17, word((*base).into())),
            Attribute::SplitName(name) => (0x76, 0x08, text(name)),
            Attribute::SplitId(id) => (0x2131, 0x07, wide(*id)),
            Attribute::Any { name, form, value } => ((*name).into(), form & 0x3f, value.clone()),
        }
    }
}

#[derive(Arbitrary, Debug)]
struct Lines {
    is_5: bool,
    minimum: u8,
    line_base: i8,
    line_range: u8,
    opcode_base: u8,
    files: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Address(Address),
    Special(u8),
    Advance(u32),
    Line(i8),
    File(u8),
    Copy,
    FixedAdvance(u16),
    End,
    Any(Vec<u8>),
}

fn push_uleb(mut value: u32, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn with_length(body: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("small");
    [&length.to_le_bytes(), &body[..]].concat()
}

impl Lines {
    fn bytes(&self) -> Vec<u8> {
        let mut header = vec![self.minimum, 1, 1, self.line_base as u8, self.line_range];
        if !self.is_5 {
            header.remove(1);
            header.insert(1, 1);
        }
        header.push(self.opcode_base.max(1));
        header.extend((1..self.opcode_base.max(1)).map(|code| [0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1][usize::from(code % 12)]));
        let files: Vec<Vec<u8>> = self
            .files
            .iter()
            .take(100)
            .map(|name| [name.replace('\0', "/").as_bytes(), &[0]].concat())
            .collect();
        if self.is_5 {
            // Directories and files, each a string and nothing else.
            for _ in 0..2 {
                header.extend([1, 1, 0x08]);
                header.push(files.len() as u8);
                header.extend(files.iter().flatten());
            }
        } else {
            header.push(0);
            for file in files.iter().filter(|file| file.len() > 1) {
                header.extend(file);
                header.extend([0, 0, 0]);
            }
            header.push(0);
        }
        let mut program = Vec::new();
        for step in &self.steps {
            match step {
                Step::Address(address) => {
                    program.extend([0, 9, 2]);
                    program.extend(address.value().to_le_bytes());
                }
                Step::Special(code) => program.push((*code).max(13)),
                Step::Advance(distance) => {
                    program.push(2);
                    push_uleb(*distance, &mut program);
                }
                Step::Line(lines) => program.extend([3, (*lines as u8) & 0x7f]),
                Step::File(file) => program.extend([4, file & 0x7f]),
                Step::Copy => program.push(1),
                Step::FixedAdvance(distance) => {
                    program.push(9);
                    program.extend(distance.to_le_bytes());
                }
                Step::End => program.extend([0, 1, 1]),
                Step::Any(bytes) => program.extend(bytes),
            }
        }
        let version: &[u8] = if self.is_5 { &[5, 0, 8, 0] } else { &[4, 0] };
        with_length([version, &with_length(header), &program].concat())
    }
}

fn declare(code: u32, tag: u16, has_children: bool, attributes: &[(u16, u8, Vec<u8>)], abbreviations: &mut Vec<u8>) {
    push_uleb(code, abbreviations);
    push_uleb(tag.into(), abbreviations);
    abbreviations.push(has_children.into());
    for (name, form, _) in attributes {
        push_uleb((*name).into(), abbreviations);
        abbreviations.push(*form);
        if *form == 0x21 {
            abbreviations.push(1);
        }
    }
    abbreviations.extend([0, 0]);
}

impl Unit {
    fn bytes(&self, abbreviations: &mut Vec<u8>) -> Vec<u8> {
        let table_at = u32::try_from(abbreviations.len()).expect("small").to_le_bytes();
        let mut unit = Vec::new();
        if self.is_5 {
            unit.extend([5, 0, 1, 8]);
            unit.extend(table_at);
        } else {
            unit.extend([4, 0]);
            unit.extend(table_at);
            unit.push(8);
        }
        let language = match self.language {
            Language::C => 0x0c,
            Language::Cpp => 0x04,
            Language::Rust => 0x1c,
        };
        let mut root: Vec<_> = self.root.iter().map(Attribute::parts).collect();
        root.push((0x13, 0x0b, vec![language]));
        if self.has_lines {
            root.push((0x10, 0x17, vec![0; 4]));
        }
        // All of the code is its own, if nothing before says something else.
        root.push((0x11, 0x01, CODE.to_le_bytes().to_vec()));
        root.push((0x12, 0x07, CODE_SIZE.to_le_bytes().to_vec()));
        declare(1, 0x11, true, &root, abbreviations);
        push_uleb(1, &mut unit);
        unit.extend(root.iter().flat_map(|(_, _, value)| value));
        for (entry, code) in self.entries.iter().zip(2..) {
            let tag = match entry.tag {
                Tag::Function => 0x2e,
                Tag::Inlined => 0x1d,
                Tag::Block => 0x0b,
                Tag::Namespace => 0x39,
                Tag::Imported => 0x3d,
            };
            let attributes: Vec<_> = entry.attributes.iter().map(Attribute::parts).collect();
            declare(code, tag, entry.has_children, &attributes, abbreviations);
            push_uleb(code, &mut unit);
            unit.extend(attributes.iter().flat_map(|(_, _, value)| value));
            unit.resize(unit.len() + usize::from(entry.n_ends % 4), 0);
        }
        unit.push(0);
        abbreviations.push(0);
        with_length(unit)
    }
}

libfuzzer_sys::fuzz_target!(|dwarf: Dwarf| {
    let mut abbreviations = Vec::new();
    let mut info: Vec<u8> = dwarf
        .units
        .iter()
        .flat_map(|unit| unit.bytes(&mut abbreviations))
        .collect();
    for (is_info, at, byte) in &dwarf.damage {
        let section = if *is_info { &mut info } else { &mut abbreviations };
        let at = usize::from(*at) % section.len().max(1);
        if let Some(place) = section.get_mut(at) {
            *place = *byte;
        }
    }
    let addresses: Vec<u8> = dwarf
        .addresses
        .iter()
        .flat_map(|address| (CODE + u64::from(*address)).to_le_bytes())
        .collect();
    let ranges: Vec<u8> = dwarf
        .ranges
        .iter()
        .flat_map(|(start, end)| [start.value().to_le_bytes(), end.value().to_le_bytes()])
        .flatten()
        .chain([0; 16])
        .collect();
    let header = |body: &[u8], rest: &[u8]| with_length([&[5, 0], rest, body].concat());
    let file = file_of(&[
        section(".debug_info", &info),
        section(".debug_abbrev", &abbreviations),
        section(".debug_str", &dwarf.strings),
        section(".debug_line_str", &dwarf.strings),
        section(".debug_addr", &header(&addresses, &[8, 0])),
        section(".debug_str_offsets", &header(&dwarf.string_offsets, &[0, 0])),
        section(".debug_ranges", &ranges),
        section(".debug_rnglists", &header(&dwarf.range_lists, &[8, 0, 0, 0, 0, 0])),
        section(".debug_line", &dwarf.lines.bytes()),
    ]);
    entries::naming(&file);
});
