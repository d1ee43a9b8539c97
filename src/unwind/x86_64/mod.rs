//! What is particular to x86-64: register numbers, the DWARF expressions that its code is described with, and the
//! return address that every call has pushed.

mod expression;
mod translate;

pub(super) use translate::{Base, translate};
