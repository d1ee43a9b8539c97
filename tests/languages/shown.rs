//! `--demangle`, `--fold-suffixes` and `--srcline`, on programs of C++.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use perfd::symbolize::{Demangle, Shown, Suffixes};

use crate::go_program::{Names, code_of, elf_of};
use crate::support::{perfd, skip};

/// A function with a part that gcc moves away, since it is never run.
const SOURCE: &str = r#"
#include <vector>
#include <cstdlib>
volatile int sink;
__attribute__((cold, noinline)) void rare(int x) { sink = x; }
namespace ns {
__attribute__((noinline)) int checked(std::vector<int> const &all, int x) {
    if (__builtin_expect(x > 1000000, 0)) {
        for (int y : all) rare(y);
        abort();
    }
    return x + all.size();
}
}
int main(int argc, char **) {
    std::vector<int> all(argc);
    for (long i = 0; i < 200000000; i++) sink = ns::checked(all, argc);
}
"#;

fn program(folder: &Path, options: &[&str]) -> std::path::PathBuf {
    let source = folder.join("program.cc");
    fs::write(&source, SOURCE).expect("written");
    let program = folder.join("program");
    let done = Command::new("g++")
        .args(options)
        .args(["-O2", "-o"])
        .args([&program, &source])
        .status();
    assert!(done.expect("g++ starts").success());
    program
}

fn all_names(program: &Path, shown: Shown) -> BTreeSet<String> {
    let mut names = Names::of(program, shown);
    code_of(&elf_of(program))
        .map(|address| names.at(address).remove(0).text.to_string())
        .collect()
}

#[test]
fn names_are_shown_as_asked_with_debug_information_and_without() {
    const FULL: &str = "ns::checked(std::vector<int, std::allocator<int> > const&, int)";
    let folder = tempfile::tempdir().expect("a folder");
    for (options, cold) in [
        (["-g"].as_slice(), FULL.to_owned()),
        (&[], format!("{FULL} [clone .cold]")),
    ] {
        let program = program(folder.path(), options);
        let has = |shown: Shown, expected: &str| {
            let names = all_names(&program, shown);
            assert!(names.contains(expected), "no {expected} in {names:#?}");
            names
        };
        let full = Shown::default();
        has(full, FULL);
        has(full, &cold);
        let folded = Shown {
            suffixes: Suffixes::Fold,
            ..full
        };
        let names = has(folded, FULL);
        assert!(
            !names.iter().any(|name| name.contains("cold")),
            "{names:#?}"
        );
        let short = Shown {
            demangle: Demangle::Short,
            ..folded
        };
        has(short, "ns::checked");
        let mangled = Shown {
            demangle: Demangle::None,
            ..full
        };
        has(mangled, "_ZN2ns7checkedERKSt6vectorIiSaIiEEi");
    }
}

#[test]
fn the_flags_reach_the_output() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = program(folder.path(), &[]);
    let output = folder.path().join("out.folded");
    let run = perfd()
        .args(["record", "-q", "-e", "cpu-clock:u", "-d", "1", "-o"])
        .arg(&output)
        .args(["--demangle", "short", "--fold-suffixes", "--srcline", "--"])
        .arg(&program)
        .output()
        .expect("perfd runs");
    if matches!(run.status.code(), Some(69 | 77)) {
        return skip(&String::from_utf8_lossy(&run.stderr));
    }
    let folded = fs::read_to_string(&output).expect("written");
    assert!(folded.contains(";main;ns::checked "), "{folded}");
}
