//! What a request is answered with when it was done: one type for each request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Phase, SnapshotFormat, TailFormat, TargetChoice};

/// To `attach`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The target's number, which no other will ever have.
    pub target: u32,
    /// What it is called.
    pub name: String,
    /// The events as they are sampled.
    pub events: Vec<String>,
    /// What there is to say: fallbacks, each with its reason.
    pub notes: Vec<String>,
}

/// To `detach`: the last window has been taken; it and the end come to those who tail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detached {
    /// Which.
    pub target: u32,
}

/// To `list`: the targets that the client may see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// By number.
    pub targets: Vec<ListedTarget>,
}

/// A target of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedTarget {
    /// Its number.
    pub target: u32,
    /// What it is called.
    pub name: String,
    /// What was asked for.
    pub what: TargetChoice,
    /// Whether it runs.
    pub state: TargetState,
    /// Why it does not, if not for want of something that runs.
    #[serde(default)]
    pub why: Option<String>,
    /// The user who asked for it; `None`: it stands in the configuration.
    pub owner: Option<u32>,
    /// The events as they are sampled.
    pub events: Vec<String>,
    /// The present phase.
    pub phase: Option<Phase>,
    /// The number of the window that is open.
    pub sequence: u64,
    /// Nanoseconds since it was attached.
    pub age_ns: u64,
    /// Samples in the windows so far, of all events.
    pub samples: u64,
    /// Samples lost so far, of those whose loss is known to be this target's.
    pub lost: u64,
    /// Clients that tail it.
    pub tails: u64,
    /// Whether it lives on without the client that asked for it.
    pub keep: bool,
}

/// What a target is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetState {
    /// It is being sampled.
    Running,
    /// A configured one of which nothing runs at present, or that could not be sampled.
    Waiting,
}

/// To `stats`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Its version.
    pub perfd: String,
    /// Nanoseconds since it started.
    pub uptime_ns: u64,
    /// CPU time of all its threads, and of its children, which parse files.
    pub cpu_ns: u64,
    /// Run time of the BPF programs since it started; `None` if the kernel does not measure it.
    pub bpf_ns: Option<u64>,
    /// Memory that is its own, and its children's.
    pub rss_anon_bytes: u64,
    /// Rings.
    pub ring_bytes: u64,
    /// BPF maps.
    pub bpf_map_bytes: u64,
    /// Open descriptors.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
    /// Targets, configured ones that wait included.
    pub targets: u64,
    /// Connections.
    pub clients: ClientFigures,
    /// One for each way of sampling that targets asked for.
    pub engines: Vec<EngineFigures>,
}

/// What became of connections, requests and windows, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientFigures {
    /// Now.
    pub connected: u64,
    /// Taken.
    pub accepted: u64,
    /// Refused: there were as many as may be, in all or of one user.
    pub refused: u64,
    /// Times that accepting paused because there was no descriptor left.
    pub accept_paused: u64,
    /// Requests that were read.
    pub requests: u64,
    /// Lines that were no request, too long, or came with descriptors that were too many.
    pub malformed: u64,
    /// Requests refused because their client sends too many.
    pub too_many_requests: u64,
    /// Windows that went out, each merged one once.
    pub windows_sent: u64,
    /// Windows that were merged into others because their client was behind.
    pub windows_merged: u64,
    /// Windows that a client never got.
    pub windows_dropped: u64,
    /// Signs of life.
    pub heartbeats: u64,
    /// Clients disconnected because they took nothing for too long.
    pub too_slow: u64,
    /// Clients disconnected in the middle of a request that never came to its end.
    pub half_sent: u64,
}

/// One engine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFigures {
    /// Its number, as the log has it.
    pub engine: u32,
    /// Targets that it samples.
    pub targets: u64,
    /// Processes that it follows.
    pub processes: u64,
    /// Distinct stacks that it holds.
    pub stacks: u64,
    /// Its own ledger: `emitted = delivered + Σ lost`.
    pub events: Vec<EventFigures>,
}

/// An engine's account of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventFigures {
    /// The event.
    pub event: String,
    /// `None` where the count says nothing of samples.
    pub emitted: Option<u64>,
    /// In windows.
    pub delivered: u64,
    /// By reason.
    pub lost: BTreeMap<String, i64>,
}

/// To `mark`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marked {
    /// The first window of the new phase.
    pub sequence: u64,
}

/// To `snapshot`. Without a descriptor the text is in the answer, else what was written to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshotted {
    /// In which form.
    pub format: SnapshotFormat,
    /// First window in it.
    pub from: u64,
    /// Last window in it.
    pub to: u64,
    /// Where names take too long: nanoseconds from the end of the last window in it to the request. What was sampled then is not in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacks_ns: Option<u64>,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// A compressed pprof, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Bytes written to the descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<u64>,
}

/// To `tail`: windows follow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tailing {
    /// Which.
    pub target: u32,
    /// In which form.
    pub format: TailFormat,
    /// The events as they are sampled.
    pub events: Vec<String>,
    /// The number of the first window that will come.
    pub sequence: u64,
}

/// To `shutdown`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopping {}
