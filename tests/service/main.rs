//! The files of `systemd/`, used as docs/DAEMON.md says, on a machine with a systemd of its own that each test boots inside this one.

mod daemon;
mod machine;
mod metrics;
#[path = "../own_daemon/mod.rs"]
mod own_daemon;
mod sandbox;
#[path = "../support/mod.rs"]
mod support;
mod unit;
mod users;
