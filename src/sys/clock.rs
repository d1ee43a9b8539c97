//! The clock of a run.

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use crate::model::MonoNs;

/// The current moment of `CLOCK_MONOTONIC`, the clock that all perf events are opened with.
pub fn now() -> MonoNs {
    MonoNs(read(ClockId::CLOCK_MONOTONIC))
}

/// The wall-clock time of a moment, in nanoseconds since the Unix epoch; for labels only, since it may jump.
pub fn unix_ns_at(moment: MonoNs) -> u64 {
    let (wall, mono) = (read(ClockId::CLOCK_REALTIME), now().0);
    wall.wrapping_sub(mono).wrapping_add(moment.0)
}

/// The moment of so many clock ticks after the host started, as `/proc` says when a process did; up to a tick (10 ms) too early. Moments
/// before a suspension are too late by its length.
pub fn at_tick(ticks: u64) -> MonoNs {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let per_second = u128::try_from(per_second).unwrap_or(100).max(1);
    let since_start = u128::from(ticks) * 1_000_000_000 / per_second;
    let suspended = read(ClockId::CLOCK_BOOTTIME).saturating_sub(now().0);
    let since_start = u64::try_from(since_start).unwrap_or(u64::MAX);
    MonoNs(since_start.saturating_sub(suspended))
}

/// Nanoseconds on a clock that every Linux has.
pub(super) fn read(clock: ClockId) -> u64 {
    let time =
        clock_gettime(clock).expect("the clocks exist on every Linux, and the pointer is ours");
    u64::try_from(time.tv_sec()).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec()).unwrap_or(0)
}
