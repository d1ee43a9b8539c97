//! The files of `systemd/`, used as docs/DAEMON.md says, on a machine with a systemd of its own that a test boots inside this one.

mod daemon;
mod docs;
mod machine;
mod metrics;
mod outside;
#[path = "../own_daemon/mod.rs"]
mod own_daemon;
mod program;
mod sandbox;
#[path = "../support/mod.rs"]
mod support;
mod unit;
mod users;
