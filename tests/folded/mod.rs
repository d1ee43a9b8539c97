//! What tests read of perfd's output: folded stacks, and the account of stacks in the JSON output.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses its part of this"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

pub mod chain;

/// One line of a folded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The thread's name.
    pub comm: String,
    /// Why frames are missing at the root, as the output says it.
    pub truncated: Option<String>,
    /// The user frames, root first, with their `_[i]` and `_[j]`.
    pub frames: Vec<String>,
    /// Whether kernel frames stood above them.
    pub in_kernel: bool,
    /// Samples.
    pub samples: u64,
}

/// Reads folded text; a line that is not one is an error of its own.
pub fn parse(text: &str) -> Result<Vec<Stack>, String> {
    text.lines().map(parse_line).collect()
}

fn parse_line(line: &str) -> Result<Stack, String> {
    let broken = || format!("not a folded line: {line:?}");
    let (stack, samples) = line.rsplit_once(' ').ok_or_else(broken)?;
    let samples = samples.parse().map_err(|_| broken())?;
    let mut parts = stack.split(';').map(str::to_owned).peekable();
    let comm = parts.next().ok_or_else(broken)?;
    let truncated = parts.next_if(|part| part.starts_with("[truncated"));
    let (kernel, frames): (Vec<String>, Vec<String>) =
        parts.partition(|part| part.ends_with("_[k]"));
    Ok(Stack {
        comm,
        truncated,
        frames,
        in_kernel: !kernel.is_empty(),
        samples,
    })
}

/// The bare name of a frame: without parameters, generic arguments and the hash of a Rust symbol, with its `_[i]`.
pub fn bare(frame: &str) -> String {
    let (name, suffix) = ["_[i]", "_[j]"]
        .iter()
        .find_map(|suffix| Some((frame.strip_suffix(suffix)?, *suffix)))
        .unwrap_or((frame, ""));
    let end = name
        .find(['(', '<'])
        .filter(|at| *at > 0)
        .unwrap_or(name.len());
    // `unsigned long inner<unsigned long>(unsigned long)`: a template's demangled name begins with what it returns.
    let name = name[..end].trim_end_matches("::");
    let name = name.rsplit(' ').next().unwrap_or(name);
    let name = match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            path
        }
        _ => name,
    };
    format!("{name}{suffix}")
}

/// Why perfd may not sample here at all, if so.
pub fn forbidden(perfd: &mut Command) -> Option<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = perfd
        .args(["record", "-q", "-e", "cpu-clock:u", "-o"])
        .arg(folder.path().join("out.folded"))
        .args(["--", "true"])
        .output()
        .expect("perfd runs");
    // Only a lack of permission or of the facility; every other failure is for the test to find.
    matches!(output.status.code(), Some(69 | 77)).then(|| said(&output))
}

/// What a command said to people.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

/// User stacks by how their walk ended, as the ledger of a JSON output says.
pub fn ended(path: &Path) -> Result<BTreeMap<String, u64>, String> {
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    let ended = json
        .pointer("/ledger/stacks/ended")
        .and_then(serde_json::Value::as_object)
        .ok_or("no /ledger/stacks/ended")?;
    let count = |value: &serde_json::Value| value.as_u64().ok_or("a count that is no number");
    ended
        .iter()
        .map(|(reason, value)| Ok((reason.clone(), count(value)?)))
        .collect()
}
