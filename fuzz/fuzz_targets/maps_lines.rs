//! The mappings of a process, of lines that are well formed.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use std::fmt::Write;

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
struct Line {
    start: u64,
    end: u64,
    is_executable: bool,
    offset: u64,
    major: u32,
    minor: u32,
    inode: u64,
    path: String,
}

libfuzzer_sys::fuzz_target!(|lines: Vec<Line>| {
    let mut text = String::new();
    for line in &lines {
        let x = if line.is_executable { 'x' } else { '-' };
        let _ = writeln!(
            text,
            "{:x}-{:x} r-{x}p {:08x} {:02x}:{:02x} {} {}",
            line.start, line.end, line.offset, line.major, line.minor, line.inode, line.path
        );
    }
    entries::maps_text(text.as_bytes());
});
