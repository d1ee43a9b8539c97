//! Names as languages have them: Go's from its own table, against what the Go runtime and DWARF say; and how names are shown.

#[path = "../fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "the fuzzers' entries are not called here")]
mod fuzz_entries;
mod go;
mod go_live;
mod go_program;
mod kernel;
mod shown;
#[path = "../support/mod.rs"]
mod support;
