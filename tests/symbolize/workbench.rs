//! Programs compiled for a test, and the names of all their code.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use perfd::model::{
    AddressKind, FileOffset, Frame, FrameName, Module, ModuleId, ModuleKind, NameKind,
};
use perfd::object::Elf;
use perfd::symbolize::{Config, Inline, Resolver};

use crate::support::skip;

pub const C: &str = r#"
#include <stdio.h>
#include <stdlib.h>
volatile int sink;
static inline __attribute__((always_inline)) int innermost(int x) { sink = x; return x * 3; }
static inline __attribute__((always_inline)) int middle(int x) { return innermost(x) + sink; }
__attribute__((noinline)) int outer(int x) { int y = middle(x); sink += y; return y; }
__attribute__((noinline)) static int leaf(int x) { return x ^ sink; }
int main(int argc, char **argv) {
    if (argc > 5) abort();
    puts("started");
    return outer(argc) + leaf(argc);
}
"#;

/// A directory with what was compiled in it.
pub struct Workbench(tempfile::TempDir);

impl Workbench {
    pub fn new() -> Workbench {
        Workbench(tempfile::tempdir().expect("a directory"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `None` if there is no such compiler, or it does not know an option; this has then been said.
    pub fn try_compile(
        &self,
        compiler: &str,
        source: (&str, &str),
        options: &[&str],
    ) -> Option<PathBuf> {
        let source_path = self.path(source.0);
        fs::write(&source_path, source.1).expect("written");
        let program = self.path(&format!(
            "{}{}",
            source.0,
            options.concat().replace('/', "")
        ));
        let outcome = Command::new(compiler)
            .args(options)
            .arg("-o")
            .arg(&program)
            .arg(&source_path)
            .stderr(Stdio::null())
            .status();
        if outcome.is_ok_and(|status| status.success()) {
            return Some(program);
        }
        skip(&format!("no {compiler} that takes {options:?}"));
        None
    }

    pub fn compile_c(&self, options: &[&str]) -> PathBuf {
        self.try_compile("cc", ("program.c", C), options)
            .expect("a C compiler")
    }
}

pub fn module_of(path: &Path) -> Module {
    let metadata = fs::metadata(path).expect("there");
    Module {
        kind: ModuleKind::File {
            dev: metadata.dev(),
            inode: metadata.ino(),
        },
        path: path.to_owned(),
        seen_in: None,
    }
}

pub fn elf_of(path: &Path) -> Elf {
    Elf::parse(Box::new(fs::File::open(path).expect("opened"))).expect("is elf")
}

pub fn frame(offset: u64) -> Frame {
    Frame {
        module: ModuleId(1),
        kind: AddressKind::Interrupted,
        offset: FileOffset(offset),
    }
}

pub fn resolver(inline: Inline) -> Resolver {
    Resolver::new(Config {
        inline,
        ..Config::default()
    })
}

/// File offsets of everything executable, or of `.text` alone.
pub fn code_of(elf: &Elf) -> Vec<u64> {
    elf.segments()
        .iter()
        .filter(|segment| segment.is_executable())
        .flat_map(|segment| segment.file_offset.0..segment.file_offset.0 + segment.file_size)
        .collect()
}

pub fn shown(names: &[FrameName]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| match name.kind {
            NameKind::Inlined => format!("{}_[i]", name.text),
            _ => name.text.to_string(),
        })
        .collect();
    names.join(";")
}

/// All different chains of names in a program.
pub fn chains(path: &Path, inline: Inline) -> BTreeSet<String> {
    chains_at(path, inline, code_of(&elf_of(path)))
}

pub fn chains_at(path: &Path, inline: Inline, offsets: Vec<u64>) -> BTreeSet<String> {
    let mut resolver = resolver(inline);
    let module = module_of(path);
    offsets
        .into_iter()
        .map(|offset| shown(&resolver.name(&module, frame(offset))))
        .collect()
}

#[track_caller]
pub fn assert_has(chains: &BTreeSet<String>, expected: &[&str]) {
    for chain in expected {
        assert!(chains.contains(*chain), "no {chain} in {chains:#?}");
    }
}
