//! The rules that rustc cannot check: floors, file sizes, a doc on each file, a reason beside each dependency.
//!
//! The floors are the order of the `mod` lines in `src/lib.rs`: a module imports only from floors above its own. Paths
//! are read from tokens, not from lines, so that neither a group nor a chain of `super` gets past.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

const MAX_LINES: usize = 500;

#[test]
fn a_module_imports_only_from_floors_above_its_own() {
    let floors = floors(&read("src/lib.rs"));
    let faults: Vec<_> = rust_files("src")
        .into_iter()
        .flat_map(|path| faults_of(&floors, &path, &fs::read_to_string(&path).expect("read")))
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn files_are_short() {
    for path in all_rust_files() {
        let n_lines = fs::read_to_string(&path).expect("read").lines().count();
        assert!(n_lines <= MAX_LINES, "{}: {n_lines} lines", path.display());
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for path in all_rust_files() {
        let text = fs::read_to_string(&path).expect("read");
        assert!(text.starts_with("//! "), "{}", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here, so that this file does not hold them.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("to", "do!("),
        concat!("unimpl", "emented"),
    ];
    for path in all_rust_files() {
        let text = fs::read_to_string(&path).expect("read");
        for mark in marks {
            assert!(!text.contains(mark), "{}: {mark}", path.display());
        }
    }
}

#[test]
fn unsafe_code_stands_in_sys_alone() {
    for path in rust_files("src") {
        let text = fs::read_to_string(&path).expect("read");
        let has_unsafe = tokens(&text).contains(&"unsafe");
        assert!(
            !has_unsafe || path.starts_with("src/sys") || path.starts_with("src/bpf"),
            "{}",
            path.display()
        );
    }
}

#[test]
fn processors_are_told_apart_in_arch_alone() {
    let names = ["target_arch", "X86_64", "Aarch64", "AArch64"];
    let others = rust_files("src")
        .into_iter()
        .filter(|path| !path.starts_with("src/arch"));
    for path in others {
        let text = fs::read_to_string(&path).expect("read");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        let named = tokens(code).into_iter().find(|word| names.contains(word));
        assert_eq!(named, None, "{}", path.display());
    }
}

#[test]
fn every_dependency_has_its_reason_beside_it() {
    let manifest = read("Cargo.toml");
    let faults = dependencies_without_reason(&manifest);
    assert!(faults.is_empty(), "{faults:?}");
    let planted = "[dependencies]\n# Reads ELF.\nobject = \"1\"\nlibc = \"0.2\"\n[lints.rust]\nx = \"deny\"\n";
    assert_eq!(dependencies_without_reason(planted), ["libc"]);
}

#[test]
fn a_planted_import_from_below_or_beside_is_found() {
    let floors = floors(
        "// Floor 1: a\npub mod model;\n\n// Floor 2: b\npub mod procfs;\npub mod sys;\n\n// Floor 3: c\npub mod session;\n",
    );
    let found = |path: &str, text: &str| faults_of(&floors, Path::new(path), text);
    for (path, text) in [
        ("src/sys/ring.rs", "use crate::session::Spec;"),
        ("src/sys/ring.rs", "use crate::procfs::maps;"),
        ("src/sys/ring.rs", "use crate::{model::Pid, session};"),
        ("src/sys/ring.rs", "fn f() { crate::session::run() }"),
        ("src/sys/mod.rs", "use super::procfs::maps;"),
        ("src/sys/ring.rs", "use super::super::session::Spec;"),
        (
            "src/sys/ring.rs",
            "use super::{super::session::Spec, probe};",
        ),
        (
            "src/sys/ring.rs",
            "use super::{self, super::{model::Pid, procfs}};",
        ),
        ("src/sys/a/b.rs", "use super::super::super::session;"),
        (
            "src/sys/ring.rs",
            "mod tests { use super::super::super::session::Spec; }",
        ),
        ("src/sys/ring.rs", "use super::super::*;"),
        ("src/sys/ring.rs", "use crate as perfd;"),
        ("src/sys.rs", "use crate::session;"),
        ("src/session/x.rs", "use crate::unheard_of;"),
    ] {
        assert_eq!(found(path, text).len(), 1, "{path}: {text}");
    }
}

#[test]
fn what_is_allowed_is_not_found() {
    let floors = floors("// Floor 1: a\npub mod model;\n// Floor 2: b\npub mod sys;\n");
    for (path, text) in [
        ("src/sys/ring.rs", "use crate::model::{Pid, Tid};"),
        (
            "src/sys/ring.rs",
            "use super::probe; use crate::sys::probe;",
        ),
        (
            "src/sys/ring.rs",
            "mod tests { use super::*; use super::super::probe; }",
        ),
        ("src/sys/a/b.rs", "use super::super::ring;"),
        (
            "src/model/mod.rs",
            "pub(crate) fn f() {} pub(super) fn g() {}",
        ),
        (
            "src/model/a.rs",
            "//! use crate::sys\nfn f() { \"crate::sys\"; r#\"crate::sys\"#; }",
        ),
        (
            "src/model/a.rs",
            "/* use /* crate::sys */ crate::sys; */ fn f<'a>(c: &'a str) { '{'; '\\''; }",
        ),
        ("src/lib.rs", "use crate::sys;"),
    ] {
        let faults = faults_of(&floors, Path::new(path), text);
        assert!(faults.is_empty(), "{path}: {text}: {faults:?}");
    }
}

/// Module name to number of its floor; a `// Floor` comment opens a floor.
fn floors(lib: &str) -> HashMap<String, usize> {
    let mut floor = 0;
    let mut floors = HashMap::new();
    for line in lib.lines() {
        if line.starts_with("// Floor ") {
            floor += 1;
        }
        if let Some(name) = line.strip_prefix("pub mod ") {
            floors.insert(name.trim_end_matches(';').to_owned(), floor);
        }
    }
    floors
}

/// What is wrong with the imports of a file.
fn faults_of(floors: &HashMap<String, usize>, path: &Path, text: &str) -> Vec<String> {
    let module = module_path(path);
    let Some(own) = module.first() else {
        return Vec::new();
    };
    let mut reader = PathReader {
        tokens: &tokens(text),
        at: 0,
        used: Vec::new(),
    };
    reader.read(module.len());
    let is_fault = |used: &&str| match (floors.get(own), floors.get(*used)) {
        (Some(own_floor), Some(floor)) => used != own && own_floor <= floor,
        _ => true,
    };
    let faults = reader.used.iter().map(String::as_str).filter(is_fault);
    faults
        .map(|used| format!("{}: imports `{used}`", path.display()))
        .collect()
}

/// `src/a/b.rs` is module a::b, `src/a/mod.rs` and `src/a.rs` are a; lib.rs and main.rs are above all.
fn module_path(path: &Path) -> Vec<String> {
    let below = path.strip_prefix("src").expect("a file of src");
    let parts = below.with_extension("");
    let mut parts: Vec<_> = parts
        .iter()
        .map(|part| part.to_str().expect("plain names").to_owned())
        .collect();
    if matches!(parts.last().map(String::as_str), Some("mod")) {
        parts.pop();
    }
    if matches!(parts.first().map(String::as_str), Some("lib" | "main")) {
        parts.clear();
    }
    parts
}

/// Finds the paths that reach the crate's root, and what they name there.
struct PathReader<'a> {
    tokens: &'a [&'a str],
    at: usize,
    used: Vec<String>,
}

impl PathReader<'_> {
    /// Reads a module that lies `depth` below the root, to the brace that closes it.
    fn read(&mut self, depth: usize) {
        let mut n_braces = 0;
        while let Some(&token) = self.tokens.get(self.at) {
            match token {
                "crate" | "super" | "self" => {
                    self.path(Some(depth));
                    continue;
                }
                "mod" if self.tokens.get(self.at + 2) == Some(&"{") => {
                    self.at += 3;
                    self.read(depth + 1);
                    continue;
                }
                "{" => n_braces += 1,
                "}" if n_braces == 0 => {
                    self.at += 1;
                    return;
                }
                "}" => n_braces -= 1,
                _ => (),
            }
            self.at += 1;
        }
    }

    /// Reads one path, from a module `depth` below the root; `None` is a path that has left for below.
    fn path(&mut self, mut depth: Option<usize>) {
        loop {
            let token = self.tokens.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            match token {
                "crate" => depth = Some(0),
                "super" => depth = depth.map(|depth| depth.saturating_sub(1)),
                "self" => (),
                "{" => return self.group(depth),
                _ => {
                    if depth == Some(0) {
                        self.used.push(token.to_owned());
                    }
                    depth = None;
                }
            }
            if self.tokens.get(self.at) == Some(&"::") {
                self.at += 1;
                continue;
            }
            // The root itself under another name would hide what is used of it.
            if depth == Some(0) && self.tokens.get(self.at) == Some(&"as") {
                self.used.push("crate as …".to_owned());
            }
            return;
        }
    }

    /// Reads the paths of a group, behind its opening brace.
    fn group(&mut self, depth: Option<usize>) {
        while let Some(&token) = self.tokens.get(self.at) {
            match token {
                "}" => {
                    self.at += 1;
                    return;
                }
                "," => self.at += 1,
                "as" => self.at += 2,
                _ => self.path(depth),
            }
        }
    }
}

