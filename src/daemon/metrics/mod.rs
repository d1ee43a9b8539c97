//! Metrics: what the daemon does and takes, as Prometheus reads it.
//!
//! The text is made when it is asked for (`gather.rs`), in the format that `text.rs` knows; `server.rs` answers on the sockets.

mod gather;
mod server;
mod text;

pub use gather::{ClientFigures, Sources};
pub use server::{Answers, Question, serve};
