//! What all records have in common: a header, and where their time and event stand.

use crate::model::MonoNs;

/// `PERF_RECORD_SAMPLE`; the other kinds are known to `side_band`.
const SAMPLE: u32 = 9;
/// Words at the end of every record but samples: {pid, tid}, time, identifier.
pub(super) const TRAILER: usize = 3;

/// Size in bytes that a `struct perf_event_header` claims: type u32, misc u16, size u16.
pub(in crate::sys) fn size_of(header: u64) -> usize {
    usize::try_from(header >> 48).expect("16 bits")
}

pub(super) fn kind(words: &[u64]) -> Option<u32> {
    words.first().map(|header| low(*header))
}

pub(super) fn misc(words: &[u64]) -> u16 {
    words.first().map_or(0, |header| {
        u16::try_from(header >> 32 & 0xffff).expect("16 bits")
    })
}

pub(super) fn low(word: u64) -> u32 {
    u32::try_from(word & 0xffff_ffff).expect("32 bits")
}

pub(super) fn high(word: u64) -> u32 {
    u32::try_from(word >> 32).expect("32 bits")
}

/// When the record was made.
pub fn time_of(words: &[u64]) -> Option<MonoNs> {
    let time = match kind(words)? {
        SAMPLE => words.get(4)?,
        _ => words.get(words.len().checked_sub(TRAILER)? + 1)?,
    };
    Some(MonoNs(*time))
}

/// The identifier of the event that a sample belongs to, if the record is one.
pub fn sample_id(words: &[u64]) -> Option<u64> {
    (kind(words)? == SAMPLE).then(|| words.get(1).copied())?
}

pub(super) fn bytes_of(words: &[u64]) -> &[u8] {
    // SAFETY: u64s are initialized bytes without padding; the length in bytes is that of the slice itself.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}
