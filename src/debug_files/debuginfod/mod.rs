//! A client of debuginfod servers: debug files by build id, over HTTP, kept on disk.
//!
//! Protocol: debuginfod(8). `GET SERVER/buildid/HEX/debuginfo` is answered with the file, or with 404. An answer is not
//! trusted: it is taken into a temporary file up to a size limit, and used if it is an ELF file with that build id.
//!
//! Asking costs names at worst, never a run: each request and all of them together have a time limit, a server that fails
//! is not asked again, and what went wrong is one note.

mod cache;
mod client;
mod config;

pub(super) use client::Client;
pub use config::{Config, Limits, ParseServerError, Proxy, Server};
