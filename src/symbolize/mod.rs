//! Names of frames: DWARF with inlined functions, Go's own table, ELF symbols, the kernel's symbols, demangled.
//!
//! A name is right or absent: a frame that nothing covers is `module+0xoffset` with the reason, never the nearest
//! symbol of something else. Files are foreign: what a lookup may cost in time, memory and stack is bounded here, and
//! a file that breaks a bound, or an invariant of a library, is given up as corrupt without harm to anything else.
//!
//! Each module has a chain of `NameSource`s that are asked in turn: those of its debug file (`debug_files`), its own, the
//! symbols that it carries compressed.

mod confine;
mod demangle;
mod dwarf;
mod elf_symbols;
mod functions;
mod go;
pub mod jit;
mod kernel;
mod module_names;
mod resolver;
mod shown;
mod store;
mod table;

pub use demangle::Demangle;
pub use functions::{Function, Functions, Name, Place, Wanted};
pub use module_names::{ModuleNames, why_unopened};
pub use resolver::{Config, Inline, Resolver, unnamed};
pub use shown::{Shown, Srcline, Suffixes};
pub use store::{CacheFolder, FolderError, Shelf};

use crate::object::LinkedAddress;

/// A piece of work that another thread may do.
pub type Job<'a> = Box<dyn FnOnce() + Send + 'a>;

/// One place where names of a module's functions come from.
trait NameSource: Send {
    /// Appends the functions that cover `address`, innermost first. Nothing is appended if nothing covers it.
    fn functions(
        &mut self,
        address: LinkedAddress,
        wanted: Wanted,
        functions: &mut Functions,
    ) -> Result<(), Corrupt>;

    /// Adds where in the source the address is, for functions that another source has named.
    fn place(&mut self, _address: LinkedAddress, _functions: &mut Functions) {}

    /// Whether it knows of no function at all.
    fn is_empty(&mut self) -> bool;

    /// Bytes of memory held, estimated.
    fn memory(&self) -> usize;
}

/// The source contradicts itself; nothing more is asked of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corrupt;
