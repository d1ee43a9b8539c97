//! A perf map of lines that are well formed, whose functions overlap.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use std::fmt::Write;

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
struct Line {
    start: Start,
    size: u16,
    name: Name,
}

#[derive(Arbitrary, Debug)]
enum Start {
    Near(u16),
    Far(u64),
}

/// The same names come again.
#[derive(Arbitrary, Debug)]
enum Name {
    One,
    Other,
    Any(String),
}

libfuzzer_sys::fuzz_target!(|lines: Vec<Line>| {
    let mut text = String::new();
    for line in &lines {
        let start = match line.start {
            Start::Near(start) => start.into(),
            Start::Far(start) => start,
        };
        let name = match &line.name {
            Name::One => "one",
            Name::Other => "other",
            Name::Any(name) => name,
        };
        let _ = writeln!(text, "{start:x} {:x} {name}", line.size);
    }
    entries::perf_map(text.as_bytes());
});
