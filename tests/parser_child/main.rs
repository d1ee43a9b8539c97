//! Foreign files, read in a child that has no rights: the same names and tables, whatever the files are, and whatever becomes of the child.

mod bench;
mod confined;
mod equal;
mod hostile;
mod killed;
mod live;
mod lying;
#[path = "../fuzz_entries/made.rs"]
#[allow(dead_code, reason = "the fuzzers use more of it")]
mod made;
mod pythons;
#[path = "../support/mod.rs"]
mod support;
mod too_late;
