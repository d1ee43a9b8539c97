//! Sinks: where profiles go, and in which form.
//!
//! A sink is an encoder times a carrier: `encode` turns a [`Profile`](crate::model::Profile) into bytes and knows no
//! places; `carry` brings bytes to a place and knows no formats; [`Sink`] joins one of each for a whole run. What a
//! user types (`svg:out.svg`, `jsonl:unix:/run/x.sock`) is a [`SinkSpec`]. The formats are described in
//! `docs/OUTPUT.md`.
//!
//! A sink never drops, retries or prints: a write that fails is told to the session, which decides.

pub mod carry;
pub mod encode;
mod error;
mod names;
pub mod pprof;
mod spec;
mod writer;

pub use encode::{Measure, View};
pub use error::{OpenError, WriteError};
pub use spec::{Format, ParseSinkError, Place, SinkSpec, same_place_twice};
pub use writer::{OpenContext, Sink};
