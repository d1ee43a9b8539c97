//! User-space stacks without frame pointers: rows from `.eh_frame` and `.debug_frame`, and the walk over them.
//!
//! Building a [`Table`] and walking a stack are apart: a table is built once per module from the bytes of its
//! sections; a walk reads the sampled registers, the copied stack and tables, and nothing else. This module
//! never opens a file, never allocates on the way of a sample, and does not name anything.
//!
//! Read [`rule`](Rule) and [`table`](Table) first (the format, which an in-kernel unwinder reads byte for byte), then
//! `cfi.rs` (how rows are made) and `walk.rs` (what they are for). What only one processor knows is in the folder of its name.

mod build;
mod cfi;
mod encoder;
mod functions;
mod rule;
mod stack;
mod step;
mod table;
mod walk;
mod x86_64;

pub use build::BuildError;
pub use cfi::{CfiInput, CfiSection, CodeRange};
pub use encoder::TableLimit;
pub use rule::{CfaKind, FpKind, RaKind, Rule};
pub use stack::Stack;
pub use step::{Cursor, by_frame_pointer, by_rule};
pub use table::Table;
pub use walk::{Walked, frames_of_chain, walk};

use crate::model::ModuleId;

/// What the walk may know of a module.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// Its table.
    Table(&'a Table),
    /// There is no table and never will be (JIT code, a damaged file): frame pointer steps only.
    None,
    /// Its table is being built.
    Pending,
}

/// Who has the tables.
pub trait RowSource {
    /// The rows of a module.
    fn rows(&self, module: ModuleId) -> Rows<'_>;
}

/// The table that a walk has to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending(pub ModuleId);
