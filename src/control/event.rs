//! What comes without being asked for each time: windows, gaps between them, signs of life, the end of a target or of the connection.

use serde::{Deserialize, Serialize};

use super::{Phase, Refusal};

/// An event, under its name as the one field of a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Event {
    /// A window of a target that the client tails.
    Window(Box<Window>),
    /// Windows that the client will never get.
    Gap(Gap),
    /// Nothing else has been sent for a while.
    Heartbeat(Heartbeat),
    /// There will be no more windows of a target.
    End(Ended),
    /// The connection ends with this line, and why.
    Farewell(Refusal),
}

/// A window, or several in one because the client was behind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Whose.
    pub target: u32,
    /// The first window that is in it.
    pub from: u64,
    /// The last; the same as `from` unless windows were merged.
    pub to: u64,
    /// Its phase. Windows of two phases are never merged.
    pub phase: Option<Phase>,
    /// Nanoseconds since the Unix epoch at its start, for labels only.
    pub start_unix_ns: u64,
    /// How long it is, in nanoseconds of a clock that does not jump.
    pub duration_ns: u64,
    /// Samples in it, of all events.
    pub samples: u64,
    /// What is in it.
    #[serde(flatten)]
    pub body: WindowBody,
}

/// A window in the form that `tail` asked for, under the form's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowBody {
    /// Lines `comm;root;…;leaf weight`; empty if there was no sample.
    Folded(String),
    /// A line of the output format `jsonl`.
    Json(serde_json::Value),
    /// A compressed pprof, in base64.
    Pprof(String),
}

/// Windows that were dropped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Whose.
    pub target: u32,
    /// The first of them.
    pub from: u64,
    /// The last.
    pub to: u64,
    /// Why.
    pub reason: GapReason,
}

/// Why windows were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The client was behind by more than may be kept for it.
    TooSlow,
    /// What they held, in this form, is larger than a line may be.
    TooLarge,
    /// A reason that a later daemon knows.
    #[serde(other)]
    Other,
}

/// A sign of life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose tail is alive.
    pub target: u32,
    /// The window that was sent last; `None` before the first.
    pub sequence: Option<u64>,
}

/// The end of a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Whose.
    pub target: u32,
    /// Why.
    pub reason: EndReason,
}

/// Why a target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndReason {
    /// All its processes have.
    Exited,
    /// It has executed a program that its user may not profile.
    Elevated,
    /// Somebody asked for it.
    Detached,
    /// The client that asked for it has left.
    OwnerLeft,
    /// The configuration does not name it any more.
    Unconfigured,
    /// The engine that sampled it has failed.
    Failed,
    /// The daemon ends.
    Stopping,
    /// A reason that a later daemon knows.
    #[serde(other)]
    Other,
}
