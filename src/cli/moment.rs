//! Moments as they are typed: `--since 10:00`, `--until -5m`.
//!
//! ```text
//! HH:MM[:SS]                              the last such time; of an end the first one after the beginning
//! YYYY-MM-DD[ HH:MM[:SS]]                 local, with a space or T between
//! YYYY-MM-DDTHH:MM:SS[.fff](Z|±HH:MM)     RFC 3339
//! -NUMBER(s|m|h|d)                        so long ago
//! now
//! ```

use std::str::FromStr;

use crate::model::Civil;
use crate::sys;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400;

/// A moment as typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Nanoseconds since the Unix epoch.
    At(u64),
    /// A local time of day, in seconds.
    TimeOfDay(u64),
    /// Seconds before now.
    Ago(u64),
}

/// Why a text is no moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum MomentError {
    #[error(
        "not a time; write it like 10:05, \"2026-11-27 10:05\", 2026-11-27T10:05:00Z, -10m or now"
    )]
    Form,
    #[error("there is no such day or time")]
    NoSuchDate,
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Moment, MomentError> {
        if text == "now" {
            return Ok(Moment::Ago(0));
        }
        if let Some(ago) = text.strip_prefix('-') {
            return ago_of(ago).ok_or(MomentError::Form);
        }
        if text.contains(':') && !text.contains('-') {
            return time_of_day(text).map(Moment::TimeOfDay);
        }
        date_and_time(text)
    }
}

impl Moment {
    /// Nanoseconds since the Unix epoch of a beginning, if it is `now`.
    pub(super) fn as_start(self, now: u64) -> u64 {
        match self {
            Moment::At(at) => at,
            Moment::Ago(seconds) => now.saturating_sub(seconds.saturating_mul(SECOND)),
            // Today, or if that is still to come yesterday.
            Moment::TimeOfDay(time) => {
                let today = on_day_of(now, time);
                match today > now {
                    true => on_day_of(now.saturating_sub(DAY * SECOND), time),
                    false => today,
                }
            }
        }
    }

    /// Nanoseconds since the Unix epoch of the end of what begins at `start`, if that is said.
    pub(super) fn as_end(self, start: Option<u64>, now: u64) -> u64 {
        match (self, start) {
            (Moment::TimeOfDay(time), Some(start)) => {
                let same_day = on_day_of(start, time);
                match same_day <= start {
                    true => on_day_of(start.saturating_add(DAY * SECOND), time),
                    false => same_day,
                }
            }
            _ => self.as_start(now),
        }
    }
}

/// A moment for people: local time.
pub(super) fn shown(unix_ns: u64) -> String {
    let seconds = i64::try_from(unix_ns / SECOND).unwrap_or(i64::MAX);
    sys::local_date(seconds).map_or_else(|| format!("{unix_ns} ns"), |date| date.to_string())
}

/// A time of day on the local day of a moment; the moment itself where calendars end.
fn on_day_of(unix_ns: u64, time: u64) -> u64 {
    let at = || {
        let day = sys::local_date(i64::try_from(unix_ns / SECOND).ok()?)?;
        let small = |number: u64| u32::try_from(number).ok();
        sys::unix_of_local(Civil {
            hour: small(time / 3600)?,
            minute: small(time / 60 % 60)?,
            second: small(time % 60)?,
            ..day
        })
    };
    at().and_then(nanos).unwrap_or(unix_ns)
}

fn nanos(seconds: i64) -> Option<u64> {
    u64::try_from(seconds).ok()?.checked_mul(SECOND)
}

fn ago_of(text: &str) -> Option<Moment> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => DAY,
        _ => return None,
    };
    let number = number(&text[..text.len() - 1], 1..=10)?;
    Some(Moment::Ago(u64::from(number).checked_mul(unit)?))
}

/// Digits and nothing else.
fn number(text: &str, lengths: std::ops::RangeInclusive<usize>) -> Option<u32> {
    let is_plain = lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_plain.then(|| text.parse().ok()).flatten()
}

/// `HH:MM[:SS]`.
fn time_of_day(text: &str) -> Result<u64, MomentError> {
    let parts: Vec<&str> = text.split(':').collect();
    let part = |at: usize, lengths| parts.get(at).and_then(|part| number(part, lengths));
    let (hour, minute, second) = match parts.len() {
        2 => (part(0, 1..=2), part(1, 2..=2), Some(0)),
        3 => (part(0, 1..=2), part(1, 2..=2), part(2, 2..=2)),
        _ => return Err(MomentError::Form),
    };
    let (Some(hour), Some(minute), Some(second)) = (hour, minute, second) else {
        return Err(MomentError::Form);
    };
    match hour < 24 && minute < 60 && second < 60 {
        true => Ok(u64::from(hour * 3600 + minute * 60 + second)),
        false => Err(MomentError::NoSuchDate),
    }
}

