//! Time on the one clock that perf records, windows and perfd's own decisions share, and sampling rates.

use std::fmt;
use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`; the clock every perf event is opened with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MonoNs(pub u64);

impl MonoNs {
    /// Time from `earlier` to `self`; zero if `earlier` is the later one.
    pub fn since(self, earlier: MonoNs) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `duration` before this one.
    pub fn minus(self, duration: Duration) -> MonoNs {
        MonoNs(self.0.saturating_sub(nanos(duration)))
    }

    /// The moment `duration` after this one.
    pub fn plus(self, duration: Duration) -> MonoNs {
        MonoNs(self.0.saturating_add(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// From a first moment to a last one, both of which are in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub first: MonoNs,
    /// The last.
    pub last: MonoNs,
}

impl Span {
    /// All of time.
    pub const ALWAYS: Span = Span {
        first: MonoNs(0),
        last: MonoNs(u64::MAX),
    };

    /// One moment.
    pub fn at(time: MonoNs) -> Span {
        Span {
            first: time,
            last: time,
        }
    }

    /// The shortest span that holds both.
    #[must_use]
    pub fn and(self, other: Span) -> Span {
        Span {
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }
}

/// Samples a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hz(pub u64);

impl fmt::Display for Hz {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} Hz", self.0)
    }
}

/// How often an event takes a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// So often per second that the event runs (`-F`). The kernel adjusts the period, except for clocks,
    /// where the period is fixed at 10⁹ ∕ Hz ns.
    Frequency(Hz),
    /// Once every so many counts of the event (`-c`); for clocks, nanoseconds.
    Period(u64),
}

impl Rate {
    /// The largest period: the kernel takes 63 bits.
    pub const MAX_PERIOD: u64 = u64::MAX >> 1;
    /// The highest frequency that can be asked for; what the host allows may be less.
    pub const MAX_FREQUENCY: Hz = Hz(1_000_000);

    /// Half as often; the lowest rate stays as it is.
    #[must_use]
    pub fn halved(self) -> Rate {
        match self {
            Rate::Frequency(hz) => Rate::Frequency(Hz((hz.0 / 2).max(1))),
            Rate::Period(period) => Rate::Period(period.saturating_mul(2).min(Rate::MAX_PERIOD)),
        }
    }
}

/// `997 Hz`, `every 1000`.
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rate::Frequency(hz) => hz.fmt(f),
            Rate::Period(period) => write!(f, "every {period}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_rate_is_still_one_that_the_kernel_takes() {
        let half = |rate: Rate| rate.halved();
        assert_eq!(half(Rate::Frequency(Hz(997))), Rate::Frequency(Hz(498)));
        assert_eq!(half(Rate::Frequency(Hz(1))), Rate::Frequency(Hz(1)));
        assert_eq!(half(Rate::Period(1)), Rate::Period(2));
        let slowest = Rate::Period(Rate::MAX_PERIOD);
        assert_eq!(half(slowest), slowest);
    }
}
