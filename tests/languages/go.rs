//! Go's table, read from files.

use std::fs;
use std::path::Path;
use std::process::Command;

use perfd::object::Elf;
use perfd::object::go::{GoFrame, GoTable};
use perfd::symbolize::{Shown, Srcline};

use crate::fuzz_entries::{GO_TEXT, in_a_segment};
use crate::go_program::{Build, Go, Names, code_of, elf_of};

const WITH_LINES: Shown = Shown {
    demangle: perfd::symbolize::Demangle::Full,
    suffixes: perfd::symbolize::Suffixes::Keep,
    srcline: Srcline::Show,
};

#[test]
fn a_stripped_program_has_the_names_and_lines_that_the_runtime_prints() {
    let Some(go) = Go::new() else { return };
    let program = go.build(Build::Stripped);
    let code = code_of(&elf_of(&program));
    let (start, end) = (format!("{:x}", code.start), format!("{:x}", code.end));
    let output = Command::new(&program)
        .args([&start, &end, "61"])
        .output()
        .expect("runs");
    let said = String::from_utf8(output.stdout).expect("text");
    let mut names = Names::of(&program, WITH_LINES);
    let mut n_checked = 0;
    let mut different = Vec::new();
    for line in said.lines() {
        let [address, function, file, number]: [&str; 4] = line
            .split('\t')
            .collect::<Vec<_>>()
            .try_into()
            .expect("four parts");
        let address = u64::from_str_radix(address, 16).expect("an address");
        let file = Path::new(file).file_name().expect("a file").to_str();
        // Padding has no line.
        let expected = match number {
            "0" => function.to_owned(),
            _ => format!("{function} ({}:{number})", file.expect("text")),
        };
        let found = names.at(address);
        let innermost = found.last().expect("a name").text.to_string();
        n_checked += 1;
        // The runtime shows no type arguments.
        if without_arguments(&innermost) != without_arguments(&expected) {
            different.push(format!("{address:x}: {innermost}, and Go says {expected}"));
        }
    }
    assert!(n_checked > 5_000, "{n_checked} addresses");
    assert!(
        different.len() * 1000 < n_checked,
        "{} of {n_checked}: {:#?}",
        different.len(),
        &different[..different.len().min(20)]
    );
}

/// `f[...] (a.go:1)` of `f[go.shape.int_0] (a.go:1)`.
fn without_arguments(name: &str) -> String {
    match (name.find('['), name.rfind(']')) {
        (Some(open), Some(close)) if open < close => {
            format!("{}[...]{}", &name[..open], &name[close + 1..])
        }
        _ => name.to_owned(),
    }
}

#[test]
fn a_stripped_program_has_the_inlined_functions_of_its_dwarf() {
    let Some(go) = Go::new() else { return };
    let (full, stripped) = (go.build(Build::Full), go.build(Build::Stripped));
    let code = code_of(&elf_of(&stripped));
    let mut by_dwarf = Names::of(&full, Shown::default());
    let mut by_table = Names::of(&stripped, Shown::default());
    let chain = |names: &mut Names, address: u64| -> Vec<String> {
        let names = names.at(address);
        let text = |name: &perfd::model::FrameName| without_arguments(&name.text);
        names.iter().map(text).collect()
    };
    let (mut n_inlined, mut n_checked, mut different) = (0, 0, Vec::new());
    for address in code.step_by(97) {
        let (table, dwarf) = (chain(&mut by_table, address), chain(&mut by_dwarf, address));
        // DWARF says nothing of what is written in assembly but its symbols, and of padding less than the table.
        if table[0].contains('+') || dwarf[0].contains('+') {
            continue;
        }
        n_checked += 1;
        n_inlined += usize::from(table.len() > 1);
        if table != dwarf {
            different.push(format!("{address:x}: {table:?}, by DWARF {dwarf:?}"));
        }
    }
    assert!(
        n_checked > 3_000 && n_inlined > 300,
        "{n_checked}, {n_inlined}"
    );
    assert!(
        different.len() * 100 < n_checked,
        "{} of {n_checked}: {:#?}",
        different.len(),
        &different[..different.len().min(20)]
    );
}

#[test]
fn the_table_is_found_however_the_program_was_linked() {
    let Some(go) = Go::new() else { return };
    for build in [Build::Stripped, Build::StrippedPie, Build::StrippedPieByCc] {
        let program = go.build(build);
        assert_leaf(&program, build);
        // Without section headers, as `sstrip` leaves it.
        let mut bytes = fs::read(&program).expect("readable");
        bytes[0x28..0x30].fill(0);
        bytes[0x3c..0x40].fill(0);
        let headless = go.path("headless");
        fs::write(&headless, bytes).expect("written");
        match build {
            // What relocations make of its pointers is told by a section header.
            Build::StrippedPieByCc => {}
            _ => assert_leaf(&headless, build),
        }
    }
}

/// The function `leaf`, with two functions inlined into each other.
#[track_caller]
fn assert_leaf(program: &Path, build: Build) {
    let elf = elf_of(program);
    let mut table = GoTable::open(&elf).unwrap_or_else(|| panic!("{build:?}: no table"));
    let expected = [b"main.leaf".as_slice(), b"main.middle", b"main.small"];
    let is_leaf = |frames: &[GoFrame]| {
        let names: Vec<&[u8]> = frames.iter().map(|frame| &frame.name[..]).collect();
        names == expected && frames.iter().all(|frame| frame.place.is_some())
    };
    let mut addresses = code_of(&elf);
    assert!(
        addresses.any(|address| is_leaf(&table.frames(address))),
        "{build:?}"
    );
}

#[test]
fn each_format_is_read() {
    for version in ["1.16", "1.18", "1.20"] {
        let seed = fs::read(format!("fuzz/corpus/gopclntab/{version}")).expect("readable");
        let elf = Elf::parse(Box::new(in_a_segment(&seed))).expect("is elf");
        let mut table = GoTable::open(&elf).unwrap_or_else(|| panic!("{version}: no table"));
        let mut check = |address: u64, expected: &[(&str, u32)]| {
            let frames = table.frames(address);
            let found: Vec<(&str, u32)> = frames
                .iter()
                .map(|frame| {
                    let place = frame.place.as_ref().expect("a place");
                    assert_eq!(place.file, b"/src/main.go");
                    (std::str::from_utf8(&frame.name).expect("text"), place.line)
                })
                .collect();
            assert_eq!(found, expected, "Go {version}, {address:#x}");
        };
        check(GO_TEXT - 1, &[]);
        check(GO_TEXT, &[("main.outer", 10)]);
        check(GO_TEXT + 15, &[("main.outer", 10)]);
        check(GO_TEXT + 16, &[("main.outer", 10), ("main.inner", 15)]);
        check(GO_TEXT + 31, &[("main.outer", 10), ("main.inner", 15)]);
        check(GO_TEXT + 32, &[("main.last", 10)]);
        check(GO_TEXT + 64, &[]);
        let sizes: Vec<u32> = table.frame_runs(10).iter().map(|run| run.size).collect();
        assert_eq!(sizes, [8, 8], "Go {version}");
    }
}
