//! Real programs under the default settings: python3, a compiler at work, xz or gzip, git. At least 99 of 100 user
//! stacks reach their root, except where the copied stack is too short, which the ledger must say.
//!
//! Two judges: the ledger, and the outermost frames of the folded output, which must be one of the loader's or clone's.
//! A root without a name (a stripped file) must lie at the entry point of the file that it names.

use std::path::{Path, PathBuf};
use std::process::Command;

use folded::{bare, ended, parse, said};

mod folded;
mod support;

#[test]
fn stacks_of_python_reach_their_root() {
    let script = "
import json, re
def tree(depth): return [tree(depth - 1) for _ in range(3)] if depth else {'leaf': list(range(5))}
for _ in range(40):
    text = json.dumps(tree(7))
    numbers = sorted(map(int, re.findall(r'[0-9]+', text)), key=lambda n: -n)
    assert json.loads(text)
";
    check(&["python3", "-c", script], &[]);
}

#[test]
fn stacks_of_a_compiler_reach_their_root() {
    let source = (0..400).fold(
        String::from("#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n"),
        |source, n| {
            source
                + &format!(
                    "struct s{n} {{ int a[{n} + 1]; char *text; }};\n\
                     int f{n}(struct s{n} *s, int x) {{\n\
                       for (int i = 0; i < {n} + 1; i++) s->a[i] = x * i + (int)strlen(s->text);\n\
                       switch (x % 7) {{ case 0: return s->a[0]; case 1: return printf(\"%d\", x); case 2: return abs(x); }}\n\
                       return x > 3 ? f{n}(s, x - 1) + {n} : s->a[{n}];\n\
                     }}\n"
                )
        },
    );
    check(
        &[
            "cc", "-x", "c", "-O2", "-g", "-c", "input", "-o", "output.o",
        ],
        &[("input", source.as_bytes())],
    );
}

#[test]
fn stacks_of_a_compressor_reach_their_root() {
    let program = if installed("xz") { "xz" } else { "gzip" };
    check(
        &[program, "-k", "-9", "-f", "input"],
        &[("input", &numbers(1_000_000))],
    );
}

#[test]
fn stacks_of_git_reach_their_root() {
    let text = String::from_utf8(numbers(80_000)).expect("digits");
    let lines: Vec<&str> = text.split(' ').collect();
    let backwards: Vec<&str> = lines.iter().rev().copied().collect();
    check(
        &[
            "git",
            "diff",
            "--no-index",
            "--minimal",
            "--stat",
            "input",
            "backwards",
        ],
        &[
            ("input", lines.join("\n").as_bytes()),
            ("backwards", backwards.join("\n").as_bytes()),
        ],
    );
}

/// Text that compresses, but not at once.
fn numbers(n_bytes: usize) -> Vec<u8> {
    let mut x: u64 = 88_172_645_463_325_252;
    let mut text = Vec::with_capacity(n_bytes + 20);
    while text.len() < n_bytes {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        text.extend_from_slice(format!("{} ", x % 100_000).as_bytes());
    }
    text
}

