//! The kernel's symbols, of lines that are well formed.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use std::fmt::Write;

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
struct Line {
    address: u64,
    kind: Kind,
    name: String,
    module: Option<Module>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Global,
    Local,
    Weak,
    Data,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Module {
    Bpf,
    One,
    Other,
}

libfuzzer_sys::fuzz_target!(|lines: Vec<Line>| {
    let mut text = String::new();
    for line in &lines {
        let kind = match line.kind {
            Kind::Global => 'T',
            Kind::Local => 't',
            Kind::Weak => 'W',
            Kind::Data => 'd',
        };
        let module = match line.module {
            None => "",
            Some(Module::Bpf) => "\t[bpf]",
            Some(Module::One) => "\t[one]",
            Some(Module::Other) => "\t[other]",
        };
        let _ = writeln!(text, "{:016x} {kind} {}{module}", line.address, line.name);
    }
    entries::kallsyms(text.as_bytes());
});
