//! aarch64.

pub mod calls;
pub(super) mod init;
pub(super) mod jumps;
pub(super) mod plt;
pub mod registers;
pub(super) mod rows;
