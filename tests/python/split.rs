//! A stripped interpreter: the part that the compiler has split from the evaluation function is found all the same.

use std::path::Path;
use std::process::Command;

use perfd::model::{Avma, FileOffset, Mapping, ModuleId, MonoNs};
use perfd::object::Elf;
use perfd::python::PythonFile;

use crate::support::compile_c;

/// What perfd looks for in a file, with an evaluation function of which seldom run parts are split.
const INTERPRETER: &str = r#"
unsigned Py_Version = 0x030b02f0;
long _PyRuntime[64], PyCode_Type[64];
volatile long sink;

__attribute__((cold, noinline)) void seldom(long n) { sink = n * 3; }
__attribute__((noinline)) void often(long n) { sink = n; }

#define STEP(k) if (n % 1000 == k) { seldom(n + k); sink += k; } often(n + k);
__attribute__((noinline)) long _PyEval_EvalFrameDefault(long n) {
    STEP(1) STEP(2) STEP(3) STEP(4) STEP(5) STEP(6) STEP(7) STEP(8)
    return n;
}

int main(int argc, char **argv) { return _PyEval_EvalFrameDefault(argc) > 5; }
"#;

fn eval_of(path: &Path) -> Vec<std::ops::Range<FileOffset>> {
    let file = std::fs::File::open(path).expect("there");
    let elf = Elf::parse(Box::new(file)).expect("is elf");
    let python = PythonFile::read(&elf, "python3.11");
    let python = python.expect("readable").expect("an interpreter");
    let code = elf.segments().iter().find(|s| s.is_executable());
    let code = code.expect("has code");
    let mapping = Mapping {
        start: Avma(0x1000_0000),
        end: Avma(0x2000_0000),
        file_offset: code.file_offset,
        module: ModuleId(1),
        since: MonoNs(0),
    };
    let process = python.in_process(&mapping).expect("mapped");
    let mut eval = process.eval;
    eval.sort_by_key(|range| range.start);
    eval
}

#[test]
fn the_split_part_is_the_same_with_and_without_its_symbol() {
    let program = compile_c(
        INTERPRETER,
        &["-O2", "-rdynamic", "-freorder-blocks-and-partition"],
    );
    let whole = eval_of(program.path());
    assert_eq!(whole.len(), 2, "{whole:?}");
    let stripped = program.folder().join("stripped");
    let strip = Command::new("strip")
        .arg("-o")
        .args([stripped.as_path(), program.path()])
        .status();
    assert!(strip.expect("binutils are installed").success());
    let found = eval_of(&stripped);
    assert_eq!(found.len(), 2, "{found:?}");
    // It is known to reach to the next function, which the filler between them does not.
    for (whole, found) in whole.iter().zip(&found) {
        assert_eq!(whole.start, found.start);
        assert!(whole.end <= found.end && found.end.0 - whole.end.0 < 16);
    }
}
