//! Names of frames in programs that are compiled here, against what is known of them and against binutils' `addr2line`.

mod binutils;
mod bounds;
mod cache;
mod damage;
mod elsewhere;
mod names;
mod reference;
#[path = "../support/mod.rs"]
mod support;
mod workbench;
