//! What a child finds is what this process finds: names with inlined functions and lines, and unwind tables, of real programs.

use std::path::{Path, PathBuf};
use std::process::Command;

use perfd::model::{FrameName, ModuleId};
use perfd::object::Elf;
use perfd::parser::Facts;
use perfd::symbolize::{CacheFolder, Config, Resolver, Shown, Srcline};
use perfd::unwind::Table;

use crate::bench::{begin, frame, module_of, name_all, names, places, tables};
use crate::support::{compile_c, skip};

const PLACES: u64 = 700;

fn config() -> Config {
    Config {
        shown: Shown {
            srcline: Srcline::Show,
            ..Shown::default()
        },
        ..Config::default()
    }
}

/// python3, the C library, this test (Rust), a C program and, where there is a compiler, one in Go.
fn programs(folder: &Path) -> Vec<PathBuf> {
    let mut programs = vec![std::env::current_exe().expect("ourselves")];
    for path in [
        "/usr/bin/python3",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/bin/ls",
    ] {
        programs.extend(std::fs::canonicalize(path));
    }
    let source = "package main\nimport \"fmt\"\nfunc main() { fmt.Println(1) }\n";
    let main = folder.join("main.go");
    std::fs::write(&main, source).expect("written");
    let go = folder.join("go");
    let built = Command::new("go")
        .args(["build", "-o"])
        .args([&go, &main])
        .env("GOCACHE", folder.join("cache"))
        .env("HOME", folder)
        .output();
    match built {
        Ok(output) if output.status.success() => programs.push(go),
        _ => skip("no Go compiler"),
    }
    programs
}

fn here(config: Config, number: u32, path: &Path, places: &[u64]) -> Vec<Vec<FrameName>> {
    let module = module_of(path);
    let mut resolver = Resolver::new(config);
    places
        .iter()
        .map(|place| resolver.name(&module, frame(number, *place)))
        .collect()
}

#[test]
fn names_of_real_programs_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let begin = begin(config());
    let mut in_child = names(&begin);
    let mut n_named = 0;
    for (path, number) in programs(folder.path()).iter().zip(1..) {
        let places = places(path, PLACES);
        let found = name_all(&mut in_child, number, path, &places);
        let expected = here(config(), number, path, &places);
        for ((found, expected), place) in found.iter().zip(&expected).zip(&places) {
            assert_eq!(found, expected, "{} at {place:#x}", path.display());
        }
        let named = expected.iter().filter(|names| names[0].unnamed.is_none());
        n_named += named.count();
    }
    assert!(n_named > 1000, "{n_named}");
    let facts = begin.tally.facts();
    let expected = Facts {
        started: 1,
        ..Facts::default()
    };
    assert_eq!(facts, expected);
    assert_eq!(in_child.notes(), [""; 0]);
}

#[test]
fn tables_of_real_programs_are_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let begin = begin(Config::default());
    let mut in_child = tables(&begin);
    for path in programs(folder.path()) {
        let file = std::fs::File::open(&path).expect("readable");
        let elf = Elf::parse(Box::new(file)).expect("an ELF file");
        let expected = Table::build(&elf).ok();
        let found = in_child.table(&module_of(&path));
        assert!(
            expected
                .as_ref()
                .is_some_and(|table| !table.rows().is_empty())
        );
        assert!(found == expected, "{}", path.display());
    }
    assert_eq!(begin.tally.facts().started, 1);
}

#[test]
fn the_cache_is_written_by_one_and_read_by_the_other() {
    let path = std::env::current_exe().expect("ourselves");
    let places = places(&path, PLACES);
    let expected = here(Config::default(), 1, &path, &places);
    let with_cache = |folder: &Path| Config {
        cache: Some(CacheFolder::open(folder).expect("ours")),
        ..Config::default()
    };
    let files = |folder: &Path| std::fs::read_dir(folder).expect("a folder").count();
    let folder = tempfile::tempdir().expect("a folder");
    for n_before in 0..2 {
        assert_eq!(files(folder.path()), n_before);
        let mut in_child = names(&begin(with_cache(folder.path())));
        assert!(name_all(&mut in_child, 1, &path, &places) == expected);
        in_child.finish();
        // What is there already is not made again.
        assert_eq!(files(folder.path()), 1);
    }
    let mut resolver = Resolver::new(with_cache(folder.path()));
    let module = module_of(&path);
    for (place, expected) in places.iter().zip(&expected) {
        assert_eq!(&resolver.name(&module, frame(1, *place)), expected);
    }
    resolver.finish();
    assert_eq!(files(folder.path()), 1);
}

#[test]
fn a_debug_file_is_found_and_one_that_does_not_fit_is_told_of() {
    let program = compile_c("int main(void) { return 0; }", &["-O1"]);
    let run = |command: &str, arguments: &[&str]| {
        let status = Command::new(command)
            .current_dir(program.folder())
            .args(arguments)
            .status();
        assert!(status.expect("binutils").success());
    };
    run(
        "objcopy",
        &["--only-keep-debug", "program", "program.debug"],
    );
    run(
        "objcopy",
        &[
            "--add-gnu-debuglink=program.debug",
            "--strip-all",
            "program",
        ],
    );
    let path = program.path();
    let places = places(path, 100);
    let main = |names: &[Vec<FrameName>]| names.iter().any(|names| &*names[0].text == "main");
    let begin = begin(Config::default());
    let mut in_child = names(&begin);
    assert!(main(&name_all(&mut in_child, 1, path, &places)));
    assert_eq!(in_child.notes(), [""; 0]);
    std::fs::write(program.folder().join("program.debug"), "not any more").expect("written");
    let mut resolver = Resolver::new(Config::default());
    let module = module_of(path);
    resolver.name(&module, frame(1, places[0]));
    let mut in_child = names(&begin);
    assert!(!main(&name_all(&mut in_child, 1, path, &places)));
    assert_eq!(in_child.notes().len(), 1);
    assert_eq!(in_child.notes(), resolver.notes());
}

#[test]
fn a_child_that_rests_comes_back_and_knows_its_modules_again() {
    let path = std::env::current_exe().expect("ourselves");
    let places = places(&path, 20);
    let begin = begin(Config::default());
    let mut in_child = names(&begin);
    assert_eq!(in_child.idle(), None);
    let first = name_all(&mut in_child, 1, &path, &places);
    assert!(in_child.idle().is_some());
    in_child.rest();
    assert_eq!(in_child.idle(), None);
    assert_eq!(name_all(&mut in_child, 1, &path, &places), first);
    assert_eq!(begin.tally.facts().started, 2);
    let module = perfd::model::Module {
        kind: perfd::model::ModuleKind::Kernel,
        ..module_of(&path)
    };
    let kernel = perfd::model::Frame {
        module: ModuleId(0),
        ..frame(0, 0)
    };
    assert_eq!(in_child.name(&module, kernel).len(), 1);
}
