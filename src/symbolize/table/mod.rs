//! What is known of one unit's code, in bytes that are searched where they lie.
//!
//! Made once from DWARF, kept in a [`store`](super::store), and the same in memory and on disk. All numbers are little endian.
//!
//! ```text
//! header     base u64 · n_pieces u32 · n_scopes u32 · n_files u32 · n_groups u32 · n_line_bytes u32
//! pieces     start u32 × n_pieces      sorted, disjoint; from `base` on; a piece reaches to the next one
//!            scope u32 × n_pieces      the innermost function there; all ones: none
//! scopes     (parent u32, name u32, call_file u32, call_line u32) × n_scopes
//!            a function, or one that was inlined into `parent` at that place; all ones: none
//! files      text u32 × n_files
//! groups     (start u32, line bytes from u32) × n_groups        every 32 rows of lines
//! line bytes rows of a group, each the difference to the one before (see `rows`)
//! ```
//!
//! A tree of functions, each with ranges of its own, becomes pieces, each with one innermost function: what would be a
//! walk down the tree is one binary search.

mod bytes;
mod flatten;
mod rows;
mod unit_table;

pub(super) use flatten::{Scope, ScopeRange};
pub(super) use rows::Row;
pub(super) use unit_table::{Draft, Found, Place, UnitTable};

/// No scope, text or file.
pub(super) const NONE: u32 = u32::MAX;
