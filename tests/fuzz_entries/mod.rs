//! What each format that comes from outside is read by, as functions of bytes: a fuzzer calls them (`fuzz/`), and
//! `tests/fuzz_corpus.rs` with what fuzzers have found. They end with any bytes whatever, or the bytes are a find.

mod control;
mod links;
pub mod made;
mod names_cache;
mod parser;
mod pprof;
mod python;
mod questions;
mod runtimes;
mod split;

use std::hint::black_box;
use std::path::PathBuf;

use perfd::model::{AddressKind, Avma, FileOffset, Frame, Module, ModuleId, ModuleKind};
use perfd::object::Elf;
use perfd::object::go::GoTable;
use perfd::procfs::kallsyms::Kallsyms;
use perfd::procfs::maps;
use perfd::symbolize::{Config, Demangle, Inline, Resolver, Shown, Srcline, Suffixes, Wanted};
use perfd::unwind::Table;

pub use control::control;
pub use links::{debug_links, mini_debug_info};
pub use names_cache::names_cache;
pub use parser::{parser_answers, parser_requests};
pub use pprof::pprof;
pub use python::python;
pub use questions::questions;
pub use runtimes::{jit_report, jitdump, perf_map};
pub use split::split_dwarf;

/// An entry and the folder of its corpus.
pub type Entry = (&'static str, fn(&[u8]));

/// All of them.
pub const ALL: &[Entry] = &[
    ("elf", elf),
    ("unwind", unwind),
    ("naming", naming),
    ("gopclntab", gopclntab),
    ("kallsyms", kallsyms),
    ("maps", maps_text),
    ("demangle", demangle),
    ("debug_links", debug_links),
    ("mini_debug_info", mini_debug_info),
    ("split_dwarf", split_dwarf),
    ("names_cache", names_cache),
    ("questions", questions),
    ("perf_map", perf_map),
    ("jitdump", jitdump),
    ("jit_report", jit_report),
    ("control", control),
    ("python", python),
    ("pprof", pprof),
    ("parser_answers", parser_answers),
    ("parser_requests", parser_requests),
];

/// Sections whose bytes, compressed or not, are read whole.
const SECTIONS: [&str; 5] = [
    ".debug_info",
    ".debug_line",
    ".eh_frame",
    ".gnu_debuglink",
    ".note.gnu.build-id",
];

fn parsed(bytes: &[u8]) -> Option<Elf> {
    Elf::parse(Box::new(bytes.to_vec())).ok()
}

/// Headers, notes, sections with their compression, symbols.
pub fn elf(bytes: &[u8]) {
    let Some(elf) = parsed(bytes) else {
        return;
    };
    black_box(elf.build_id());
    for name in SECTIONS {
        let _ = black_box(elf.section_size(name));
        let _ = black_box(elf.section(name));
    }
    if let Ok(symbols) = elf.symbols() {
        for address in addresses(&elf) {
            black_box(symbols.lookup(address));
        }
    }
    elf.pointers(|_, target| {
        black_box(target);
        std::ops::ControlFlow::Continue(())
    });
}

/// Unwind sections, to a table.
pub fn unwind(bytes: &[u8]) {
    if let Some(elf) = parsed(bytes) {
        let _ = black_box(Table::build(&elf));
        let _ = black_box(Table::build_vdso(&elf));
    }
}

/// Everything that names a frame of a file: DWARF, Go's table, symbols.
pub fn naming(bytes: &[u8]) {
    let Some(elf) = parsed(bytes) else {
        return;
    };
    let module = Module {
        kind: ModuleKind::File { dev: 0, inode: 0 },
        path: PathBuf::from("fuzz"),
        seen_in: None,
    };
    let mut resolver = Resolver::new(config());
    let Some(same) = parsed(bytes) else {
        return;
    };
    resolver.give_file(ModuleId(1), same);
    name_all(&mut resolver, &module, &elf);
}

/// All that can be named is, with little memory.
fn config() -> Config {
    Config {
        inline: Inline::Show,
        shown: SHOWN,
        wanted: Wanted {
            linkage: true,
            places: true,
        },
        memory_budget: MEMORY,
        ready_texts: 1 << 20,
        ..Config::default()
    }
}

/// Names some of all code of a file, which is the first module's.
fn name_all(resolver: &mut Resolver, module: &Module, elf: &Elf) {
    for address in addresses(elf) {
        if let Some(offset) = elf.file_offset(address) {
            let frame = Frame {
                module: ModuleId(1),
                kind: AddressKind::Interrupted,
                offset: FileOffset(offset.0),
            };
            assert!(!resolver.name(module, frame).is_empty());
        }
    }
    assert!(resolver.memory() <= 4 * MEMORY, "{}", resolver.memory());
}

/// Go's table as the one segment of a file without section headers, which is searched for it; its data may point to it.
pub fn gopclntab(bytes: &[u8]) {
    let Some(elf) = parsed(&in_a_segment(bytes)) else {
        return;
    };
    let Some(mut table) = GoTable::open(&elf) else {
        return;
    };
    black_box(table.frame_runs(1 << 16));
    // What tiny tables say they are about: the code from this address on.
    for address in 0..64 {
        black_box(table.frames(GO_TEXT + 4 * address));
    }
    for address in [0, SEGMENT, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
        black_box(table.frames(address));
    }
    assert!(table.memory() < 4 << 20, "{}", table.memory());
}

/// The kernel's symbols.
pub fn kallsyms(bytes: &[u8]) {
    if let Ok(kallsyms) = Kallsyms::parse(bytes) {
        for address in [0, 0xffff_ffff_8100_0000, 0xffff_ffff_c020_1000, u64::MAX] {
            black_box(kallsyms.lookup(Avma(address)));
            black_box(kallsyms.lasting(Avma(address)));
        }
    }
}

/// The mappings of a process.
pub fn maps_text(bytes: &[u8]) {
    for line in maps::parse(bytes) {
        black_box(line);
    }
}

/// Bytes that names may take.
const MEMORY: usize = 16 << 20;
const SHOWN: Shown = Shown {
    demangle: Demangle::Short,
    suffixes: Suffixes::Fold,
    srcline: Srcline::Show,
};

/// A name, in all the ways that it can be shown.
pub fn demangle(bytes: &[u8]) {
    for demangle in [Demangle::Full, Demangle::Short, Demangle::None] {
        for suffixes in [Suffixes::Keep, Suffixes::Fold] {
            let shown = Shown {
                demangle,
                suffixes,
                srcline: Srcline::Hide,
            };
            assert!(shown.of_symbol(bytes).len() <= 4 << 10);
        }
    }
}

/// Some addresses of each segment, and some of none.
fn addresses(elf: &Elf) -> Vec<perfd::object::LinkedAddress> {
    let segments = elf.segments().iter().take(4);
    let within = segments.flat_map(|segment| {
        let start = segment.address.0;
        let step = (segment.file_size / 16).max(1);
        (0..16).map(move |idx| start.saturating_add(idx * step))
    });
    within
        .chain([0, u64::MAX])
        .map(perfd::object::LinkedAddress)
        .collect()
}

/// Where tests' tables say that their code is.
pub const GO_TEXT: u64 = 0x40_1000;
/// Where their segment is linked for.
const SEGMENT: u64 = 0x50_0000;

/// A 64-bit little-endian ELF file that is one readable segment.
pub fn in_a_segment(bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let half = |file: &mut Vec<u8>, value: u16| file.extend(value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend(value.to_le_bytes());
    let long = |file: &mut Vec<u8>, value: u64| file.extend(value.to_le_bytes());
    let size = bytes.len() as u64;
    for value in [2, 62] {
        half(&mut file, value);
    }
    word(&mut file, 1);
    for value in [0, 64, 0] {
        long(&mut file, value);
    }
    word(&mut file, 0);
    for value in [64, 56, 1, 64, 0, 0] {
        half(&mut file, value);
    }
    for value in [1, 4] {
        word(&mut file, value);
    }
    for value in [120, SEGMENT, SEGMENT, size, size, 16] {
        long(&mut file, value);
    }
    file.extend_from_slice(bytes);
    file
}
