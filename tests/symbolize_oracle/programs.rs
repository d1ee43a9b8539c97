//! The programs that are built for the comparison: several units with templates, lambdas, hidden namespaces, virtual functions and
//! generics, optimised, so that most of it is inlined.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::recipe::Recipe;

/// The C++ program with its part in C, by `compilers` for each; `None` if they are not installed.
pub fn cpp(folder: &Path, [cc, cxx]: [&str; 2], flags: &[&str]) -> Option<PathBuf> {
    let common = [&["-g", "-O2"], flags].concat();
    // In the unit of C ranges begin at the address of the unit, which llvm 14 does not look up in the program where the unit is in a file of its
    // own: it misses inlined functions.
    let of_c: Vec<&str> = common
        .iter()
        .filter(|flag| **flag != "-gsplit-dwarf")
        .copied()
        .collect();
    let recipe = Recipe::default()
        .file("shapes.h", include_str!("programs/shapes.h"))
        .file("shapes.cpp", include_str!("programs/shapes.cpp"))
        .file("main.cpp", include_str!("programs/main.cpp"))
        .file("checksum.c", include_str!("programs/checksum.c"));
    let units = [
        (cc, &of_c, "-std=c11", "checksum.c"),
        (cxx, &common, "-std=c++17", "shapes.cpp"),
        (cxx, &common, "-std=c++17", "main.cpp"),
    ];
    let recipe = units
        .into_iter()
        .fold(recipe, |recipe, (compiler, flags, language, source)| {
            recipe.run(compiler, &[&flags[..], &[language, "-c", source]].concat())
        });
    let objects = ["main.o", "shapes.o", "checksum.o", "-o", "program"];
    recipe
        .run(cxx, &[&common[..], &objects].concat())
        .make(folder)?;
    Some(folder.join("program"))
}

/// The Rust program.
pub fn rust(folder: &Path, flags: &[&str]) -> Option<PathBuf> {
    let always = ["--edition", "2024", "-O", "-g", "-o", "program", "words.rs"];
    Recipe::default()
        .file("words.rs", include_str!("programs/words.rs"))
        .run("rustc", &[flags, &always].concat())
        .make(folder)?;
    Some(folder.join("program"))
}

/// The Go program; `None` if Go is not installed.
pub fn go(folder: &Path) -> Option<PathBuf> {
    std::fs::write(folder.join("words.go"), include_str!("programs/words.go")).expect("written");
    let output = Command::new("go")
        .args(["build", "-o", "program", "words.go"])
        .current_dir(folder)
        .env("GO111MODULE", "off")
        // Its library is compiled once and not at each run.
        .env("GOCACHE", concat!(env!("CARGO_TARGET_TMPDIR"), "/go"))
        .env("GOPATH", folder)
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "go: {said}");
    Some(folder.join("program"))
}
