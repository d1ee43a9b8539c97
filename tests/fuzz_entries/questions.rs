//! Lines that `perfd symbolize` is asked with.

use std::fs;
use std::io::{self, Read};

use perfd::session::symbolize::{Input, Spec, Style, What, run};
use tempfile::TempDir;

use super::config;
use super::names_cache::program;

thread_local! {
    static FOLDER: TempDir = {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("program"), program()).expect("written");
        folder
    };
}

/// Some bytes at a time, as a pipe may give them.
struct Pieces<'a>(&'a [u8]);

impl Read for Pieces<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n_bytes = self.0.len().min(1000).min(buf.len());
        let (piece, rest) = self.0.split_at(n_bytes);
        buf[..n_bytes].copy_from_slice(piece);
        self.0 = rest;
        Ok(n_bytes)
    }
}

impl Input for Pieces<'_> {
    fn has_more(&self) -> bool {
        self.0.len().is_multiple_of(2)
    }
}

/// Addresses of a file, and modules with offsets.
pub fn questions(bytes: &[u8]) {
    FOLDER.with(|folder| {
        let program = folder.path().join("program");
        for what in [What::AddressesIn(program), What::ModulesAndOffsets] {
            let spec = Spec {
                what,
                style: Style {
                    addresses: true,
                    functions: true,
                    inlines: true,
                    demangle: true,
                    pretty: true,
                    basenames: false,
                },
                config: config(),
            };
            let mut answers = Vec::new();
            let outcome = run(&spec, &mut Pieces(bytes), &mut answers);
            let n_lines = bytes.split_inclusive(|byte| *byte == b'\n').count();
            let n_answers = answers.iter().filter(|byte| **byte == b'\n').count();
            // One that is too long ends it.
            assert!(outcome.is_err() || n_answers >= n_lines);
        }
    });
}
