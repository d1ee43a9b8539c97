//! User-space stacks without frame pointers: rows from `.eh_frame` and `.debug_frame`, and the walk over them.
//!
//! Building a [`Table`] and walking a stack are apart. A table is built once per module, from its [`Elf`](crate::object::Elf) or
//! from the bytes of its sections. A walk sees sampled registers, the copied stack and tables, and allocates nothing
//! but room for its frames. Nothing here opens a file or names a function.
//!
//! `table.rs` and [`Rule`] state the format, which an in-kernel unwinder can read as it is; `cfi.rs` and `functions.rs`
//! make rows, `gap.rs` says what holds where there are none, `encoder.rs` writes them; `walk.rs` and `step.rs` use them.
//! What a row means on which processor is in [`arch`](crate::arch).

mod build;
mod cfi;
mod encoder;
mod functions;
mod gap;
mod parts;
mod stack;
mod step;
mod table;
mod walk;

pub use build::{BuildError, Fingerprint, TableInput};
pub use cfi::{CfiInput, CfiSection, CodeRange};
pub use encoder::TableLimit;
pub use parts::{Contradiction, TableParts};
pub use stack::Stack;
pub use step::{Cursor, by_frame_pointer, by_rule};
pub use table::Table;
pub use walk::{Walked, frames_of_chain, walk};

pub use crate::model::{CfaKind, FpKind, RaKind, Rule};

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
