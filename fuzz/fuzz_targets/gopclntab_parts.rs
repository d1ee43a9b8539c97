//! Go's table with a header that holds, so that what is behind it is reached.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
struct Table {
    version: Version,
    quantum: Quantum,
    n_functions: u8,
    /// Where names, units, files, numbers and functions are behind the header.
    parts: [u8; 5],
    behind: Vec<u8>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Version {
    V12,
    V116,
    V118,
    V120,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Quantum {
    One,
    Four,
}

libfuzzer_sys::fuzz_target!(|table: Table| {
    let magic: u32 = match table.version {
        Version::V12 => 0xffff_fffb,
        Version::V116 => 0xffff_fffa,
        Version::V118 => 0xffff_fff0,
        Version::V120 => 0xffff_fff1,
    };
    let quantum = match table.quantum {
        Quantum::One => 1,
        Quantum::Four => 4,
    };
    let mut bytes = magic.to_le_bytes().to_vec();
    bytes.extend([0, 0, quantum, 8]);
    let has_text = matches!(table.version, Version::V118 | Version::V120);
    let mut words = vec![u64::from(table.n_functions), 1];
    words.extend(has_text.then_some(entries::GO_TEXT));
    let header = 8 + 8 * (words.len() + table.parts.len()) as u64;
    words.extend(table.parts.map(|part| header + u64::from(part)));
    bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(&table.behind);
    entries::gopclntab(&bytes);
});
