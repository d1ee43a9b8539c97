//! A daemon to which everything happens that may happen to it: it lives, answers, accounts for every sample, and gives back what it took.

mod clients;
#[path = "../own_daemon/mod.rs"]
mod own_daemon;
mod processes;
mod programs;
mod resources;
mod storage;
#[path = "../support/mod.rs"]
mod support;
