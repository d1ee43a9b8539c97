//! Files with debug information that lie elsewhere, made here by the tools that make them in earnest: each is found
//! where it may lie, and left out where it is not the right one.

mod alternate;
mod bench;
mod compressed;
mod mini;
mod other_root;
mod real_server;
mod separate;
mod server;
mod split;
mod stale;
#[path = "../support/mod.rs"]
mod support;
#[allow(dead_code, reason = "the names tests use all of it")]
#[path = "../symbolize/workbench.rs"]
mod workbench;
