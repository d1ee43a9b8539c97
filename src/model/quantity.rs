//! Times and sizes as people write them, on the command line and in configuration.
//!
//! ```text
//! duration = NUMBER ["." NUMBER] ["us" | "ms" | "s" | "m" | "h" | "d"]      100ms   2.5s   7d
//! size     = NUMBER ["B" | "KiB" | "MiB" | "GiB" | "TiB"]                   4096    64MiB
//! ```

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// Neither a number nor a number with a unit.
    #[error("not a time; write it like 100ms, 10s, 5m, 12h or 7d")]
    NoDuration,
    /// Nothing.
    #[error("a time of zero")]
    Zero,
}

/// Why a text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size; write it like 4096, 512KiB, 64MiB or 1GiB")]
pub struct NoSize;

/// A duration above zero; a number alone is in `default_unit` (seconds), if there is one.
pub fn duration(text: &str, default_unit: Option<f64>) -> Result<Duration, DurationError> {
    let digits_end = text.find(|char: char| !char.is_ascii_digit() && char != '.');
    let (number, unit) = text.split_at(digits_end.unwrap_or(text.len()));
    let unit = match unit {
        "" => default_unit.ok_or(DurationError::NoDuration)?,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(DurationError::NoDuration),
    };
    let number: f64 = number.parse().map_err(|_| DurationError::NoDuration)?;
    let duration =
        Duration::try_from_secs_f64(number * unit).map_err(|_| DurationError::NoDuration)?;
    match duration.is_zero() {
        true => Err(DurationError::Zero),
        false => Ok(duration),
    }
}

/// A number of bytes.
pub fn size(text: &str) -> Result<u64, NoSize> {
    let digits_end = text.find(|char: char| !char.is_ascii_digit());
    let (number, unit) = text.split_at(digits_end.unwrap_or(text.len()));
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(NoSize),
    };
    let number: u64 = number.parse().map_err(|_| NoSize)?;
    number.checked_mul(1 << shift).ok_or(NoSize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_whole_number_of_a_binary_unit() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("0B"), Ok(0));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("2TiB"), Ok(2 << 40));
        for text in [
            "",
            "MiB",
            "1.5MiB",
            "1MB",
            "1 MiB",
            "-1",
            "+1",
            "99999999TiB",
        ] {
            assert_eq!(size(text), Err(NoSize), "{text}");
        }
    }

    #[test]
    fn a_duration_may_be_days_long() {
        assert_eq!(duration("7d", None), Ok(Duration::from_secs(604_800)));
        assert_eq!(duration("12h", None), Ok(Duration::from_secs(43_200)));
        assert_eq!(duration("7", None), Err(DurationError::NoDuration));
        assert_eq!(duration("0s", None), Err(DurationError::Zero));
    }
}
