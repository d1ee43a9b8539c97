//! perfd's unwinder against framehop, the reference: single steps at every function of real files, and whole
//! stacks of a real program whose call chain is known.

mod module;
mod oracle;
mod stacks;
mod steps;
#[path = "../support/mod.rs"]
mod support;
