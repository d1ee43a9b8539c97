//! The files of `systemd/`, used as docs/DAEMON.md says, on a machine with a systemd of its own that each test boots inside this one.

mod machine;
mod sandbox;
#[path = "../support/mod.rs"]
mod support;
mod unit;
