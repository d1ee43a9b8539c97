//! Names of frames in programs that are compiled here, against what is known of them and against binutils' `addr2line`.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use perfd::model::{
    AddressKind, FileOffset, Frame, FrameName, Module, ModuleId, ModuleKind, NameKind, Pid, Unnamed,
};
use perfd::object::{Elf, LinkedAddress};
use perfd::symbolize::{Config, Inline, Resolver};

const C: &str = r#"
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

const CPP: &str = r#"
#include <cstdio>
volatile int sink;
namespace shapes {
struct Square {
    int side;
    Square(int side);
    __attribute__((noinline)) int area() const;
    __attribute__((always_inline)) int half() const { sink = 1; return side / 2; }
};
__attribute__((noinline)) Square::Square(int side) : side(side) { sink = side; }
int Square::area() const { return side * half() + sink; }
}
template <typename T> __attribute__((noinline)) T biggest(T a, T b) { sink = 2; return a > b ? a : b; }
namespace { __attribute__((noinline)) int hidden(const char *text) { sink = text[0]; return sink; } }
int main(int argc, char **argv) {
    shapes::Square square(argc);
    return square.area() + biggest<int>(argc, sink) + hidden(argv[0]);
}
"#;

const RUST: &str = r#"
use std::hint::black_box;
mod shapes {
    use super::black_box;
    pub trait Area { fn area(&self) -> u64; }
    pub struct Square(pub u64);
    impl Area for Square {
        #[inline(never)]
        fn area(&self) -> u64 { black_box(self.0) * half(self.0) }
    }
    #[inline(always)]
    fn half(side: u64) -> u64 { black_box(side) / 2 }
    #[inline(never)]
    pub fn total<A: Area>(all: &[A]) -> u64 { all.iter().map(|one| black_box(one.area())).sum() }
}
fn main() { println!("{}", shapes::total(&[shapes::Square(black_box(3)), shapes::Square(4)])); }
"#;

/// A directory with what was compiled in it.
struct Workbench(tempfile::TempDir);

