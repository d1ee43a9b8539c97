//! The outputs of a run, each written by a thread of its own, so that a slow reader holds up nobody else.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::engine::EngineEvent;
use super::names::Destination;
use super::window_of_target::OfTarget;
use crate::model::{NamedSample, Profile};
use crate::sink::{Format, Sink, WriteError};
use crate::sys::Waker;

/// Windows (or batches of samples) that may wait for a slow reader; then the whole run's windows grow longer, and nothing is lost.
const QUEUE: usize = 16;

/// How an output ended.
#[derive(Debug, Default)]
pub struct OutputReport {
    /// The files or sockets that hold it.
    pub places: Vec<String>,
    /// What could not be written, and where it went instead; empty if all is well.
    pub failures: Vec<String>,
}

/// What outputs are handed.
#[derive(Clone)]
enum Piece {
    /// A window, for all of them.
    Window(Arc<Profile>),
    /// Samples by themselves, for those that hold such.
    Samples(Arc<[NamedSample]>),
}

struct Lane {
    format: Format,
    pieces: Sender<Piece>,
    thread: JoinHandle<OutputReport>,
}

/// The open outputs.
pub(super) struct Outputs {
    lanes: Vec<Lane>,
    open: Arc<AtomicUsize>,
}

impl Outputs {
    /// Starts a thread for each sink. `waker` is woken when the last reader has gone away.
    pub(super) fn start(sinks: Vec<Sink>, waker: &Waker) -> std::io::Result<Outputs> {
        let open = Arc::new(AtomicUsize::new(sinks.len()));
        let lanes = sinks
            .into_iter()
            .enumerate()
            .map(|(n, sink)| {
                let (pieces, inbox) = bounded(QUEUE);
                let format = sink.spec().format;
                let (open, waker) = (open.clone(), waker.clone());
                let thread = thread::Builder::new()
                    .name(format!("perfd-sink-{n}"))
                    .spawn(move || {
                        let report = write_all(sink, &inbox);
                        open.fetch_sub(1, Ordering::Relaxed);
                        waker.wake();
                        report
                    })?;
                Ok(Lane {
                    format,
                    pieces,
                    thread,
                })
            })
            .collect::<std::io::Result<Vec<Lane>>>()?;
        Ok(Outputs { lanes, open })
    }

    /// Counts the outputs that still have a reader.
    pub(super) fn open_count(&self) -> Arc<AtomicUsize> {
        self.open.clone()
    }

    /// Hands a piece to every output that takes such and is still open.
    fn write(&mut self, piece: &Piece) {
        for lane in &self.lanes {
            if let (Piece::Window(_), _) | (_, Format::Samples) = (piece, lane.format) {
                // Fails when the thread has ended because its reader went away.
                let _ = lane.pieces.send(piece.clone());
            }
        }
    }

    /// Waits for all of them.
    pub(super) fn finish(self) -> Vec<OutputReport> {
        let threads: Vec<_> = self.lanes.into_iter().map(|lane| lane.thread).collect();
        let join = |thread: JoinHandle<OutputReport>| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    }
}

impl Destination for Outputs {
    fn samples(&mut self, samples: Vec<NamedSample>) {
        self.write(&Piece::Samples(samples.into()));
    }

    fn window(&mut self, profile: Arc<Profile>, _of: Option<OfTarget>) {
        self.write(&Piece::Window(profile));
    }

    fn say(&mut self, event: EngineEvent) {
        unreachable!("a run has no engine: {event:?}");
    }
}

impl Piece {
    fn write(&self, sink: &mut Sink) -> Result<(), WriteError> {
        match self {
            Piece::Window(profile) => sink.write(profile),
            Piece::Samples(samples) => sink.write_samples(samples),
        }
    }
}

fn write_all(mut sink: Sink, inbox: &Receiver<Piece>) -> OutputReport {
    let mut report = OutputReport {
        places: sink.places().map(str::to_owned).collect(),
        failures: Vec::new(),
    };
    for piece in inbox {
        match piece.write(&mut sink) {
            Ok(()) => (),
            Err(WriteError::Closed { .. }) => return report,
            Err(error) => {
                let cause = format!("{:#}", anyhow::Error::new(error));
                if !rescue(&mut sink, &piece, cause, &mut report) {
                    return report;
                }
            }
        }
    }
    if let Err(error) = sink.finish() {
        report
            .failures
            .push(format!("{:#}", anyhow::Error::new(error)));
    }
    report
}

/// Writes a piece, and all that follow, to a new file where there may be room; `false` if there is none anywhere.
fn rescue(sink: &mut Sink, piece: &Piece, cause: String, report: &mut OutputReport) -> bool {
    let folders = [
        std::env::temp_dir(),
        PathBuf::from("/dev/shm"),
        PathBuf::from("/var/tmp"),
    ];
    for folder in folders {
        let Ok(paths) = sink.divert(&folder) else {
            continue;
        };
        if piece.write(sink).is_ok() {
            let paths: Vec<String> = paths
                .iter()
                .map(|path| path.display().to_string())
                .collect();
            report
                .failures
                .push(format!("{cause}\n  the profile is in {}", paths.join(", ")));
            return true;
        }
    }
    report.failures.push(format!(
        "{cause}\n  and there is no room for it anywhere else"
    ));
    false
}
