//! What fuzzers began with and have found, read again without a fuzzer; and what a little damage makes of it.

mod fuzz_entries;

use std::fs;
use std::path::{Path, PathBuf};

use fuzz_entries::ALL;

#[test]
fn every_corpus_is_read_without_harm() {
    for (name, entry) in ALL {
        for path in corpus(name) {
            let bytes = fs::read(&path).expect("readable");
            entry(&bytes);
            for damaged in damaged(&bytes) {
                entry(&damaged);
            }
        }
    }
}

#[test]
fn every_corpus_has_an_entry_that_reads_it() {
    let known: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
    for folder in fs::read_dir("fuzz/corpus").expect("a folder") {
        let name = folder.expect("readable").file_name();
        let name = name.to_str().expect("a plain name");
        assert!(
            known.contains(&name),
            "fuzz/corpus/{name}: see tests/fuzz_entries/mod.rs"
        );
        assert!(
            Path::new("fuzz/fuzz_targets")
                .join(format!("{name}.rs"))
                .exists(),
            "{name}"
        );
    }
}

/// The files of a corpus; never none.
fn corpus(name: &str) -> Vec<PathBuf> {
    let folder = Path::new("fuzz/corpus").join(name);
    let files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("readable").path())
        .collect();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

/// Cut short in some places, and with extreme bytes in some.
fn damaged(bytes: &[u8]) -> Vec<Vec<u8>> {
    let step = (bytes.len() / 32).max(1);
    let places = (0..bytes.len()).step_by(step);
    let cut = places.clone().map(|at| bytes[..at].to_vec());
    let changed = places.flat_map(|at| {
        [0, 0x7f, 0xff].map(|byte| {
            let mut changed = bytes.to_vec();
            changed[at] = byte;
            changed
        })
    });
    cut.chain(changed).collect()
}
