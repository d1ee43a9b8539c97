//! How much memory profiles take: estimates, for limits. The texts of frames are not in them, which windows share.

use std::mem::size_of;

use crate::model::{Count, FrameName, ProcessCounts, Profile, Row, Weight};

/// What stands in front of a list: its place and its two lengths. Bytes.
const LIST: usize = 24;

/// Bytes of a row.
pub fn row_bytes(row: &Row) -> u64 {
    let bytes = size_of::<Row>()
        + LIST * 2
        + size_of_val::<[FrameName]>(&row.frames)
        + size_of_val::<[Weight]>(&row.weights);
    bytes as u64
}

/// Bytes of a profile: its rows, and its counts by process.
pub fn profile_bytes(profile: &Profile) -> u64 {
    let counts = |process: &ProcessCounts| {
        size_of::<ProcessCounts>() + LIST + size_of_val::<[Count]>(&process.counts)
    };
    let processes: usize = profile.processes.iter().map(counts).sum();
    let rows: u64 = profile.rows.iter().map(row_bytes).sum();
    rows + (size_of::<Profile>() + processes) as u64
}