fn date_and_time(text: &str) -> Result<Moment, MomentError> {
    let (day, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let parts: Vec<&str> = day.split('-').collect();
    let [year, month, day] = parts[..] else {
        return Err(MomentError::Form);
    };
    let parts = (
        number(year, 4..=4),
        number(month, 2..=2),
        number(day, 2..=2),
    );
    let (Some(year), Some(month), Some(day)) = parts else {
        return Err(MomentError::Form);
    };
    let (time, offset) = split_offset(time)?;
    let (time, fraction) = match time.split_once('.') {
        None => (time, 0),
        Some((time, digits)) => (time, fraction(digits).ok_or(MomentError::Form)?),
    };
    let time = time_of_day(time)?;
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let civil = Civil {
        year,
        month,
        day,
        hour: small(time / 3600),
        minute: small(time / 60 % 60),
        second: small(time % 60),
    };
    let seconds = match offset {
        None => sys::unix_of_local(civil),
        Some(offset) => civil.to_unix().map(|seconds| seconds - offset),
    };
    let at = seconds.and_then(nanos).ok_or(MomentError::NoSuchDate)?;
    Ok(Moment::At(at + fraction))
}

/// The time without its offset from UTC, and that in seconds; `None` is local time.
fn split_offset(text: &str) -> Result<(&str, Option<i64>), MomentError> {
    if let Some(time) = text.strip_suffix('Z') {
        return Ok((time, Some(0)));
    }
    let Some(at) = text.find(['+', '-']) else {
        return Ok((text, None));
    };
    let seconds = i64::try_from(time_of_day(&text[at + 1..])?).unwrap_or(0);
    match &text[at..=at] {
        "-" => Ok((&text[..at], Some(-seconds))),
        _ => Ok((&text[..at], Some(seconds))),
    }
}

/// Nanoseconds.
fn fraction(digits: &str) -> Option<u64> {
    let value = number(digits, 1..=9)?;
    let missing = u32::try_from(9 - digits.len()).ok()?;
    Some(u64::from(value) * 10u64.pow(missing))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-27 04:02:10 UTC.
    const NOW: u64 = 1_795_752_130 * SECOND;

    fn at(text: &str) -> u64 {
        let moment: Moment = text.parse().expect(text);
        moment.as_start(NOW)
    }

    #[test]
    fn moments_with_an_offset_are_the_same_everywhere() {
        for text in [
            "2026-11-27T04:02:10Z",
            "2026-11-27T04:02:10+00:00",
            "2026-11-27T05:32:10+01:30",
            "2026-11-26T20:02:10-08:00",
            "2026-11-27 04:02:10Z",
        ] {
            assert_eq!(at(text), NOW, "{text}");
        }
        assert_eq!(at("2026-11-27T04:02:10.25Z"), NOW + SECOND / 4);
        assert_eq!(at("now"), NOW);
        assert_eq!(at("-10m"), NOW - 600 * SECOND);
        assert_eq!(at("-2h"), NOW - 7200 * SECOND);
        assert_eq!(at("-1d"), NOW - DAY * SECOND);
        assert_eq!(at("-90s"), NOW - 90 * SECOND);
    }

    #[test]
    fn a_local_moment_is_what_the_clock_on_the_wall_shows() {
        for text in ["2026-11-27 10:05:30", "2026-06-27T10:05:30"] {
            assert_eq!(shown(at(text)), text.replace('T', " "));
        }
        assert_eq!(shown(at("2026-11-27")), "2026-11-27 00:00:00");
        assert_eq!(shown(at("2026-11-27 10:05")), "2026-11-27 10:05:00");
    }

    #[test]
    fn a_time_of_day_is_the_last_one_and_an_end_the_first_after_the_start() {
        let now = at("2026-11-27 12:00");
        let start = |text: &str| text.parse::<Moment>().expect(text).as_start(now);
        let end = |text: &str, start| shown(text.parse::<Moment>().expect(text).as_end(start, now));
        assert_eq!(shown(start("10:05")), "2026-11-27 10:05:00");
        assert_eq!(shown(start("9:05:07")), "2026-11-27 09:05:07");
        assert_eq!(shown(start("12:00")), "2026-11-27 12:00:00");
        assert_eq!(shown(start("23:50")), "2026-11-26 23:50:00");
        let late = Some(start("23:50"));
        assert_eq!(end("00:10", late), "2026-11-27 00:10:00");
        assert_eq!(end("23:55", late), "2026-11-26 23:55:00");
        let morning = Some(start("11:00"));
        // It may be that the end is still to come.
        assert_eq!(end("12:30", morning), "2026-11-27 12:30:00");
        assert_eq!(end("12:30", None), "2026-11-26 12:30:00");
        assert_eq!(end("now", morning), "2026-11-27 12:00:00");
    }

    #[test]
    fn what_is_no_moment_is_refused() {
        for text in [
            "",
            "10",
            "soon",
            "-",
            "-10",
            "-m",
            "-1.5h",
            "10:5",
            "1:2:3:4",
            "2026-1-1",
            "2026-11-27T",
            "2026-11-27T10:05:00+1",
            "2026-11-27T10:05:00.Z",
            "10:05Z",
            "é",
            "-5é",
        ] {
            assert_eq!(text.parse::<Moment>(), Err(MomentError::Form), "{text}");
        }
        for text in [
            "24:00",
            "10:60",
            "2026-02-30",
            "2026-13-01T00:00:00Z",
            "1969-01-01T00:00:00Z",
        ] {
            assert_eq!(
                text.parse::<Moment>(),
                Err(MomentError::NoSuchDate),
                "{text}"
            );
        }
    }
}
