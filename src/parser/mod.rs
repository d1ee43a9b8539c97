//! The stages that read foreign files, in a child process that has nothing to lose.
//!
//! perfd executes itself (`perfd parse`); the child gives up all rights ([`confinement`](crate::sys::confinement)) before it sees the first
//! foreign byte, and speaks with perfd over one socket:
//!
//! ```text
//! perfd                                                        child
//!   ── Request: name these frames, make this table + the file ──▶
//!   ◀── Ask: open this debug file, a file of the cache ──────────   as often as need be
//!   ── Reply + files, open for reading ─────────────────────────▶
//!   ◀── Answer ──────────────────────────────────────────────────
//! ```
//!
//! - perfd opens, by the same rules as if it read itself (`Opener`), and hands on nothing but regular files that
//!   begin as ELF files do, files of the rules for code made at run time, and files of its own cache. The child has no path to open.
//! - perfd believes the child nothing but names, and where an interpreter keeps its frames ([`PythonFile`](crate::python::PythonFile), which any numbers may stand in): sizes are bounded before
//!   memory is taken, tables are checked ([`Table::from_parts`](crate::unwind::Table::from_parts)), numbers are looked up, files are never taken from it.
//! - Each `Parser` has a child of its own, and one request at a time. When the child dies, says nonsense or is silent for
//!   longer than [`Limits::time`], it is killed and the request is made once more, of a fresh one. If that fails too, the file is to blame, and
//!   is not tried again. A child with nothing to do ends. Behind [`Limits::last_moment`] nothing is asked any more.
//!
//! What a child knows dies with it; what it has left in the cache, for files that it was given, does not.

mod back_off;
mod blamed;
pub mod child;
mod children;
mod code;
mod limits;
mod message;
mod names;
mod opener;
mod process;
mod pythons;
mod tables;
mod tally;

pub use children::Children;
pub use code::Code;
pub use limits::{Limits, Parsing};
pub use names::Names;
pub use process::{Begin, Source};
pub use pythons::Pythons;
pub use tables::Tables;
pub use tally::{Facts, Tally};
