//! Names of frames in programs that are compiled here, against what is known of them and against binutils' `addr2line`.

mod binutils;
mod bounds;
mod cache;
mod damage;
mod elsewhere;
mod hostile;
#[path = "../fuzz_entries/made.rs"]
#[allow(dead_code, reason = "fuzz entries use all of it")]
mod made;
mod names;
mod reference;
#[path = "../support/mod.rs"]
mod support;
mod workbench;
