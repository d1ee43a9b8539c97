//! Builds the programs of this folder: `-O2 -fomit-frame-pointer`, the Rust one with `-O`, all with debug information.

use std::path::{Path, PathBuf};

use crate::support::recipe::Recipe;

/// The program in `folder`, with its libraries beside it; `None` if its compiler is not installed.
pub fn build(source: &str, folder: &Path) -> Option<PathBuf> {
    recipe(source).make(folder)?;
    Some(folder.join("program"))
}

fn recipe(source: &str) -> Recipe {
    let files = [source, "known.h"].map(|name| (name, text_of(name)));
    let recipe = files
        .into_iter()
        .fold(Recipe::default(), |recipe, (name, text)| {
            recipe.file(name, text)
        });
    match source {
        "known.rs" => recipe.run(
            "rustc",
            &["--edition", "2024", "-O", "-g", "-o", "program", source],
        ),
        "plt.c" => {
            let recipe = library(recipe, "library.c", "libknown.so", &[]);
            let flags = ["-fplt", source, "libknown.so", "-Wl,-rpath,$ORIGIN"];
            compile(recipe, "cc", "program", &flags)
        }
        "loads_library.c" => {
            let first = ["-DENTRY=first_entry", "-DPADDING=\"16\""];
            let second = ["-DENTRY=second_entry", "-DPADDING=\"400\""];
            let recipe = library(recipe, "loaded.c", "first.so", &first);
            let recipe = library(recipe, "loaded.c", "second.so", &second);
            compile(recipe, "cc", "program", &[source, "-ldl"])
        }
        _ if source.ends_with(".cpp") => compile(recipe, "c++", "program", &["-pthread", source]),
        _ => compile(recipe, "cc", "program", &["-pthread", source]),
    }
}

fn library(recipe: Recipe, source: &str, name: &str, flags: &[&str]) -> Recipe {
    let recipe = recipe.file(source, text_of(source));
    let flags = [&["-shared", "-fPIC", source], flags].concat();
    compile(recipe, "cc", name, &flags)
}

fn compile(recipe: Recipe, compiler: &str, output: &str, arguments: &[&str]) -> Recipe {
    let flags = ["-O2", "-g", "-fomit-frame-pointer", "-o", output];
    recipe.run(compiler, &[&flags, arguments].concat())
}

fn text_of(source: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/programs")
        .join(source);
    std::fs::read_to_string(path).expect("a program of this folder")
}
