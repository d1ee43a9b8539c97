//! Values of flags that are no plain numbers: event lists, durations, ids.
//!
//! ```text
//! duration = NUMBER ["." NUMBER] ["us" | "ms" | "s" | "m" | "h" | "d"]      100ms   2.5s   1m
//! ```
//!
//! Without a unit a duration is in the flag's own unit, which its help names.

use std::str::FromStr;
use std::time::Duration;

use crate::model::quantity::{self, DurationError};
use crate::model::{Hz, ParseEventError, Pid, Rate, Tid, parse_events};

/// The events of one `-e`: to be sampled (`AskedEvent`) or only counted (`EventSpec`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventList<E>(pub(super) Vec<E>);

impl<E: FromStr<Err = ParseEventError>> FromStr for EventList<E> {
    type Err = ParseEventError;

    fn from_str(text: &str) -> Result<EventList<E>, ParseEventError> {
        parse_events(text).map(EventList)
    }
}

/// Why a value was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("not a time; write it like {example}")]
    Duration { example: &'static str },
    #[error("a time of zero")]
    Zero,
    #[error("not a number from {least} to {most}")]
    Number { least: u64, most: u64 },
    #[error("not a share of a CPU in percent; write it like 1 or 0.5")]
    Percent,
    #[error("not a power of two from 1 to {most}")]
    Pages { most: u64 },
}

/// A duration in seconds, where no unit says otherwise.
pub(super) fn seconds(text: &str) -> Result<Duration, ValueError> {
    duration(text, Some(1.0), "10, 2.5 or 500ms")
}

/// A duration in milliseconds, where no unit says otherwise.
pub(super) fn milliseconds(text: &str) -> Result<Duration, ValueError> {
    duration(text, Some(1e-3), "100, 100ms or 1s")
}

/// A duration with a unit.
pub(super) fn with_unit(text: &str) -> Result<Duration, ValueError> {
    duration(text, None, "100ms or 1s")
}

fn duration(
    text: &str,
    default_unit: Option<f64>,
    example: &'static str,
) -> Result<Duration, ValueError> {
    quantity::duration(text, default_unit).map_err(|error| match error {
        DurationError::Zero => ValueError::Zero,
        DurationError::NoDuration => ValueError::Duration { example },
    })
}

/// A sampling frequency.
pub(super) fn frequency(text: &str) -> Result<Hz, ValueError> {
    number(text, 1, Rate::MAX_FREQUENCY.0).map(Hz)
}

/// A sampling period.
pub(super) fn period(text: &str) -> Result<u64, ValueError> {
    number(text, 1, Rate::MAX_PERIOD)
}

/// A share in percent, above zero, as a fraction of 1.
pub(super) fn percent(text: &str) -> Result<f64, ValueError> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent.is_finite() => Ok(percent / 100.0),
        _ => Err(ValueError::Percent),
    }
}

/// A process id.
pub(super) fn pid(text: &str) -> Result<Pid, ValueError> {
    id(text).map(Pid)
}

/// A thread id.
pub(super) fn tid(text: &str) -> Result<Tid, ValueError> {
    id(text).map(Tid)
}

/// Number of runs.
pub(super) fn repeats(text: &str) -> Result<u32, ValueError> {
    let most = 1_000_000;
    let n = number(text, 1, most)?;
    u32::try_from(n).map_err(|_| ValueError::Number { least: 1, most })
}

/// Pages of a ring: what `mmap` of a perf event takes.
pub(super) fn pages(text: &str) -> Result<usize, ValueError> {
    let most = 1 << 18;
    let error = ValueError::Pages { most };
    let pages = number(text, 1, most).map_err(|_| error.clone())?;
    match usize::try_from(pages) {
        Ok(pages) if pages.is_power_of_two() => Ok(pages),
        _ => Err(error),
    }
}

fn id(text: &str) -> Result<u32, ValueError> {
    // pid_t is signed, and 0 and −1 mean something else to the kernel.
    let most = u32::MAX >> 1;
    let error = ValueError::Number {
        least: 1,
        most: u64::from(most),
    };
    u32::try_from(number(text, 1, u64::from(most))?).map_err(|_| error)
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, ValueError> {
    match text.parse() {
        Ok(number) if (least..=most).contains(&number) && !text.starts_with('+') => Ok(number),
        _ => Err(ValueError::Number { least, most }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_takes_its_unit_from_the_text_or_from_the_flag() {
        let ms = Duration::from_millis;
        assert_eq!(seconds("10"), Ok(ms(10_000)));
        assert_eq!(seconds("2.5"), Ok(ms(2_500)));
        assert_eq!(seconds("500ms"), Ok(ms(500)));
        assert_eq!(seconds("1m"), Ok(ms(60_000)));
        assert_eq!(seconds("2h"), Ok(ms(7_200_000)));
        assert_eq!(milliseconds("100"), Ok(ms(100)));
        assert_eq!(milliseconds("2s"), Ok(ms(2_000)));
        assert_eq!(with_unit("100ms"), Ok(ms(100)));
        assert_eq!(with_unit("250us"), Ok(Duration::from_micros(250)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "s",
            "-1",
            "1e3",
            "1y",
            "inf",
            "nan",
            "1.2.3",
            "99999999999999999999",
        ] {
            assert!(
                matches!(seconds(text), Err(ValueError::Duration { .. })),
                "{text}"
            );
        }
        assert!(matches!(with_unit("100"), Err(ValueError::Duration { .. })));
        assert_eq!(seconds("0"), Err(ValueError::Zero));
    }

    #[test]
    fn numbers_are_held_to_what_the_kernel_takes() {
        assert_eq!(pid("999999999"), Ok(Pid(999_999_999)));
        for text in ["0", "-1", "4294967295", "x", "+1"] {
            assert!(pid(text).is_err(), "{text}");
        }
        assert_eq!(pages("128"), Ok(128));
        for text in ["0", "3", "524288"] {
            assert!(pages(text).is_err(), "{text}");
        }
        assert!(frequency("0").is_err());
        assert_eq!(percent("50"), Ok(0.5));
        assert_eq!(percent("25%"), Ok(0.25));
        for text in ["0", "-1", "inf", "NaN", "1 %", "x", ""] {
            assert_eq!(percent(text), Err(ValueError::Percent), "{text}");
        }
        assert!(period("0").is_err());
    }
}
