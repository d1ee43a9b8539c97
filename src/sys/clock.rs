//! The clock of a run.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::model::MonoNs;

/// The current moment of `CLOCK_MONOTONIC`, the clock that all perf events are opened with.
pub fn now() -> MonoNs {
    MonoNs(read(ClockId::CLOCK_MONOTONIC))
}

/// What [`now`] lacks of the time since boot, by which `/proc` says when a process was started: the time for which the host was suspended.
pub fn boot_offset() -> Duration {
    let (since_boot, mono) = (read(ClockId::CLOCK_BOOTTIME), now().0);
    Duration::from_nanos(since_boot.saturating_sub(mono))
}

/// The wall-clock time of a moment, in nanoseconds since the Unix epoch; for labels only, since it may jump.
pub fn unix_ns_at(moment: MonoNs) -> u64 {
    let (wall, mono) = (read(ClockId::CLOCK_REALTIME), now().0);
    wall.wrapping_sub(mono).wrapping_add(moment.0)
}

/// Nanoseconds on a clock that every Linux has.
pub(super) fn read(clock: ClockId) -> u64 {
    let time =
        clock_gettime(clock).expect("the clocks exist on every Linux, and the pointer is ours");
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec()).unwrap_or(0)
}
