//! What the live tests share: programs compiled on the spot, the built perfd, and the one way to skip.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses its part of this"
)]

pub mod calls;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `skip` is told where hardware events do not exist: the one reason that `PERFD_REQUIRE=all` accepts, since
/// no setting of the machine can help it.
pub const NO_PMU: &str = "no PMU";

/// Says that a test cannot be done on this machine. With `PERFD_REQUIRE=all` in the environment that is a failure, unless
/// the machine has no PMU.
pub fn skip(reason: &str) {
    let required = std::env::var_os("PERFD_REQUIRE").is_some_and(|value| value == "all");
    assert!(
        !required || reason == NO_PMU,
        "PERFD_REQUIRE=all, but this machine forbids the test: {reason}"
    );
    // Not `eprintln!`, which the test harness swallows.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {reason}");
}

/// The built perfd.
pub fn perfd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_perfd"))
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
        let output = Command::new("nm")
            .arg(&self.path)
            .output()
            .expect("nm runs");
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text
            .lines()
            .find(|line| line.split_whitespace().nth(2) == Some(symbol))
            .unwrap_or_else(|| panic!("no symbol {symbol} in\n{text}"));
        let address = line.split_whitespace().next().expect("three columns");
        u64::from_str_radix(address, 16).expect("nm prints hexadecimal")
    }
}

/// Compiles C source with `cc`, `flags` before the source file. Add `-no-pie` where the test needs addresses.
pub fn compile_c(source: &str, flags: &[&str]) -> Program {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source_path = folder.path().join("program.c");
    std::fs::write(&source_path, source).expect("the source is written");
    let path = folder.path().join("program");
    let output = Command::new("cc")
        .args(["-g", "-Wall"])
        .args(flags)
        .arg("-o")
        .arg(&path)
        .arg(&source_path)
        .arg("-pthread")
        .output()
        .expect("cc is installed");
    assert!(
        output.status.success(),
        "cc: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Program { folder, path }
}
