//! Continuous files on real file systems: whatever ends the writer, every file is whole; `perfd export` makes profiles of them.

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod export;
mod kill;
mod windows;