/// Words, `::` and single characters; without comments, strings and character literals.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if char == '"' {
            quoted(rest, '"')
        } else if let Some(length) = raw_string(rest) {
            length
        } else if char == '\'' {
            character(rest)
        } else if char.is_whitespace() {
            char.len_utf8()
        } else {
            let length = word_or_sign(rest, char);
            tokens.push(&rest[..length]);
            length
        };
        rest = &rest[length..];
    }
    tokens
}

fn word_or_sign(text: &str, first: char) -> usize {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    if text.starts_with("::") {
        return 2;
    }
    match is_word(first) {
        true => text.find(|char| !is_word(char)).unwrap_or(text.len()),
        false => first.len_utf8(),
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let (step, deeper) = match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += deeper;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of a literal that starts and ends with `quote`.
fn quoted(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if char == quote => return at + 1,
            _ => (),
        }
    }
    text.len()
}

fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.strip_prefix('r')?;
    let n_hashes = hashes.len() - hashes.trim_start_matches('#').len();
    let body = hashes[n_hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(n_hashes));
    let start = text.len() - body.len();
    Some(
        body.find(&end)
            .map_or(text.len(), |at| start + at + end.len()),
    )
}

/// A character literal, or the tick of a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) | (Some(_), Some('\'')) => quoted(text, '\''),
        _ => 1,
    }
}

fn dependencies_without_reason(manifest: &str) -> Vec<&str> {
    let mut is_inside = false;
    let mut previous = "";
    let mut faults = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            is_inside = line.contains("dependencies");
        } else if let (true, Some((name, _))) = (is_inside, line.split_once(" = "))
            && !previous.starts_with("# ")
        {
            faults.push(name);
        }
        previous = line;
    }
    faults
}

fn all_rust_files() -> Vec<PathBuf> {
    ["src", "tests", "benches"]
        .into_iter()
        .filter(|folder| Path::new(folder).is_dir())
        .flat_map(rust_files)
        .collect()
}

fn rust_files(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            files.extend(rust_files(path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

fn read(path: &str) -> String {
    fs::read_to_string(path).expect(path)
}
