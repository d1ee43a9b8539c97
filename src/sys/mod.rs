//! System calls, wrapped so that no other floor needs `unsafe` or sees a raw descriptor number.

pub mod pidfd;
pub mod signals;
pub mod spawn;
