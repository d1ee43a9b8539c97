//! Figures for people: grouped digits, durations, rates, shares, ratios. Reports and tables have them alike.

use std::time::Duration;

use super::escape;
use crate::model::{EventSource, Ratio, RatioKind};

/// `1,234,567`.
pub fn grouped(number: impl Into<i128>) -> String {
    let number: i128 = number.into();
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 sample`, `2 samples`.
pub fn n_of(number: impl Into<i128>, one: &str, several: &str) -> String {
    let number: i128 = number.into();
    let noun = if number == 1 { one } else { several };
    format!("{} {noun}", grouped(number))
}

/// `850 ns`, `12.3 ms`, `2.01 s`, `4 min 05 s`, `2 h 03 min`.
pub fn plain_duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    let whole = duration.as_secs();
    match whole {
        3600.. => format!("{} h {:02} min", grouped(whole / 3600), whole / 60 % 60),
        60.. => format!("{} min {:02} s", whole / 60, whole % 60),
        // 59.996 s must not become 60.0 s.
        10.. => format!("{:.1} s", (seconds * 10.0).floor() / 10.0),
        1.. => format!("{seconds:.2} s"),
        0 if duration.as_millis() > 0 => format!("{:.1} ms", seconds * 1e3),
        0 if duration.as_micros() > 0 => format!("{:.1} µs", seconds * 1e6),
        0 => format!("{} ns", duration.as_nanos()),
    }
}

/// `3.01 G/s`, `61.6 /s`.
pub fn per_second(rate: f64) -> String {
    let (value, prefix) = match rate {
        _ if rate >= 1e9 => (rate / 1e9, "G"),
        _ if rate >= 1e6 => (rate / 1e6, "M"),
        _ if rate >= 1e3 => (rate / 1e3, "k"),
        _ => (rate, ""),
    };
    match value {
        0.0 => String::from("0 /s"),
        _ if value >= 100.0 => format!("{value:.0} {prefix}/s"),
        _ if value >= 10.0 => format!("{value:.1} {prefix}/s"),
        _ => format!("{value:.2} {prefix}/s"),
    }
}

/// `99.8 %`; never 100.0 or 0.0 where something is missing or there.
pub fn percent(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a share for people to read")]
    let share = part as f64 * 100.0 / whole.max(1) as f64;
    match share {
        _ if part < whole && share >= 99.95 => String::from("> 99.9 %"),
        _ if part > 0 && share < 0.05 => String::from("< 0.1 %"),
        _ => format!("{share:.1} %"),
    }
}

/// `1.52 per cycle`, `0.14 ± 0.02 per 1,000 instructions`, `3.10 % of cache-references`: a ratio of `event`.
pub fn ratio(event: &EventSource, ratio: &Ratio) -> String {
    let (value, error) = estimate(ratio);
    let figure = match error {
        Some(error) => format!("{value} ± {error}"),
        None => value,
    };
    match ratio.kind {
        RatioKind::PerCycle => format!("{figure} per cycle"),
        RatioKind::PerThousandInstructions => format!("{figure} per 1,000 instructions"),
        RatioKind::MissRate => {
            let by = ratio.kind.divisor(event);
            let by = by.map_or(String::new(), |by| format!(" of {by}"));
            format!("{figure} %{by}")
        }
    }
}

/// The digits of a ratio and of its error, a miss rate in percent: two behind the point, or as many more as show one digit
/// of the error that is not 0, or two of a ratio without error.
pub fn estimate(ratio: &Ratio) -> (String, Option<String>) {
    let factor = match ratio.kind {
        RatioKind::MissRate => 100.0,
        RatioKind::PerCycle | RatioKind::PerThousandInstructions => 1.0,
    };
    let (value, error) = (
        ratio.value * factor,
        ratio.error.map(|error| error * factor),
    );
    let (smallest, least) = error.map_or((value, 9.5), |error| (error, 0.95));
    let shows = |digits: &u8| smallest * 10_f64.powi((*digits).into()) >= least;
    let digits = usize::from((2..=12).find(shows).unwrap_or(2));
    (
        format!("{value:.digits$}"),
        error.map(|error| format!("{error:.digits$}")),
    )
}

/// A name that came from the profiled programs, as it may be shown on a terminal.
pub fn safe(name: &str) -> String {
    const MAX_NAME: usize = 256;
    escape::line(name, MAX_NAME)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HardwareEvent;

    #[test]
    fn digits_stand_in_groups_of_three() {
        let check = |number: i64, expected| assert_eq!(grouped(number), expected);
        check(0, "0");
        check(999, "999");
        check(1000, "1,000");
        check(-1_234_567, "-1,234,567");
        assert_eq!(grouped(u64::MAX), "18,446,744,073,709,551,615");
    }

    #[test]
    fn durations_have_the_unit_that_fits() {
        let check = |nanos, expected| {
            assert_eq!(plain_duration(Duration::from_nanos(nanos)), expected);
        };
        check(850, "850 ns");
        check(12_340_000, "12.3 ms");
        check(2_013_000_000, "2.01 s");
        check(59_996_000_000, "59.9 s");
        check(245_000_000_000, "4 min 05 s");
        check(7_390_000_000_000, "2 h 03 min");
    }

    #[test]
    fn shares_are_not_rounded_to_all_or_nothing() {
        assert_eq!(percent(1, 1), "100.0 %");
        assert_eq!(percent(99_999, 100_000), "> 99.9 %");
        assert_eq!(percent(1, 100_000), "< 0.1 %");
        assert_eq!(percent(0, 100_000), "0.0 %");
        assert_eq!(percent(998, 1000), "99.8 %");
    }

    #[test]
    fn a_ratio_shows_the_digits_that_its_error_leaves() {
        let misses: EventSource = EventSource::Hardware(HardwareEvent::CacheMisses);
        let check = |kind, value, error, expected: &str| {
            assert_eq!(ratio(&misses, &Ratio { kind, value, error }), expected);
        };
        use RatioKind::{MissRate, PerCycle, PerThousandInstructions};
        check(PerCycle, 1.517, None, "1.52 per cycle");
        check(PerCycle, 1.517, Some(0.0421), "1.52 ± 0.04 per cycle");
        check(PerCycle, 1.5, Some(0.0), "1.50 ± 0.00 per cycle");
        check(PerCycle, 1.5, Some(12.0), "1.50 ± 12.00 per cycle");
        let per_thousand = "per 1,000 instructions";
        check(
            PerThousandInstructions,
            0.0021,
            Some(0.000_31),
            &format!("0.0021 ± 0.0003 {per_thousand}"),
        );
        check(
            PerThousandInstructions,
            0.000_013,
            None,
            &format!("0.000013 {per_thousand}"),
        );
        check(
            PerThousandInstructions,
            0.0,
            None,
            &format!("0.00 {per_thousand}"),
        );
        check(
            MissRate,
            0.031,
            Some(0.002),
            "3.10 ± 0.20 % of cache-references",
        );
    }

    #[test]
    fn rates_have_three_digits() {
        assert_eq!(per_second(3.009e9), "3.01 G/s");
        assert_eq!(per_second(61.6), "61.6 /s");
        assert_eq!(per_second(123_400.0), "123 k/s");
        assert_eq!(per_second(0.0), "0 /s");
    }
}
