//! Packages and files of split DWARF: where they are found, and what is never opened.

use std::fs;
use std::path::{Path, PathBuf};

use perfd::debug_files::Origin;
use perfd::object::Elf;

use crate::bench::{Bench, on_host};

fn is_unit(elf: &Elf) -> bool {
    let size = |name| elf.section_size(name).expect("declared");
    size(".debug_info.dwo") > 0 && size(".debug_info") == 0
}

/// The folder's name as DWARF has it.
fn comp_dir(bench: &Bench) -> Vec<u8> {
    bench
        .path("")
        .to_str()
        .expect("text")
        .trim_end_matches('/')
        .into()
}

fn unit(bench: &Bench, origin: &Origin, comp_dir: &[u8], name: &str) -> Option<Elf> {
    bench
        .debug_files()
        .split_unit(origin, comp_dir, name.as_bytes())
}

/// A program with its unit, whose name is returned.
fn split(bench: &Bench) -> (PathBuf, &'static str) {
    let program = bench.program("split", &["-g", "-gsplit-dwarf"]);
    assert!(bench.path("split-program.dwo").exists());
    (program, "split-program.dwo")
}

#[test]
fn a_unit_is_found_from_its_folder_and_when_it_was_moved_along_with_the_program() {
    let bench = Bench::new();
    let (program, name) = split(&bench);
    let folder = comp_dir(&bench);
    let path = bench.path(name);
    let absolute = path.to_str().expect("text");
    for (comp_dir, name) in [
        (&folder[..], name),
        (b"/no/such/folder", absolute),
        (b"", name),
        (b"/no/such/folder", name),
        (b"/no/such/folder", "sub/split-program.dwo"),
    ] {
        let found = unit(&bench, &on_host(&program), comp_dir, name).expect("found");
        assert!(is_unit(&found), "{name}");
    }
    let elsewhere = on_host(Path::new("/no/such/folder/program"));
    assert!(unit(&bench, &elsewhere, &folder, name).is_some());
    assert!(unit(&bench, &elsewhere, b"/no/such/folder", name).is_none());
}

#[test]
fn what_is_no_regular_elf_file_is_no_unit() {
    let bench = Bench::new();
    let (program, name) = split(&bench);
    let folder = comp_dir(&bench);
    let origin = on_host(&program);
    for name in [
        "",
        "/etc/passwd",
        "../../../../../../../etc/passwd",
        "/dev/zero",
        "/",
        "\0",
    ] {
        assert!(unit(&bench, &origin, &folder, name).is_none(), "{name:?}");
    }
    let long = "a/".repeat(4096);
    assert!(unit(&bench, &origin, &folder, &long).is_none());
    fs::remove_file(bench.path(name)).expect("removed");
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&bench.path(name), mode).expect("made");
    assert!(unit(&bench, &origin, &folder, name).is_none());
}

#[test]
fn packages_of_both_compilers_lie_beside_the_program_or_its_debug_file() {
    let bench = Bench::new();
    // What either packer makes of the other compiler's DWARF 5 takes for ever, or ends it.
    for (compiler, packer, version) in [
        ("cc", "dwp", "-gdwarf-4"),
        ("clang-14", "llvm-dwp-14", "-gdwarf-5"),
    ] {
        let split = bench.path("split");
        bench.program("split", &[]);
        let words = ["-O2", "-g", version, "-gsplit-dwarf", "-c", "-o", "unit.o"];
        let words = [&words[..], &["program.c"]].concat();
        let made = bench
            .run(compiler, &words)
            .and_then(|_| bench.run(packer, &["-o", "package", "unit.dwo"]));
        if made.is_none() {
            continue;
        }
        for place in ["split.dwp", "split.debug.dwp"] {
            let package = || bench.debug_files().package(&on_host(&split));
            assert!(package().is_none());
            fs::copy(bench.path("package"), bench.path(place)).expect("copied");
            let package = package().expect("found");
            assert!(is_unit(&package), "{packer}: {place}");
            assert!(package.section_size(".debug_cu_index").expect("declared") > 0);
            fs::remove_file(bench.path(place)).expect("removed");
        }
    }
}
