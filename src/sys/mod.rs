//! System calls, wrapped so that no other floor needs `unsafe` or sees a raw descriptor number.

pub mod limits;
pub mod privilege;
pub mod probe;
