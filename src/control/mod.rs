//! The words that the daemon and its clients exchange: requests, answers, events, and the lines that they are written in.
//!
//! One JSON object for each line, over a unix stream socket; descriptors travel beside the line that needs them. The protocol is
//! described for those who write a client in `docs/PROTOCOL.md`. Nothing here decides who may do what, and nothing knows what
//! becomes of a request: that is the daemon's.
//!
//! A request with a field that is not known is an error, since what a client asks for must not be half done. A client passes over what it does not
//! know in answers and events, so that fields may be added without a new [`VERSION`].

mod answer;
pub mod client;
pub mod codec;
mod envelope;
mod event;
mod refusal;
mod request;
mod target_choice;

pub use answer::{
    Attached, ClientFigures, Detached, EngineFigures, EventFigures, Listed, ListedTarget, Marked,
    Snapshotted, Stats, Stopping, Tailing, TargetState,
};
pub use envelope::{Answer, Asked, Greeting, Message, Outcome};
pub use event::{EndReason, Ended, Event, Gap, GapReason, Heartbeat, Window, WindowBody};
pub use refusal::{Refusal, RefusalClass};
pub use request::{
    Attach, Detach, List, Mark, OutputAsked, OutputFormat, Phase, Request, Shutdown, Since,
    Snapshot, SnapshotFormat, StatsAsked, Tail, TailFormat,
};
pub use target_choice::{ParseTargetError, TargetChoice};

/// Raised when a request, an answer or an event changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// Where the daemon listens if nobody says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/perfd/control.sock";

/// Bytes that a request may have, its newline included.
pub const MAX_REQUEST: usize = 64 * 1024;

/// Descriptors that may come with a request.
pub const MAX_DESCRIPTORS: usize = 4;

/// Bytes of a snapshot that stand in the answer; a larger one needs a descriptor to go to.
pub const MAX_INLINE_SNAPSHOT: usize = 8 << 20;

/// Bytes of a name that a client gives: of a target, of a phase.
pub const MAX_NAME: usize = 128;
