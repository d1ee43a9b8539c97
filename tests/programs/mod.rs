//! Builds the programs of this folder: `-O2 -fomit-frame-pointer`, the Rust one with `-O`, all with debug information.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program in `folder`, with its libraries beside it; `None` if its compiler is not installed.
pub fn build(source: &str, folder: &Path) -> Option<PathBuf> {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs");
    let program = folder.join("program");
    let at = |name: &str| programs.join(name).display().to_string();
    let here = |name: &str| folder.join(name).display().to_string();
    let library = |source: &str, name: &str, flags: &[&str]| {
        compile(
            "cc",
            &[
                &["-shared", "-fPIC"],
                flags,
                &["-o", &here(name), &at(source)],
            ]
            .concat(),
        )
    };
    let output = here("program");
    match source {
        "known.rs" => run(
            "rustc",
            &["--edition", "2024", "-O", "-g", "-o", &output, &at(source)],
        ),
        "plt.c" => {
            library("library.c", "libknown.so", &[])?;
            let path = format!("-Wl,-rpath,{}", folder.display());
            compile(
                "cc",
                &[
                    "-fplt",
                    "-o",
                    &output,
                    &at(source),
                    &here("libknown.so"),
                    &path,
                ],
            )
        }
        "loads_library.c" => {
            library(
                "loaded.c",
                "first.so",
                &["-DENTRY=first_entry", "-DPADDING=\"16\""],
            )?;
            library(
                "loaded.c",
                "second.so",
                &["-DENTRY=second_entry", "-DPADDING=\"400\""],
            )?;
            compile("cc", &["-o", &output, &at(source), "-ldl"])
        }
        _ => {
            let compiler = if source.ends_with(".cpp") {
                "c++"
            } else {
                "cc"
            };
            compile(compiler, &["-pthread", "-o", &output, &at(source)])
        }
    }?;
    Some(program)
}

fn compile(compiler: &str, arguments: &[&str]) -> Option<()> {
    let flags = ["-O2", "-g", "-fomit-frame-pointer"];
    run(compiler, &[&flags, arguments].concat())
}

fn run(program: &str, arguments: &[&str]) -> Option<()> {
    let output = Command::new(program).args(arguments).output().ok()?;
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(())
}
