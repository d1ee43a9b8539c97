//! Names are the ones that the sources have.

use std::collections::BTreeSet;

use perfd::model::{AddressKind, FileOffset, Frame, Unnamed};
use perfd::symbolize::Inline;

use crate::binutils::check_against_addr2line;
use crate::workbench::{
    C, Workbench, assert_has, chains, chains_at, code_of, elf_of, frame, module_of, resolver,
};

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
    // Not every cc knows -gz=zstd; its decoder has a test of its own in `object`.
    for option in ["-gz=zlib", "-gz=zlib-gnu"] {
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
