//! ELF files made around bytes, so that what is fuzzed is a section's content and not where it lies.

/// Where the code of a made file is linked for, and its bytes.
pub const CODE: u64 = 0x1000;
pub const CODE_SIZE: u64 = 0x100;

/// Kinds of sections.
pub const PROGBITS: u32 = 1;
pub const STRTAB: u32 = 3;
pub const NOTE: u32 = 7;
pub const DYNSYM: u32 = 11;

const HEADER: usize = 64;
const SEGMENT_HEADER: usize = 56;

/// A section of a made file.
pub struct Section<'a> {
    pub name: &'a str,
    pub kind: u32,
    /// The number of another section that it refers to: the first one has 1.
    pub link: u32,
    pub bytes: &'a [u8],
}

/// One with nothing but bytes.
pub fn section<'a>(name: &'a str, bytes: &'a [u8]) -> Section<'a> {
    Section {
        name,
        kind: PROGBITS,
        link: 0,
        bytes,
    }
}

/// A 64-bit little-endian file with code at [`CODE`], and with these sections.
pub fn file_of(sections: &[Section<'_>]) -> Vec<u8> {
    file_with_data(sections, 0, &[])
}

/// The same with data, which is linked for `address`.
pub fn file_with_data(sections: &[Section<'_>], address: u64, data: &[u8]) -> Vec<u8> {
    let mut names = vec![0];
    let name_at: Vec<usize> = sections
        .iter()
        .map(|section| {
            names.extend_from_slice(section.name.as_bytes());
            names.push(0);
            names.len() - section.name.len() - 1
        })
        .collect();
    let names_name = names.len();
    names.extend_from_slice(b".shstrtab\0");

    let mut contents = Vec::new();
    let behind_headers = HEADER + 2 * SEGMENT_HEADER;
    let mut put = |bytes: &[u8]| {
        let at = behind_headers + contents.len();
        contents.extend_from_slice(bytes);
        at as u64
    };
    let data_at = put(data);
    let places: Vec<u64> = sections.iter().map(|section| put(section.bytes)).collect();
    let names_at = put(&names);
    let headers_at = behind_headers + contents.len();

    let mut file = Numbers(vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0]);
    file.long(0);
    file.halves(&[2, 62]);
    file.words(&[1]);
    for value in [CODE, HEADER as u64, headers_at as u64] {
        file.long(value);
    }
    file.words(&[0]);
    let n_sections = u16::try_from(sections.len() + 2).expect("a few");
    file.halves(&[64, 56, 2, 64, n_sections, n_sections - 1]);
    for (flags, offset, address, size) in [
        (5, 0, CODE, CODE_SIZE),
        (4, data_at, address, data.len() as u64),
    ] {
        file.words(&[1, flags]);
        for value in [offset, address, address, size, size, 16] {
            file.long(value);
        }
    }
    file.0.extend_from_slice(&contents);
    let mut header = |name: usize, kind: u32, at: u64, size: usize, link: u32| {
        file.words(&[u32::try_from(name).expect("small"), kind]);
        for value in [0, 0, at, size as u64] {
            file.long(value);
        }
        file.words(&[link, 0]);
        file.long(1);
        file.long(if kind == DYNSYM { 24 } else { 0 });
    };
    header(0, 0, 0, 0, 0);
    for ((section, name), place) in sections.iter().zip(name_at).zip(places) {
        header(name, section.kind, place, section.bytes.len(), section.link);
    }
    header(names_name, STRTAB, names_at, names.len(), 0);
    file.0
}

/// Numbers of some widths, one behind the other.
struct Numbers(Vec<u8>);

impl Numbers {
    fn halves(&mut self, values: &[u16]) {
        self.0
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn words(&mut self, values: &[u32]) {
        self.0
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    fn long(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }
}

/// Several files out of one run of bytes, each behind its length of 32 bits; the last one ends where they do.
pub fn unpacked(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut files = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let length = u32::from_le_bytes(*length) as usize;
        let (file, behind) = rest.split_at(length.min(rest.len()));
        files.push(file);
        bytes = behind;
    }
    files
}
