//! ELF files from untrusted bytes: segments, sections, function symbols, build id.
//!
//! A file is never mapped (somebody else may truncate it, which would be a SIGBUS): it is read in windows with
//! `pread`, and only what is asked for. Every size that the file declares is checked against the file's length or
//! a fixed cap before memory is taken. Neither DWARF nor unwind rows are known here.

mod debug_link;
mod decompress;
mod elf;
pub mod go;
mod headers;
mod image;
mod loaded;
mod named;
mod note;
mod plt;
mod read_at;
mod relocations;
mod symbol_name;
mod symbols;

pub use debug_link::{AlternateLink, DebugLink};
pub use elf::{Elf, ElfError, LinkedAddress, Section, Segment};
pub use image::Image;
pub use loaded::loaded_build_id;
pub use named::{NamedSymbol, SymbolTables};
pub use read_at::{FileStamp, ReadAt, Slice, fill};
pub use symbols::Symbols;
