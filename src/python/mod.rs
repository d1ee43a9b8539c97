//! What a CPython interpreter looks like from outside: where its file has what the kernel's walk needs to know, and where things are in the
//! structs of its version.
//!
//! Everything comes from the file, so that it is known before the interpreter has run its first instruction: the symbols of the dynamic
//! symbol table, which even a stripped interpreter needs for its extensions, and from 3.13 on the table of offsets that stands at the
//! beginning of `_PyRuntime`. Reads no process.
//!
//! What was found can be sent to another process, and is harmless there whoever has sent it: numbers, a bounded count of them, that a file could
//! have made perfd believe as well.

mod debug_offsets;
mod file;
mod layout;
mod split;

pub use file::{Looked, Needed, PythonFile, Unreadable};
