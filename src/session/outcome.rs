//! What a run tells: while it goes on, and at its end.

use std::sync::Arc;
use std::time::Duration;

use super::outputs::OutputReport;
use super::progress;
use crate::model::Profile;
use crate::sys::spawn::Status;

/// How a run went.
#[derive(Debug)]
pub struct Outcome {
    /// The last window, with the account of the whole run; `None` only if the names thread never made one.
    pub last: Option<Arc<Profile>>,
    /// From the first moment to the last in which samples were taken.
    pub elapsed: Duration,
    /// How the command ended, if the run had one.
    pub status: Option<Status>,
    /// How each output ended, in the order of the sinks.
    pub outputs: Vec<OutputReport>,
    /// What the user should know of the search for names: debug files that do not fit, servers that do not answer.
    pub notes: Vec<String>,
}

/// Who is told.
pub trait Observer {
    /// Something the user should know, when the run has begun.
    fn note(&mut self, note: &str);
    /// How far the run is; called at every drain.
    fn progress(&mut self, status: progress::Status);
    /// The sampling is over; what follows are the last window and the outputs.
    fn sampling_ended(&mut self);
}
