//! The files that are compared.

use std::path::{Path, PathBuf};

use object::Object;

use crate::addresses::addresses;
use crate::answers::{Names, ask_llvm, ask_perfd, stand_in};
use crate::compare::compare;
use crate::programs;
use crate::support::skip;
use crate::symbols::Symbols;

/// Asked of a large file. A small one is asked all.
const MANY: usize = 100_000;
/// Asked of programs that are built here and carry their language's library, some 300 KB of it.
const SOME: usize = 20_000;

/// A file to be named, and the one that its debug information is in.
struct Subject<'a> {
    file: &'a Path,
    debug_file: &'a Path,
}

impl Subject<'_> {
    fn whole(file: &Path) -> Subject<'_> {
        Subject {
            file,
            debug_file: file,
        }
    }

    /// Compares up to `n` addresses, of which the reference has to know most.
    fn check(&self, n: usize) {
        let bytes = std::fs::read(self.debug_file).expect("readable");
        let elf = object::File::parse(&*bytes).expect("an ELF file");
        let addresses = addresses(&elf, n);
        let Some(reference) = ask_llvm(self.debug_file, &addresses, Names::Linked) else {
            return skip("no llvm-symbolizer");
        };
        // Not every peer finds debug files by build id.
        let file = stand_in().map_or(self.file, |_| self.debug_file);
        let judged = ask_perfd(file, &addresses, Names::Linked, &["--no-cache"]);
        let report = compare(&addresses, &reference, &judged, &Symbols::of(&elf));
        eprintln!("{}: {report}", self.file.display());
        // Else there is nothing to agree about.
        assert!(
            report.n_with_line * 2 > addresses.len() && report.n_inlined * 20 > addresses.len()
        );
        assert!(report.agrees(), "more than one address in a thousand");
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn perfd_itself() {
    Subject::whole(Path::new(env!("CARGO_BIN_EXE_perfd"))).check(MANY);
}

#[test]
fn the_c_library_whose_debug_information_is_elsewhere() {
    let Some((file, debug_file)) = c_library() else {
        return skip("no debug information of the C library (libc6-dbg)");
    };
    let subject = Subject {
        file: &file,
        debug_file: &debug_file,
    };
    subject.check(MANY);
}

/// The library that this process has loaded, and its debug file by build id.
fn c_library() -> Option<(PathBuf, PathBuf)> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("readable");
    let file = maps
        .lines()
        .filter_map(|line| line.find('/').map(|at| &line[at..]))
        .find(|path| path.ends_with("/libc.so.6"))?;
    let bytes = std::fs::read(file).expect("it is loaded");
    let elf = object::File::parse(&*bytes).expect("it is loaded");
    let id = elf.build_id().expect("readable")?;
    let digits: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let (folder, name) = digits.split_at_checked(2)?;
    let debug_file = format!("/usr/lib/debug/.build-id/{folder}/{name}.debug");
    std::fs::exists(&debug_file)
        .expect("looked up")
        .then(|| (file.into(), debug_file.into()))
}

#[test]
fn the_python_library() {
    match python_library() {
        Some(file) => Subject::whole(&file).check(MANY),
        None => skip("no libpython with debug information (python3-dbg)"),
    }
}

/// Debian's debug build has all in one file.
fn python_library() -> Option<PathBuf> {
    let folder = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let files = std::fs::read_dir(folder).ok()?;
    files
        .map(|file| file.expect("an entry").path())
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libpython3.") && name.ends_with("d.so.1.0")
        })
}

const GCC: &[[&str; 2]] = &[["gcc", "g++"]];
const CLANG: &[[&str; 2]] = &[["clang-14", "clang++-14"], ["clang", "clang++"]];

/// With the first of the compilers that is installed.
fn check_cpp(compilers: &[[&str; 2]], flags: &[&str]) {
    let folder = folder();
    let built = compilers
        .iter()
        .find_map(|&compilers| programs::cpp(folder.path(), compilers, flags));
    match built {
        Some(program) => Subject::whole(&program).check(MANY),
        None => skip(&format!("none of {compilers:?}")),
    }
}

#[test]
fn cpp_by_gcc_in_dwarf_5() {
    check_cpp(GCC, &["-gdwarf-5", "-ffunction-sections"]);
}

#[test]
fn cpp_by_gcc_in_dwarf_4_optimised_when_it_is_linked() {
    check_cpp(GCC, &["-gdwarf-4", "-flto"]);
}

#[test]
fn cpp_by_clang_in_dwarf_4() {
    check_cpp(CLANG, &["-gdwarf-4"]);
}

#[test]
fn cpp_by_clang_in_dwarf_5() {
    check_cpp(CLANG, &["-gdwarf-5", "-O3", "-ffunction-sections"]);
}

#[test]
fn cpp_whose_units_are_in_files_of_their_own() {
    check_cpp(GCC, &["-gdwarf-5", "-gsplit-dwarf"]);
    check_cpp(GCC, &["-gdwarf-4", "-gsplit-dwarf"]);
}

#[test]
fn cpp_with_compressed_debug_information() {
    check_cpp(GCC, &["-gdwarf-5", "-gz"]);
}

fn check_rust(flags: &[&str]) {
    let folder = folder();
    match programs::rust(folder.path(), flags) {
        Some(program) => Subject::whole(&program).check(SOME),
        None => skip("no rustc"),
    }
}

#[test]
fn rust_in_dwarf_4() {
    check_rust(&["-Cdwarf-version=4", "-Ccodegen-units=4"]);
}

#[test]
fn rust_in_dwarf_5_with_names_of_version_0() {
    check_rust(&["-Cdwarf-version=5", "-Csymbol-mangling-version=v0"]);
}

#[test]
fn go() {
    let folder = folder();
    match programs::go(folder.path()) {
        Some(program) => Subject::whole(&program).check(SOME),
        None => skip("no go"),
    }
}
