//! What can be seen from outside of a runtime that compiles while it runs.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Pid, Weight};

/// Where figures of compiled code are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JitSource {
    /// `perf-PID.map`.
    PerfMap,
    /// `jit-PID.dump`.
    Jitdump,
}

/// What a process has compiled since it started, as its runtime wrote it down; of code in memory without a file alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JitFigures {
    /// Where they are from.
    pub source: JitSource,
    /// Functions, each time that one was compiled.
    pub functions: u64,
    /// Of them those whose name had been there before: new code for an old function.
    pub compiled_again: u64,
    /// Bytes of them all.
    pub code_bytes: u64,
    /// Bytes that still hold a function at the end.
    pub live_bytes: u64,
}

/// Two outcomes, counted since the process started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JitTally {
    /// Guards that held, look-ups that hit.
    pub good: u64,
    /// Guards that failed, look-ups that missed.
    pub bad: u64,
}

/// What a runtime says of itself; `None` where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JitRates {
    /// Guards of compiled code.
    pub guards: Option<JitTally>,
    /// Inline caches.
    pub cache: Option<JitTally>,
}

/// A file of a runtime's that is not believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JitFileNote {
    /// What it should be: one of [`JitFileNote::FILES`].
    pub file: &'static str,
    /// Why it is not; nothing that stands in it.
    pub reason: String,
}

impl JitFileNote {
    /// The kinds of files.
    pub const FILES: [&'static str; 3] = ["perf map", "jitdump", "report"];
}

/// A process with code of its own making.
#[derive(Clone, Debug, PartialEq)]
pub struct JitProcess {
    /// Its number.
    pub pid: Pid,
    /// What it compiled; `None` if it does not say.
    pub figures: Option<JitFigures>,
    /// What it says of guards and caches.
    pub rates: JitRates,
}

/// What one compiler has taken of the samples.
#[derive(Clone, Debug, PartialEq)]
pub struct CompilerShare {
    /// `V8 TurboFan`, `HotSpot C2`.
    pub compiler: &'static str,
    /// One for each sampled event, in the run's order.
    pub weights: Vec<Weight>,
}

/// What `--jit` reports of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JitReport {
    /// By number.
    pub processes: Vec<JitProcess>,
    /// Those that were seen; one for each sampled event of the run.
    pub compilers: Vec<CompilerShare>,
}

impl JitLedger {
    /// Adds the account of a later window. A report is of a whole run: the later one takes the place of the earlier.
    pub fn merge(&mut self, window: &JitLedger) {
        for refused in &window.refused {
            if !self.refused.contains(refused) {
                self.refused.push(refused.clone());
            }
        }
        if window.report.is_some() {
            self.report.clone_from(&window.report);
        }
    }
}

/// What the ledger has of code made at run time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JitLedger {
    /// Files that gave no names, by process.
    pub refused: Vec<(Pid, JitFileNote)>,
    /// With `--jit`, over the whole run.
    pub report: Option<Arc<JitReport>>,
}
