//! How the programs of tests are made: files, and compilers that run where they lie.
//!
//! The emulated machine of `tests/vm` has no compiler. There a recipe is looked up by its hash in `PERFD_TEST_PROGRAMS`, where what
//! it makes lies ready. One that is not there is left in `wanted/HASH` for `tests/vm/runner`, which follows it on the host
//! and starts the tests anew; so neither a test nor a list has to say which programs there are.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::Path;
use std::process::Command;

/// Files, and commands to run one after the other where they lie. Paths in commands are relative to that folder.
#[derive(Default, Hash)]
pub struct Recipe {
    files: Vec<(String, String)>,
    commands: Vec<Vec<String>>,
}

impl Recipe {
    /// Adds a file.
    pub fn file(mut self, name: &str, content: impl Into<String>) -> Recipe {
        self.files.push((name.to_owned(), content.into()));
        self
    }

    /// Adds a run of `cc`, `c++` or `rustc`; elsewhere these stand for the cross compilers.
    pub fn run(mut self, compiler: &str, arguments: &[&str]) -> Recipe {
        let words = [&[compiler], arguments].concat();
        self.commands
            .push(words.into_iter().map(str::to_owned).collect());
        self
    }

    /// Makes what it makes in `folder`; `None` if its compiler is not installed.
    pub fn make(&self, folder: &Path) -> Option<()> {
        if let Some(programs) = std::env::var_os("PERFD_TEST_PROGRAMS") {
            self.fetch(Path::new(&programs), folder);
            return Some(());
        }
        self.write_files(folder);
        for words in &self.commands {
            let output = Command::new(&words[0])
                .args(&words[1..])
                .current_dir(folder)
                .output()
                .ok()?;
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {said}", words[0]);
        }
        Some(())
    }

    fn fetch(&self, programs: &Path, folder: &Path) {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let name = format!("{:016x}", hasher.finish());
        let Ok(made) = fs::read_dir(programs.join(&name)) else {
            let wanted = programs.join("wanted").join(&name);
            fs::create_dir_all(&wanted).expect("a folder");
            self.write_files(&wanted);
            fs::write(wanted.join("commands"), self.as_text()).expect("written");
            panic!("program {name} is asked for, and there in the next attempt");
        };
        for file in made {
            let file = file.expect("an entry");
            super::copy_program(&file.path(), &folder.join(file.file_name()));
        }
    }

    fn write_files(&self, folder: &Path) {
        for (name, content) in &self.files {
            fs::write(folder.join(name), content).expect("the source is written");
        }
    }

    /// A line for each word, an empty one behind each command.
    fn as_text(&self) -> String {
        let words = self.commands.iter().flat_map(|words| {
            let words = words.iter().map(String::as_str);
            words.chain([""])
        });
        words.map(|word| format!("{word}\n")).collect()
    }
}
