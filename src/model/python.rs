//! What became of the Python frames of a sample.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether the Python frames of a sample stand in its stack, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PythonRead {
    /// There are none: no native frame is that of an interpreter.
    None,
    /// All of them.
    Whole,
    /// There were too many: those at the root are missing.
    Cut,
    /// The interpreter has no state for the thread.
    NoThread,
    /// A part of the interpreter's data was not in memory.
    NotInMemory,
    /// What should be code, or its name, is something else.
    BadObject,
    /// They do not fit the native frames: the interpreter was just entering or leaving a function, or a part of it was not recognized.
    NotMatching,
    /// The sample came through the ring, where nobody reads them.
    LeftToRing,
}

impl PythonRead {
    /// Every one; the first seven by the numbers of `enum python_read` in `bpf/wire.h`.
    pub const ALL: [PythonRead; 8] = [
        PythonRead::None,
        PythonRead::Whole,
        PythonRead::Cut,
        PythonRead::NoThread,
        PythonRead::NotInMemory,
        PythonRead::BadObject,
        PythonRead::NotMatching,
        PythonRead::LeftToRing,
    ];

    /// Whether Python frames are in the stack.
    pub fn has_frames(self) -> bool {
        matches!(self, PythonRead::Whole | PythonRead::Cut)
    }
}

impl fmt::Display for PythonRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PythonRead::None => "no interpreter in the stack",
            PythonRead::Whole => "complete",
            PythonRead::Cut => "too many frames",
            PythonRead::NoThread => "thread not known to the interpreter",
            PythonRead::NotInMemory => "not in memory",
            PythonRead::BadObject => "not a code object",
            PythonRead::NotMatching => "not matching the native frames",
            PythonRead::LeftToRing => "came through the ring",
        })
    }
}

/// The account of Python frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PythonLedger {
    /// Samples of processes that run Python.
    pub samples: BTreeMap<PythonRead, u64>,
    /// Interpreters whose frames cannot be read, one line each.
    pub unreadable: BTreeSet<String>,
}

impl PythonLedger {
    /// Counts samples.
    pub fn count(&mut self, read: PythonRead, samples: u64) {
        if read != PythonRead::None {
            *self.samples.entry(read).or_default() += samples;
        }
    }

    /// Adds the account of a later window.
    pub fn merge(&mut self, window: &PythonLedger) {
        for (read, n) in &window.samples {
            let samples = self.samples.entry(*read).or_default();
            *samples = samples.saturating_add(*n);
        }
        let known = &mut self.unreadable;
        known.extend(window.unreadable.iter().cloned());
    }

    /// What has been added since an earlier state of the same account; what cannot be read is said in each window.
    pub fn since(&self, earlier: &PythonLedger) -> PythonLedger {
        let samples = self.samples.iter().map(|(read, n)| {
            let before = earlier.samples.get(read).copied().unwrap_or(0);
            (*read, n - before)
        });
        PythonLedger {
            samples: samples.filter(|(_, n)| *n > 0).collect(),
            unreadable: self.unreadable.clone(),
        }
    }
}
