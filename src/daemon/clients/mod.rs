//! Connections of clients: who comes, what he asks, what he is sent. What a request means is decided elsewhere.
//!
//! All of them together are part of one event loop, which waits with a `sys::Poller`: it hands wakeups to [`Clients::ready`], gets requests back, gives answers
//! and windows, and calls [`Clients::flush`] before it waits again, and [`Clients::tick`] every so often. Nothing here blocks, and time is an argument.
//!
//! What a client may take of the daemon is bounded in every direction:
//!
//! - connections, in all and of one user; where no descriptor is left, one that is held in reserve tells the next client so, and accepting pauses
//! - a request is not read before the one ahead of it is answered and what was sent is taken; there may be only so many in a second, and a half one does not wait
//!   for ever; one that is longer than it may be ends the connection
//! - a window is encoded when the client has taken all that came before it; until then windows of one phase are merged into one. Who takes nothing for too long is
//!   disconnected. Other clients, and sampling, notice nothing of it

mod connection;
mod encoding;
mod server;
mod tail;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(in crate::daemon) use tests::window as test_window;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::control::{Phase, Request, TailFormat};
use crate::model::Profile;
use crate::sink::View;
use crate::sys::Wakeup;
use crate::sys::unix_socket::Peer;

pub use server::Clients;

/// One connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// What clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// Connections. A few more are kept for root.
    pub clients: usize,
    /// Those of one user other than root.
    pub clients_per_user: usize,
    /// Bytes of one window on the wire; and of memory, for all windows that wait for a client.
    pub queue: usize,
    /// How long a client may take nothing of what waits for it.
    pub patience: Duration,
    /// How long a request may take from its first byte to its last.
    pub request_time: Duration,
    /// Requests of one client in a second, in the long run.
    pub requests_per_second: u32,
    /// Windows that one client may follow.
    pub tails: usize,
}

impl Default for ClientLimits {
    fn default() -> ClientLimits {
        ClientLimits {
            clients: 64,
            clients_per_user: 16,
            queue: 16 << 20,
            patience: Duration::from_secs(10),
            request_time: Duration::from_secs(10),
            requests_per_second: 100,
            tails: 16,
        }
    }
}

/// What the loop hears of clients.
#[derive(Debug)]
pub enum Heard {
    /// A request, to be answered once by [`Clients::answer`] or [`Clients::refuse`].
    Request {
        /// Whose.
        client: ClientId,
        /// Who that is.
        peer: Arc<Peer>,
        /// To be repeated in the answer.
        id: Option<u64>,
        /// What.
        request: Request,
        /// What came with it, for a request that takes descriptors.
        descriptors: Vec<OwnedFd>,
    },
    /// A client has left, or was sent away; it is not answered any more.
    Gone(ClientId, Leave),
    /// There is no descriptor left for a client that waits to be let in; accepting pauses.
    OutOfDescriptors,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The client closed it.
    Closed,
    /// The client took nothing for too long.
    TookNothing,
    /// A request never came to its end.
    HalfRequest,
    /// A request was longer than one may be, wherever it would have ended.
    TooLong,
}

/// A window as clients get it.
#[derive(Clone, Debug)]
pub struct PhasedWindow {
    /// Whose.
    pub target: u32,
    /// The phase that all of it lies in.
    pub phase: Option<Phase>,
    /// What is in it; the number in its span is the target's own.
    pub profile: Arc<Profile>,
}

/// How a client follows a target.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TailSpec {
    /// Whom.
    pub target: u32,
    /// In which form.
    pub format: TailFormat,
    /// The event that is shown, where the form shows one.
    pub view: View,
    /// A sign of life after so long.
    pub heartbeat: Option<Duration>,
}

/// Wakeups from here on are those of clients.
const FIRST_WAKEUP: u64 = 1 << 32;
const LISTENER: Wakeup = Wakeup(FIRST_WAKEUP);

impl ClientId {
    fn wakeup(self) -> Wakeup {
        Wakeup(FIRST_WAKEUP + self.0)
    }
}
