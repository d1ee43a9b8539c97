//! Names of frames: DWARF with inlined functions, ELF symbols, the kernel's symbols, demangled.
//!
//! A name is right or absent: a frame that nothing covers is `module+0xoffset` with the reason, never the nearest
//! symbol of something else. Files are foreign: what a lookup may cost in time, memory and stack is bounded here, and
//! a file that breaks a bound, or an invariant of a library, is given up as corrupt without harm to anything else.
//!
//! Each module has a chain of `NameSource`s that are asked in turn: those of its debug file (`debug_files`), its own, the
//! symbols that it carries compressed; perf maps and the like are further links of it.

mod confine;
mod demangle;
mod dwarf;
mod elf_symbols;
mod kernel;
mod line_tables;
mod module_names;
mod resolver;
mod watched;

pub use resolver::{Config, Inline, Resolver};

use crate::model::NameKind;
use crate::object::LinkedAddress;

/// One place where names of a module's functions come from.
trait NameSource: Send {
    /// Appends the names of the function that covers `address`: outermost first, its inlined callees after it.
    /// Nothing is appended if nothing covers it.
    fn names(
        &mut self,
        address: LinkedAddress,
        inline: Inline,
        names: &mut Vec<SourceName>,
    ) -> Result<(), Corrupt>;

    /// Bytes of memory held, estimated.
    fn memory(&self) -> usize;
}

/// A name as a source knows it.
#[derive(Debug, PartialEq, Eq)]
struct SourceName {
    /// Demangled; `None` for a function that the source knows of, but not its name.
    text: Option<String>,
    /// The name is the bare one of a C++ function that has a scope and parameters: what a symbol says is better.
    is_bare: bool,
    kind: NameKind,
}

impl SourceName {
    /// Whether no other source can say more.
    fn is_whole(&self) -> bool {
        self.text.is_some() && !self.is_bare
    }
}

/// The source contradicts itself; nothing more is asked of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Corrupt;
