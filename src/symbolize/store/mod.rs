//! Where tables of units and their texts are kept: in memory, or in files that the next run finds again.
//!
//! A file is written once, under a name that nobody looks for, and gets its proper name when it is complete; after that it is
//! never changed. A run adds what it has learnt as a further file. So neither a crash nor two runs at a time can damage what
//! is there. A file has its own check sum for each part, and one that is damaged is taken for none.
//!
//! ```text
//! texts      pieces of 64 KiB: (length u16, flags u8, linkage name u32, bytes) …   see `texts`
//! tables     see `table`
//! directory  n_pieces u32 · n_units u32 · n_ranges u32
//!            (offset u64, size u32, crc32 u32) × n_pieces
//!            (unit u64, offset u64, size u32, crc32 u32) × n_units          sorted by unit
//!            (start u64, end u64, unit u64) × n_ranges                      which units have code where
//! end        directory's offset u64, size u32, crc32 u32 · magic
//! ```

mod directory;
mod folder;
mod growing;
mod medium;
mod segment;
mod tables;
mod texts;

pub(super) use directory::UnitRange;
pub use folder::{CacheFolder, FolderError, Shelf};
pub(super) use growing::Growing;
pub(super) use tables::{FileKey, Home, Tables};
pub(super) use texts::{Stored, TextFlags};
