//! Files that were replaced or deleted while a program runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use perfd::model::{Module, ModuleKind, Pid, SeenIn};
use perfd::object::Elf;
use perfd::procfs::maps;

use crate::bench::{Bench, assert_named, has, names};
use crate::support::{backend_forbidden, compile_c, perfd, skip};
use crate::workbench::elf_of;

/// The program of [`Bench::program`], which waits for its standard input.
pub struct Running(Child);

impl Running {
    pub fn start(program: &Path) -> Running {
        Running::of(Command::new(program).arg("wait"))
    }

    pub fn of(command: &mut Command) -> Running {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut line = String::new();
        let output = child.stdout.take().expect("piped");
        BufReader::new(output)
            .read_line(&mut line)
            .expect("it says something");
        Running(child)
    }

    pub fn pid(&self) -> Pid {
        Pid(self.0.id())
    }

    /// The module of its own code, as `/proc` has it.
    pub fn module(&self, program: &Path) -> Module {
        let pid = self.pid();
        let lines = maps::executable(Path::new("/proc"), pid).expect("readable");
        let line = lines.into_iter().find(|line| line.path == program);
        let line = line.expect("mapped");
        Module {
            kind: ModuleKind::File {
                dev: line.dev,
                inode: line.inode,
            },
            path: line.path,
            seen_in: Some(SeenIn {
                pid,
                start: line.start.0,
                end: line.end.0,
                version: None,
            }),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// As if nobody may open links in `map_files`, which takes more than being the user of the process: what is left is the path.
pub fn by_path(mut module: Module) -> Module {
    let seen_in = module.seen_in.as_mut().expect("seen");
    (seen_in.start, seen_in.end) = (0, 1);
    module
}

/// A program that runs, its module, and what its file was.
fn running(bench: &Bench) -> (PathBuf, Running, Module, Elf) {
    let program = bench.program("program", &["-g"]);
    let elf = elf_of(&program);
    let running = Running::start(&program);
    let module = running.module(&program);
    (program, running, module, elf)
}

fn replace(bench: &Bench, with: &str, program: &Path) {
    fs::rename(bench.path(with), program).expect("replaced");
}

#[test]
fn another_build_in_the_place_of_the_program_is_stale() {
    let bench = Bench::new();
    let (program, _running, module, elf) = running(&bench);
    let module = by_path(module);
    assert_named(&names(&module, &elf, bench.config()));
    bench.program("other", &["-g", "-Wl,--build-id=0x0102030405060708"]);
    replace(&bench, "other", &program);
    let names = names(&module, &elf, bench.config());
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["[stale:program]"]);
}

#[test]
fn a_copy_of_the_program_in_its_place_is_the_program() {
    let bench = Bench::new();
    let (program, _running, module, elf) = running(&bench);
    fs::copy(&program, bench.path("copy")).expect("copied");
    replace(&bench, "copy", &program);
    assert_named(&names(&by_path(module), &elf, bench.config()));
}

#[test]
fn without_a_build_id_the_inode_decides() {
    let bench = Bench::new();
    let program = bench.program("program", &["-g", "-Wl,--build-id=none"]);
    let elf = elf_of(&program);
    let running = Running::start(&program);
    let module = by_path(running.module(&program));
    assert_named(&names(&module, &elf, bench.config()));
    fs::copy(&program, bench.path("copy")).expect("copied");
    replace(&bench, "copy", &program);
    assert!(has(
        &names(&module, &elf, bench.config()),
        "[stale:program]"
    ));
}

#[test]
fn what_is_mapped_has_its_names_whatever_became_of_its_path() {
    let bench = Bench::new();
    let (program, running, module, elf) = running(&bench);
    let link = |seen_in: SeenIn| {
        format!(
            "/proc/{}/map_files/{:x}-{:x}",
            seen_in.pid, seen_in.start, seen_in.end
        )
    };
    if fs::File::open(link(module.seen_in.expect("seen"))).is_err() {
        return skip("links in /proc/PID/map_files cannot be opened");
    }
    bench.program(
        "other",
        &["-g", "-DOTHER", "-Wl,--build-id=0x0102030405060708"],
    );
    replace(&bench, "other", &program);
    assert_named(&names(&module, &elf, bench.config()));
    fs::remove_file(&program).expect("removed");
    let deleted = Module {
        path: running.module(&bench.path("program (deleted)")).path,
        ..module
    };
    assert_named(&names(&deleted, &elf, bench.config()));
}

/// Takes its own file away, or puts another one in its place, and then works.
const VANISHES: &str = r#"
#include <stdio.h>
#include <unistd.h>

__attribute__((noinline)) void works(void) { for (volatile long i = 0; i < 300000000; i++) ; }

int main(int argc, char **argv) {
    if (argc > 1 ? rename(argv[1], argv[0]) : unlink(argv[0])) return 1;
    works();
    return 0;
}
"#;

#[test]
fn a_program_that_replaces_or_deletes_itself_is_profiled_with_its_names() {
    if let Some(reason) = backend_forbidden("perf") {
        return skip(&reason);
    }
    for replacement in [None, Some("/bin/true")] {
        let program = compile_c(VANISHES, &["-O1"]);
        let other = program.folder().join("other");
        let mut command = perfd();
        command.args(["record", "-q", "-e", "cpu-clock:u", "-o", "-", "--"]);
        command.arg(program.path());
        if let Some(replacement) = replacement {
            fs::copy(replacement, &other).expect("copied");
            command.arg(&other);
        }
        let output = command.output().expect("perfd runs");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        let whole = |line: &str| line.contains("main;works");
        assert!(text.lines().any(whole), "{text}");
        assert!(!text.contains("[stale:program]"), "{text}");
    }
}
