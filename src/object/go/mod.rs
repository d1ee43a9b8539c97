//! What the Go linker tells the Go runtime about code (`.gopclntab`): functions, files, lines, what was inlined, and
//! the size of frames. It is loaded with the program, so that stripping (`-ldflags=-s`) leaves it.
//!
//! Formats of Go 1.2 to 1.25, by the magic of the table's first word (`runtime/symtab.go`, `cmd/link/internal/ld/pcln.go`):
//!
//! | word | Go | entries of functions | inlined functions |
//! | --- | --- | --- | --- |
//! | `0xfffffffb` | 1.2–1.15 | addresses; all offsets from the table's start | not read: the records differ under one magic |
//! | `0xfffffffa` | 1.16, 1.17 | addresses | records of 20 bytes, by address |
//! | `0xfffffff0` | 1.18, 1.19 | offsets from the start of the text | of 20 bytes, by offset from `moduledata.gofunc` |
//! | `0xfffffff1` | 1.20 and later | offsets from the start of the text | of 16 bytes, by offset from `moduledata.gofunc` |
//!
//! Tables are foreign bytes: what contradicts itself has no name, and each lookup is bounded.

mod inlined;
mod locate;
mod memory;
mod module_data;
mod table;
mod values;

pub use inlined::GoFrame;
pub use table::{Bottom, FrameRun, GoTable, Place};
