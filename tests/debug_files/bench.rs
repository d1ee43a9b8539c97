//! Programs that are compiled, split and linked to their debug files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use perfd::debug_files::{Config, DebugFiles, Origin};
use perfd::model::{Module, Pid};
use perfd::object::Elf;
use perfd::symbolize::{self, Resolver};

use crate::support::skip;
use crate::workbench::{code_of, elf_of, frame, module_of, shown};

/// Has a function inlined into another, and one that only a symbol table knows.
pub const SOURCE: &str = r#"
#include <stdio.h>
volatile int sink;
static inline __attribute__((always_inline)) int inlined(int x) { sink = x; return x * 3; }
__attribute__((noinline)) int outer(int x) { int y = inlined(x); sink += y; return y; }
__attribute__((noinline)) static int hidden(int x) { return x ^ sink; }
int main(int argc, char **argv) {
    puts(argv[0]);
    fflush(stdout);
    if (argc == 2) getchar();
    for (volatile long i = 0; argc > 2 && i < 100000000; i++) ;
    return outer(argc) + hidden(argc);
}
"#;

/// A folder of one test.
pub struct Bench(tempfile::TempDir);

impl Bench {
    pub fn new() -> Bench {
        Bench(tempfile::tempdir().expect("a folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Compiles [`SOURCE`] with `cc`.
    pub fn program(&self, name: &str, flags: &[&str]) -> PathBuf {
        fs::write(self.path("program.c"), SOURCE).expect("written");
        let words = [&["-O2", "-o", name, "program.c"], flags].concat();
        self.run("cc", &words).expect("a C compiler");
        self.path(name)
    }

    /// Runs a tool in the folder, which must end well; `None`, and said, if it is not installed.
    pub fn run(&self, tool: &str, arguments: &[&str]) -> Option<Output> {
        let outcome = Command::new(tool)
            .args(arguments)
            .current_dir(self.0.path())
            .output();
        let Ok(output) = outcome else {
            skip(&format!("no {tool}"));
            return None;
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{tool} {arguments:?}: {said}");
        Some(output)
    }

    /// Moves the debug information of a program into `debug_file`, which lies in the folder too.
    pub fn split(&self, program: &str, debug_file: &str) {
        self.make_folder_of(debug_file);
        self.run("objcopy", &["--only-keep-debug", program, debug_file]);
        self.run("strip", &[program]);
    }

    pub fn make_folder_of(&self, file: &str) {
        let folder = self.path(file);
        fs::create_dir_all(folder.parent().expect("in the folder")).expect("made");
    }

    /// The place for the debug file of a program below the folder `root`.
    pub fn by_build_id(&self, root: &str, program: &str) -> String {
        let build_id = elf_of(&self.path(program)).build_id().expect("one");
        let digits = build_id.to_string();
        format!("{root}/.build-id/{}/{}.debug", &digits[..2], &digits[2..])
    }

    /// Searches in `debug` instead of `/usr/lib/debug`.
    pub fn config(&self) -> Config {
        Config {
            roots: vec![self.path("debug")],
            debuginfod: None,
        }
    }

    pub fn debug_files(&self) -> DebugFiles {
        DebugFiles::new(Path::new("/proc"), self.config())
    }

    /// All chains of names in a program.
    pub fn names(&self, program: &Path) -> BTreeSet<String> {
        names(&module_of(program), &elf_of(program), self.config())
    }
}

/// All chains of names in a module.
pub fn names(module: &Module, elf: &Elf, config: Config) -> BTreeSet<String> {
    let mut resolver = Resolver::new(symbolize::Config {
        debug_files: config,
        ..symbolize::Config::default()
    });
    code_of(elf)
        .into_iter()
        .map(|offset| shown(&resolver.name(module, frame(offset))))
        .collect()
}

pub fn has(names: &BTreeSet<String>, wanted: &str) -> bool {
    names.iter().any(|name| name == wanted)
}

/// Asserts that a stripped program has all names.
#[track_caller]
pub fn assert_named(names: &BTreeSet<String>) {
    for wanted in ["main", "hidden", "outer", "outer;inlined_[i]", "puts@plt"] {
        assert!(has(names, wanted), "no {wanted} in {names:#?}");
    }
}

/// Asserts that a stripped program has those names alone that strip leaves.
#[track_caller]
pub fn assert_bare(names: &BTreeSet<String>) {
    assert!(has(names, "puts@plt"), "{names:#?}");
    for unwanted in ["main", "hidden", "outer"] {
        assert!(!has(names, unwanted), "{unwanted} in {names:#?}");
    }
}

pub fn on_host(path: &Path) -> Origin {
    Origin {
        path: path.to_owned(),
        pid: None,
    }
}

pub fn seen_by(pid: u32, path: &str) -> Origin {
    Origin {
        path: PathBuf::from(path),
        pid: Some(Pid(pid)),
    }
}