fn installed(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

/// Records `command` in a folder of its own, which holds `files`.
fn check(command: &[&str], files: &[(&str, &[u8])]) {
    if !installed(command[0]) {
        return support::skip(&format!("{} is not installed", command[0]));
    }
    if let Some(reason) = folded::forbidden(&mut support::perfd()) {
        return support::skip(&reason);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    for (name, bytes) in files {
        std::fs::write(at(name), bytes).expect("the input is written");
    }
    let output = support::perfd()
        .args(["record", "-q", "-e", "cpu-clock", "--unit", "samples", "-o"])
        .arg(at("out.folded"))
        .arg("-o")
        .arg(at("out.json"))
        .arg("--")
        .args(command)
        .current_dir(folder.path())
        .output()
        .expect("perfd runs");
    // 1 is git's way to say that files differ.
    assert!(
        matches!(output.status.code(), Some(0 | 1)),
        "perfd: {}",
        said(&output)
    );
    let text = std::fs::read_to_string(at("out.folded")).expect("a folded file");
    let tally = Tally::of_folded(&text, &is_root).expect("folded lines");
    assert_eq!(tally.judge(200), Ok(()), "{tally:?}");

    let ledger = ended(&at("out.json")).expect("a ledger");
    let in_ledger = |reason: &str| ledger.get(reason).copied().unwrap_or(0);
    assert_eq!(
        in_ledger("copy_too_short"),
        tally.too_short,
        "the ledger says which copies were too short: {ledger:?}"
    );
    // In exec and exit the kernel works for a process whose stack is gone: no user stack, hence no mark.
    assert_eq!(
        in_ledger("root") + in_ledger("no_user_stack"),
        tally.whole + tally.rootless + tally.in_kernel,
        "the ledger counts the stacks without a mark: {ledger:?}"
    );
    assert!(
        tally.rootless <= in_ledger("no_user_stack"),
        "whole by the ledger, but without a root: {tally:?}"
    );
}

/// User stacks of a folded file.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    /// Whole by the mark and by the root.
    whole: u64,
    /// Not marked, but the outermost frame is no root.
    rootless: u64,
    /// Nothing but kernel frames.
    in_kernel: u64,
    /// Marked: the copied stack was too short.
    too_short: u64,
    /// Marked for another reason.
    marked: u64,
    /// Outermost frames that are no roots, and reasons of marks, for the report.
    strange: std::collections::BTreeSet<String>,
}

impl Tally {
    fn of_folded(text: &str, is_root: &impl Fn(&str) -> bool) -> Result<Tally, String> {
        let mut tally = Tally::default();
        for stack in parse(text)? {
            match (&stack.truncated, stack.frames.first()) {
                (Some(reason), _) if reason.contains("copy too short") => {
                    tally.too_short += stack.samples
                }
                (Some(reason), frame) => {
                    tally.marked += stack.samples;
                    tally
                        .strange
                        .insert(format!("{reason} {}", frame.map_or("", String::as_str)));
                }
                (None, Some(root)) if is_root(root) => tally.whole += stack.samples,
                (None, Some(root)) => {
                    tally.rootless += stack.samples;
                    tally.strange.insert(root.clone());
                }
                (None, None) => tally.in_kernel += stack.samples,
            }
        }
        Ok(tally)
    }

    /// At least 99 of 100 that fit the copy are whole, of at least so many.
    fn judge(&self, least: u64) -> Result<(), String> {
        let fitting = self.whole + self.rootless + self.marked;
        if fitting + self.too_short < least {
            return Err(format!("only {} user stacks", fitting + self.too_short));
        }
        if self.whole * 100 < fitting * 99 {
            return Err(format!("{} of {fitting} stacks are whole", self.whole));
        }
        Ok(())
    }
}

/// Whether a frame is where a thread begins.
fn is_root(frame: &str) -> bool {
    let name = bare(frame);
    let name = name
        .split('@')
        .next()
        .unwrap_or_default()
        .trim_start_matches('_');
    if [
        "start",
        "clone",
        "clone2",
        "clone3",
        "start_thread",
        "dl_start",
        "dl_start_user",
    ]
    .contains(&name)
        || name.starts_with("libc_start_")
    {
        return true;
    }
    let Some((module, offset)) = frame.rsplit_once("+0x") else {
        return false;
    };
    // A stripped libc has no name for clone; everything else begins at an entry point.
    let offset = u64::from_str_radix(offset, 16).unwrap_or(u64::MAX);
    module.starts_with("libc.so")
        || file_of(module)
            .and_then(|file| entry_point(&file))
            .is_some_and(|entry| {
                // _start is shorter than this, in the loader and in programs.
                (entry..entry + 0x40).contains(&offset)
            })
}

/// The file of a module's short name, among programs, the compiler's own programs and the loader.
fn file_of(module: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let compiler = Command::new("cc").arg("-print-prog-name=cc1").output().ok();
    let compiler = compiler.and_then(|output| {
        let cc1 = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Some(Path::new(&cc1).parent()?.to_owned())
    });
    let git = PathBuf::from("/usr/lib/git-core");
    std::env::split_paths(&path)
        .chain(compiler)
        .chain(["/lib64", "/lib"].map(PathBuf::from))
        .chain([git])
        .filter_map(|folder| std::fs::canonicalize(folder.join(module)).ok())
        .find(|file| file.is_file())
}

/// The file offset of an ELF file's entry point.
fn entry_point(file: &Path) -> Option<u64> {
    let bytes = std::fs::read(file).ok()?;
    let number = |at: usize, n_bytes: usize| {
        let field = bytes.get(at..at + n_bytes)?;
        Some(
            field
                .iter()
                .rev()
                .fold(0, |number, byte| number << 8 | u64::from(*byte)),
        )
    };
    let index = |number: u64| usize::try_from(number).ok();
    let (entry, headers, n_headers) = (
        number(24, 8)?,
        index(number(32, 8)?)?,
        index(number(56, 2)?)?,
    );
    (0..n_headers).map(|n| headers + n * 56).find_map(|header| {
        let (kind, offset, address, size) = (
            number(header, 4)?,
            number(header + 8, 8)?,
            number(header + 16, 8)?,
            number(header + 32, 8)?,
        );
        let inside = kind == 1 && (address..address + size).contains(&entry);
        inside.then(|| entry - address + offset)
    })
}

#[test]
fn the_judge_refuses_broken_stacks_and_too_few_of_them() {
    let tally = |text: &str| Tally::of_folded(text, &is_root).expect("folded lines");
    let judged = |text: &str| tally(text).judge(200);
    assert_eq!(
        judged("p;_start;main;work 990\np;[truncated: no unwind row];work 10\n"),
        Ok(())
    );
    assert!(judged("p;_start;main;work 989\np;[truncated: no unwind row];work 11\n").is_err());
    assert!(judged("p;_start;main;work 989\np;main;work 11\n").is_err());
    assert!(judged("p;_start;main;work 199\n").is_err());
    assert_eq!(
        judged("p;_start;main;work 300\np;[truncated: stack copy too short];work 300\n"),
        Ok(())
    );
    assert_eq!(
        tally("p;do_exit_[k] 7\np;clone3;start_thread;work 5\n").whole,
        5
    );
    assert_eq!(tally("p;no-such-program+0x1020;work 5\n").rootless, 5);
}

#[test]
fn an_unnamed_root_is_the_entry_point_of_its_file() {
    let shell = std::fs::canonicalize("/bin/sh").expect("a shell");
    let module = shell
        .file_name()
        .and_then(|name| name.to_str())
        .expect("a file name")
        .to_owned();
    let entry = entry_point(&shell).expect("an ELF file");
    assert!(is_root(&format!("{module}+{:#x}", entry + 0x21)));
    assert!(!is_root(&format!("{module}+{:#x}", entry + 0x1000)));
}