impl Workbench {
    fn new() -> Workbench {
        Workbench(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `None` if there is no such compiler, or it does not know an option; this has then been said.
    fn try_compile(
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
        skipped(&format!("no {compiler} that takes {options:?}"));
        None
    }

    fn compile_c(&self, options: &[&str]) -> PathBuf {
        self.try_compile("cc", ("program.c", C), options)
            .expect("a C compiler")
    }
}

fn skipped(reason: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {reason}").expect("standard error");
}

fn module_of(path: &Path) -> Module {
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

fn elf_of(path: &Path) -> Elf {
    Elf::parse(Box::new(fs::File::open(path).expect("opened"))).expect("is elf")
}

fn frame(offset: u64) -> Frame {
    Frame {
        module: ModuleId(1),
        kind: AddressKind::Interrupted,
        offset: FileOffset(offset),
    }
}

fn resolver(inline: Inline) -> Resolver {
    Resolver::new(Config {
        inline,
        ..Config::default()
    })
}

/// File offsets of everything executable, or of `.text` alone.
fn code_of(elf: &Elf) -> Vec<u64> {
    elf.segments()
        .iter()
        .filter(|segment| segment.is_executable())
        .flat_map(|segment| segment.file_offset.0..segment.file_offset.0 + segment.file_size)
        .collect()
}

fn shown(names: &[FrameName]) -> String {
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
fn chains(path: &Path, inline: Inline) -> BTreeSet<String> {
    chains_at(path, inline, code_of(&elf_of(path)))
}

fn chains_at(path: &Path, inline: Inline, offsets: Vec<u64>) -> BTreeSet<String> {
    let mut resolver = resolver(inline);
    let module = module_of(path);
    offsets
        .into_iter()
        .map(|offset| shown(&resolver.name(&module, frame(offset))))
        .collect()
}

#[track_caller]
fn assert_has(chains: &BTreeSet<String>, expected: &[&str]) {
    for chain in expected {
        assert!(chains.contains(*chain), "no {chain} in {chains:#?}");
    }
}

/// Asks binutils for the same chains, outermost first.
fn addr2line(path: &Path, addresses: &[LinkedAddress]) -> Option<Vec<Vec<String>>> {
    let mut child = Command::new("addr2line")
        .args(["-a", "-f", "-i", "-C", "-e"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().expect("piped");
    let questions: String = addresses
        .iter()
        .map(|address| format!("{:#x}\n", address.0))
        .collect();
    let writer = std::thread::spawn(move || input.write_all(questions.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("no panic").expect("it reads");
    let mut answers: Vec<Vec<String>> = Vec::new();
    let mut is_name = true;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if line.starts_with("0x") {
            answers.push(Vec::new());
            is_name = true;
            continue;
        }
        if is_name && let Some(answer) = answers.last_mut() {
            answer.insert(0, line.to_owned());
        }
        is_name = !is_name;
    }
    Some(answers)
}

/// Compares all named addresses of `.text` with binutils, whose names `normal` brings into our form.
fn check_against_addr2line(path: &Path, normal: impl Fn(&str) -> String) {
    let elf = elf_of(path);
    let text = elf.section(".text").expect("readable").expect("there");
    let addresses: Vec<LinkedAddress> = (0..text.bytes.len() as u64)
        .step_by(1 + text.bytes.len() / 1500)
        .map(|distance| LinkedAddress(text.address.0 + distance))
        .collect();
    let Some(answers) = addr2line(path, &addresses) else {
        skipped("no addr2line");
        return;
    };
    assert_eq!(answers.len(), addresses.len());
    let mut resolver = resolver(Inline::Show);
    let module = module_of(path);
    let mut n_compared = 0;
    for (address, theirs) in addresses.iter().zip(&answers) {
        let offset = elf.file_offset(*address).expect("in a segment");
        let ours = resolver.name(&module, frame(offset.0));
        if ours.iter().any(|name| name.unnamed.is_some()) {
            continue;
        }
        n_compared += 1;
        let ours: Vec<&str> = ours.iter().map(|name| &*name.text).collect();
        let theirs: Vec<String> = theirs.iter().map(|name| normal(name)).collect();
        assert_eq!(ours, theirs, "at {:#x} of {}", address.0, path.display());
    }
    assert!(
        n_compared * 10 > addresses.len() * 7,
        "{n_compared} of {} addresses have names",
        addresses.len()
    );
}

#[test]
fn inlined_functions_of_c_are_frames_after_the_function_they_are_in() {
    let bench = Workbench::new();
    for dwarf in ["-gdwarf-4", "-gdwarf-5"] {
        let program = bench.compile_c(&["-O2", dwarf]);
        let expected = [
            "main",
            "leaf",
            "outer;middle_[i]",
            "outer;middle_[i];innermost_[i]",
            "puts@plt",
            "_start",
        ];
        assert_has(&chains(&program, Inline::Show), &expected);
        check_against_addr2line(&program, str::to_owned);
    }
}

#[test]
fn without_inlines_only_the_function_is_shown() {
    let bench = Workbench::new();
    let program = bench.compile_c(&["-O2", "-g"]);
    let chains = chains(&program, Inline::Hide);
    assert_has(&chains, &["main", "leaf", "outer"]);
    assert!(chains.iter().all(|chain| !chain.contains(';')));
}

#[test]
fn compressed_debug_information_gives_the_same_names() {
    let bench = Workbench::new();
    let plain = chains(&bench.compile_c(&["-O2", "-g"]), Inline::Show);
    for option in ["-gz=zlib", "-gz=zlib-gnu", "-gz=zstd"] {
        let Some(program) = bench.try_compile("cc", ("program.c", C), &["-O2", "-g", option])
        else {
            continue;
        };
        let compressed = chains(&program, Inline::Show);
        let named = |chains: &BTreeSet<String>| -> BTreeSet<String> {
            let named = chains.iter().filter(|chain| !chain.contains("+0x"));
            named.cloned().collect()
        };
        assert_eq!(named(&compressed), named(&plain), "{option}");
    }
}

#[test]
fn a_program_without_debug_information_is_named_from_its_symbols() {
    let bench = Workbench::new();
    let chains = chains(&bench.compile_c(&["-O2"]), Inline::Show);
    assert_has(&chains, &["main", "leaf", "outer", "puts@plt"]);
}

#[test]
fn a_stripped_program_has_offsets_for_names_and_says_why() {
    let bench = Workbench::new();
    let source = ("stripped.c", "int start(int x) { return x * 3; }");
    let options = ["-O2", "-static", "-nostdlib", "-s", "-Wl,-e,start"];
    let program = bench
        .try_compile("cc", source, &options)
        .expect("a C compiler");
    let elf = elf_of(&program);
    let offset = code_of(&elf)[1];
    let names = resolver(Inline::Show).name(&module_of(&program), frame(offset));
    let file_name = program.file_name().expect("named").to_string_lossy();
    assert_eq!(&*names[0].text, format!("{file_name}+{offset:#x}"));
    assert_eq!(names[0].unnamed, Some(Unnamed::NoSymbols));
}

#[test]
fn classes_templates_and_hidden_names_of_cpp_are_readable() {
    let bench = Workbench::new();
    let Some(program) = bench.try_compile("c++", ("program.cc", CPP), &["-O2", "-g"]) else {
        return;
    };
    let expected = [
        "main",
        "shapes::Square::Square(int)",
        "shapes::Square::area() const",
        "shapes::Square::area() const;shapes::Square::half() const_[i]",
        "biggest<int>(int, int)",
        "(anonymous namespace)::hidden(char const*)",
    ];
    assert_has(&chains(&program, Inline::Show), &expected);
    check_against_addr2line(&program, |name| {
        let name = name.split(" [clone ").next().unwrap_or_default();
        name.strip_prefix("int ").unwrap_or(name).to_owned()
    });
}

#[test]
fn rust_names_have_no_hash_and_their_inlines() {
    let bench = Workbench::new();
    let Some(program) = bench.try_compile("rustc", ("program.rs", RUST), &["-g", "-O"]) else {
        return;
    };
    // The standard library is in it too, and is not looked at.
    let elf = elf_of(&program);
    let symbols = elf.symbols().expect("readable");
    let is_ours = |offset: &u64| {
        let address = elf.linked_address(FileOffset(*offset));
        let name = address.and_then(|address| symbols.lookup(address));
        name.is_some_and(|name| String::from_utf8_lossy(&name).contains("shapes"))
    };
    let offsets = code_of(&elf).into_iter().step_by(2).filter(is_ours);
    let chains = chains_at(&program, Inline::Show, offsets.collect());
    let n_chains = |start: &str| {
        chains
            .iter()
            .filter(|chain| chain.starts_with(start))
            .count()
    };
    let area = "<program::shapes::Square as program::shapes::Area>::area";
    assert_ne!(n_chains(&format!("{area};program::shapes::half_[i]")), 0);
    assert_ne!(n_chains("program::shapes::total"), 0);
    check_against_addr2line(&program, str::to_owned);
}

#[test]
fn a_return_address_behind_the_last_instruction_belongs_to_the_caller() {
    let bench = Workbench::new();
    let program = bench.compile_c(&["-O2", "-g"]);
    let module = module_of(&program);
    let mut resolver = resolver(Inline::Hide);
    let code = code_of(&elf_of(&program));
    let last_of_outer = code
        .iter()
        .rfind(|offset| &*resolver.name(&module, frame(**offset))[0].text == "outer")
        .expect("outer is there");
    let behind = last_of_outer + 1;
    let returning = Frame {
        kind: AddressKind::Return,
        ..frame(behind)
    };
    assert_eq!(&*resolver.name(&module, returning)[0].text, "outer");
    assert_ne!(&*resolver.name(&module, frame(behind))[0].text, "outer");
}

#[test]
fn a_damaged_file_loses_its_own_names_and_nothing_else() {
    let bench = Workbench::new();
    let good = bench.compile_c(&["-O2", "-g"]);
    let bytes = fs::read(&good).expect("readable");
    let elf = elf_of(&good);
    let info = elf
        .section(".debug_info")
        .expect("readable")
        .expect("there");
    let at = bytes
        .windows(info.bytes.len())
        .position(|window| window == info.bytes)
        .expect("in the file");
    let mut damaged = bytes.clone();
    damaged[at + 4..at + info.bytes.len()].fill(0xff);
    let bad = bench.path("damaged");
    fs::write(&bad, damaged).expect("written");

    let mut resolver = resolver(Inline::Show);
    for offset in code_of(&elf) {
        let bad_frame = Frame {
            module: ModuleId(2),
            ..frame(offset)
        };
        let names = resolver.name(&module_of(&bad), bad_frame);
        assert_eq!(names.len(), 1);
        assert_eq!(&*names[0].text, format!("damaged+{offset:#x}"));
        assert_eq!(names[0].unnamed, Some(Unnamed::FileCorrupt));
        assert!(!resolver.name(&module_of(&good), frame(offset)).is_empty());
    }
    assert!(chains(&good, Inline::Show).contains("main"));
}

#[test]
fn no_damage_to_a_file_brings_a_panic_or_takes_much_memory() {
    let bench = Workbench::new();
    let program = bench.compile_c(&["-O2", "-g"]);
    let whole = fs::read(&program).expect("readable");
    let offsets: Vec<u64> = code_of(&elf_of(&program)).into_iter().step_by(13).collect();
    let path = bench.path("damaged");
    let check = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("written");
        let module = module_of(&path);
        let mut resolver = resolver(Inline::Show);
        for offset in &offsets {
            assert!(!resolver.name(&module, frame(*offset)).is_empty());
        }
        assert!(resolver.memory() < 64 << 20, "{}", resolver.memory());
        if let Ok(elf) = Elf::parse(Box::new(bytes.to_vec())) {
            elf.build_id();
            for name in [".eh_frame", ".symtab", ".debug_str"] {
                let _ = elf.section(name);
            }
        }
    };
    for cut in (0..whole.len()).step_by(whole.len() / 100) {
        check(&whole[..cut]);
    }
    // Headers at the start, then everywhere; each place with several kinds of damage.
    let places = (0..64).chain((64..whole.len()).step_by(whole.len() / 400));
    for (index, place) in places.enumerate() {
        let mut damaged = whole.clone();
        let damage = [0xff, 0x00, 0x80, 0x7f, damaged[place] ^ 1][index % 5];
        let end = (place + [1, 1, 2, 8][index % 4]).min(damaged.len());
        damaged[place..end].fill(damage);
        check(&damaged);
    }
}

#[test]
fn inlining_nested_without_end_is_given_up_before_the_stack_is() {
    // A unit, a function in it, and a million inlined functions, each in the one before.
    let source = r#"
        .text
        .globl main
        .type main, %function
main:   nop
        nop
        .size main, .-main
        .section .debug_abbrev,"",%progbits
        .byte 1,0x11,1, 0x11,0x01, 0x12,0x07, 0,0
        .byte 2,0x2e,1, 0x11,0x01, 0x12,0x07, 0,0
        .byte 3,0x1d,1, 0,0
        .byte 0
        .section .debug_info,"",%progbits
        .long 2f-1f
1:      .short 4
        .long 0
        .byte 8
        .byte 1
        .quad main
        .quad 2
        .byte 2
        .quad main
        .quad 2
        .fill 1000000,1,3
2:
"#;
    let bench = Workbench::new();
    let program = bench
        .try_compile("cc", ("nested.s", source), &["-no-pie"])
        .expect("an assembler");
    let elf = elf_of(&program);
    let mut resolver = resolver(Inline::Show);
    let module = module_of(&program);
    let verdicts: BTreeSet<_> = code_of(&elf)
        .into_iter()
        .map(|offset| resolver.name(&module, frame(offset))[0].unnamed)
        .collect();
    assert!(
        verdicts.contains(&Some(Unnamed::FileCorrupt)),
        "{verdicts:?}"
    );
}

#[test]
fn memory_stays_within_its_budget_and_names_stay_right() {
    let bench = Workbench::new();
    let programs = [
        bench.compile_c(&["-O2", "-gdwarf-4"]),
        bench.compile_c(&["-O2", "-gdwarf-5"]),
        bench.compile_c(&["-O2", "-g", "-fno-inline"]),
    ];
    let offsets = code_of(&elf_of(&programs[0]));
    let mut one = resolver(Inline::Show);
    one.name(&module_of(&programs[0]), frame(offsets[offsets.len() / 2]));
    let memory_budget = one.memory() * 2;
    let mut resolver = Resolver::new(Config {
        memory_budget,
        ..Config::default()
    });
    let mut chains = BTreeSet::new();
    for offset in offsets.iter().step_by(3) {
        for (index, program) in programs.iter().enumerate() {
            let frame = Frame {
                module: ModuleId(u32::try_from(index).expect("three")),
                ..frame(*offset)
            };
            chains.insert(shown(&resolver.name(&module_of(program), frame)));
            assert!(resolver.memory() <= memory_budget);
        }
    }
    assert_has(&chains, &["outer;middle_[i];innermost_[i]", "main"]);

    let mut tight = Resolver::new(Config {
        memory_budget: 1000,
        ..Config::default()
    });
    let names: BTreeSet<String> = offsets
        .iter()
        .map(|offset| shown(&tight.name(&module_of(&programs[0]), frame(*offset))))
        .collect();
    assert_has(&names, &["outer", "main"]);
}

#[test]
fn what_has_no_file_is_named_by_its_kind() {
    let proc_root = tempfile::tempdir().expect("a directory");
    let hidden = "0000000000000000 T _stext\n";
    fs::write(proc_root.path().join("kallsyms"), hidden).expect("written");
    let mut resolver = Resolver::new(Config {
        proc_root: proc_root.path().to_owned(),
        ..Config::default()
    });
    let mut check = |kind: ModuleKind, path: &str, expected: (&str, NameKind, Unnamed)| {
        let module = Module {
            kind,
            path: PathBuf::from(path),
            seen_in: None,
        };
        let names = resolver.name(&module, frame(0x7f00_1234_5678));
        let got = (&*names[0].text, names[0].kind, names[0].unnamed);
        assert_eq!(got, (expected.0, expected.1, Some(expected.2)));
    };
    check(
        ModuleKind::Kernel,
        "[kernel]",
        ("[kernel]", NameKind::Kernel, Unnamed::KernelHidden),
    );
    check(
        ModuleKind::Anonymous { pid: Pid(1) },
        "[anon]",
        ("[anon]", NameKind::User, Unnamed::Anonymous),
    );
    check(
        ModuleKind::File { dev: 1, inode: 1 },
        "/no/such/file.so",
        (
            "file.so+0x7f0012345678",
            NameKind::User,
            Unnamed::FileUnreadable,
        ),
    );
}

#[test]
fn a_file_that_was_replaced_gives_no_names() {
    let bench = Workbench::new();
    let program = bench.compile_c(&["-O2", "-g"]);
    let module = module_of(&program);
    let copy = bench.path("copy");
    fs::copy(&program, &copy).expect("copied");
    fs::rename(&copy, &program).expect("replaced");
    let names = resolver(Inline::Show).name(&module, frame(0x1040));
    assert_eq!(names[0].unnamed, Some(Unnamed::FileChanged));
}

#[test]
fn functions_of_the_vdso_have_their_names() {
    let module = Module {
        kind: ModuleKind::Vdso,
        path: PathBuf::from("[vdso]"),
        seen_in: None,
    };
    let mut resolver = resolver(Inline::Show);
    let names: BTreeSet<String> = (0..0x4000)
        .map(|offset| shown(&resolver.name(&module, frame(offset))))
        .collect();
    assert!(
        names.iter().any(|name| name.contains("clock_gettime")),
        "{names:#?}"
    );
}
