//! Text of `/proc` and `/sys`.

pub mod kallsyms;
pub mod module_file;
