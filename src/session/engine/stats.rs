//! What an engine takes, holds and has lost.

use crate::model::{Cost, Ledger};

/// An engine, as of the last window; before the first, as of its start. Targets and their processes are also counted when one is taken in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EngineStats {
    /// Nanoseconds of CPU that its sampling thread has used.
    pub cpu_ns: u64,
    /// What perfd and the BPF programs have taken since it began (`cpu_ns` in it is of the whole of perfd).
    pub cost: Cost,
    /// Bytes of its rings.
    pub ring_bytes: u64,
    /// Targets that it has.
    pub targets: usize,
    /// Living processes of them that it knows.
    pub processes: usize,
    /// Distinct stacks that it holds.
    pub stacks: usize,
    /// Modules that it knows.
    pub modules: usize,
    /// Processes that it did not take in for want of room.
    pub refused_processes: u64,
    /// How often it has opened everything anew, since a table that only grows was nearly full.
    pub renewals: u64,
    /// Of all samples, by event: emitted = delivered + Σ lost. Delivered are those that count for at least one target.
    pub ledger: Ledger,
}
