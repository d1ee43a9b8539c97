//! What `perfd symbolize` has beside addr2line's flags says the same as with them: the cache on disk, and modules with offsets. Programs that stand in for
//! perfd have neither.

use std::ffi::OsStr;
use std::path::PathBuf;

use object::{Object, ObjectSegment};

use crate::addresses::addresses;
use crate::answers::{output_of, stand_in};
use crate::programs;
use crate::support::{perfd, skip};

/// A program, and what perfd says of its addresses without a cache.
struct Bench {
    folder: tempfile::TempDir,
    program: PathBuf,
    addresses: Vec<u64>,
    expected: String,
}

impl Bench {
    fn new() -> Option<Bench> {
        if stand_in().is_some() {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Its offsets in the file are not its addresses.
        let Some(program) = programs::cpp(folder.path(), ["gcc", "g++"], &["-gdwarf-5", "-no-pie"])
        else {
            skip("no g++");
            return None;
        };
        let bytes = std::fs::read(&program).expect("readable");
        let elf = object::File::parse(&*bytes).expect("an ELF file");
        let mut bench = Bench {
            addresses: addresses(&elf, 20_000),
            expected: String::new(),
            folder,
            program,
        };
        bench.expected = bench.by_address(&["--no-cache".as_ref()]);
        // Inlined functions and lines of both units.
        let said = &bench.expected;
        assert!(
            said.contains("main.cpp:") && said.contains("checksum.c:"),
            "{said}"
        );
        Some(bench)
    }

    fn by_address(&self, flags: &[&OsStr]) -> String {
        let questions = self
            .addresses
            .iter()
            .map(|address| format!("{address:#x}\n"));
        let of_file = ["-e".as_ref(), self.program.as_os_str()];
        ask(&[flags, &of_file].concat(), questions.collect())
    }
}

/// Without addresses between the chains, which modules may show in another way.
fn ask(flags: &[&OsStr], questions: String) -> String {
    let mut command = perfd();
    output_of(
        command.args(["symbolize", "-f", "-i"]).args(flags),
        questions,
    )
}

#[test]
fn the_cache_says_what_the_file_says() {
    let Some(bench) = Bench::new() else { return };
    let cache = bench.folder.path().join("names");
    let flags = ["--cache-dir".as_ref(), cache.as_os_str()];
    // Made, and used.
    assert!(bench.by_address(&flags) == bench.expected);
    let mut made = std::fs::read_dir(&cache).expect("the cache is there");
    assert!(made.next().is_some());
    assert!(bench.by_address(&flags) == bench.expected);
}

#[test]
fn an_offset_in_a_module_says_what_its_address_says() {
    let Some(bench) = Bench::new() else { return };
    let bytes = std::fs::read(&bench.program).expect("readable");
    let elf = object::File::parse(&*bytes).expect("an ELF file");
    let questions = bench.addresses.iter().map(|&address| {
        let offset = offset_of(&elf, address).expect("code is in the file");
        format!("{} {offset:#x}\n", bench.program.display())
    });
    let said = ask(&["--no-cache".as_ref()], questions.collect());
    assert!(said == bench.expected);
}

/// Where in the file the byte at an address is.
fn offset_of(elf: &object::File<'_>, address: u64) -> Option<u64> {
    elf.segments().find_map(|segment| {
        let (offset, size) = segment.file_range();
        let distance = address.checked_sub(segment.address())?;
        (distance < size).then_some(offset + distance)
    })
}
