//! What the live tests share: programs compiled on the spot, the built perfd, and the one way to skip.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses its part of this"
)]

pub mod calls;
pub mod recipe;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object, ObjectSymbol};
use recipe::Recipe;

/// What `skip` is told where hardware events do not exist: the one reason that `PERFD_REQUIRE=all` accepts, since
/// no setting of the machine can help it.
pub const NO_PMU: &str = "no PMU";

/// Says that a test cannot be done on this machine. `PERFD_REQUIRE` in the environment makes that a failure: with `all`,
/// unless the machine has no PMU; with `pmu`, as in the emulated machine of `tests/vm`, always.
pub fn skip(reason: &str) {
    let required = std::env::var("PERFD_REQUIRE").unwrap_or_default();
    let may_be_missing = match required.as_str() {
        "pmu" => false,
        "all" => reason == NO_PMU,
        _ => true,
    };
    assert!(
        may_be_missing,
        "PERFD_REQUIRE={required}, but this machine forbids the test: {reason}"
    );
    // Not `eprintln!`, which the test harness swallows.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// The built perfd.
pub fn perfd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_perfd"))
}

/// Copies a program that is to be run, by a process of its own: while this one has a file open for writing, what another test starts at that
/// moment has it open too, and it cannot be run ("text file busy").
pub fn copy_program(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status();
    assert!(copied.expect("cp starts").success(), "{}", to.display());
}

/// The ways to walk a stack that perfd has on this processor, as `--backend` names them: each has to give the same.
pub const BACKENDS: &[&str] = match cfg!(target_arch = "x86_64") {
    true => &["perf", "bpf"],
    false => &["perf"],
};

/// Who reads foreign files, as flags of perfd: itself, or its child. Each has to give the same.
pub const READERS: &[&[&str]] = &[&[], &["--parse-in-child"]];

/// Why a backend cannot be used here, if so: BPF needs more permissions than the ring.
pub fn backend_forbidden(backend: &str) -> Option<String> {
    let output = perfd()
        .args(["record", "-q", "-e", "cpu-clock:u", "--backend", backend])
        .args(["-o", "/dev/null", "--", "true"])
        .output()
        .expect("perfd runs");
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    matches!(output.status.code(), Some(69 | 77)).then(said)
}

/// A program compiled for one test; its folder goes when it is dropped.
pub struct Program {
    folder: tempfile::TempDir,
    path: PathBuf,
}

impl Program {
    /// The executable.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder of this test's own, where it may leave files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The address of a function or variable: in a `-no-pie` program, that at run time.
    pub fn address_of(&self, symbol: &str) -> u64 {
        let bytes = std::fs::read(&self.path).expect("the program is read");
        let file = object::File::parse(&*bytes).expect("an ELF file");
        let found = file
            .symbol_by_name(symbol)
            .unwrap_or_else(|| panic!("no symbol {symbol} in {}", self.path.display()));
        found.address()
    }
}

/// Compiles C source with `cc`, `flags` before the source file. Add `-no-pie` where the test needs addresses.
pub fn compile_c(source: &str, flags: &[&str]) -> Program {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Recipe::default()
        .file("program.c", source)
        .run(
            "cc",
            &[
                &["-g", "-Wall"],
                flags,
                &["-o", "program", "program.c", "-pthread"],
            ]
            .concat(),
        )
        .make(folder.path())
        .expect("cc is installed");
    let path = folder.path().join("program");
    Program { folder, path }
}
