//! The text of `/proc` and `/sys`, parsed: text in, values out, with the root path as an argument.

pub mod maps;
pub mod tasks;
