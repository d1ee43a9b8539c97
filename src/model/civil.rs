//! Dates of the Gregorian calendar, in UTC or with whatever offset they are taken with; no leap seconds, as Unix time has none.

use std::fmt;

const SECONDS_A_DAY: i64 = 86_400;
/// Days of 400 years, after which the calendar repeats.
const DAYS_OF_ERA: i64 = 146_097;
/// Days from the first of March of the year 0 to the first of January 1970.
const DAYS_TO_EPOCH: i64 = 719_468;

/// A date and a time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Civil {
    /// From 0 to 9999.
    pub year: u32,
    /// From 1.
    pub month: u32,
    /// From 1.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
}

impl Civil {
    /// The date in UTC of a moment in seconds since the Unix epoch; `None` outside of the years 0 to 9999.
    pub fn of_unix(seconds: i64) -> Option<Civil> {
        let days = seconds
            .div_euclid(SECONDS_A_DAY)
            .checked_add(DAYS_TO_EPOCH)?;
        let (era, day_of_era) = (days.div_euclid(DAYS_OF_ERA), days.rem_euclid(DAYS_OF_ERA));
        // Years begin in March here, so that the leap day is the last: one day less than 365 a year for each that it adds.
        let leap_days = day_of_era / 1460 - day_of_era / 36_524 + day_of_era / 146_096;
        let year_of_era = (day_of_era - leap_days) / 365;
        let day_of_year = day_of_era - days_before_year(year_of_era);
        // From March on, months have 153 days every five.
        let months_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * months_from_march + 2) / 5 + 1;
        let month = (months_from_march + 2) % 12 + 1;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let second_of_day = seconds.rem_euclid(SECONDS_A_DAY);
        let small = |number: i64| u32::try_from(number).ok();
        Some(Civil {
            year: small(year).filter(|year| *year <= 9999)?,
            month: small(month)?,
            day: small(day)?,
            hour: small(second_of_day / 3600)?,
            minute: small(second_of_day / 60 % 60)?,
            second: small(second_of_day % 60)?,
        })
    }

    /// Seconds since the Unix epoch, if the date is one in UTC; `None` if there is no such date.
    pub fn to_unix(self) -> Option<i64> {
        let from_march = i64::from(self.month) + if self.month <= 2 { 9 } else { -3 };
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = (153 * from_march + 2) / 5 + i64::from(self.day) - 1;
        let days = era * DAYS_OF_ERA + days_before_year(year_of_era) + day_of_year - DAYS_TO_EPOCH;
        let second_of_day =
            i64::from(self.hour) * 3600 + i64::from(self.minute) * 60 + i64::from(self.second);
        let seconds = days * SECONDS_A_DAY + second_of_day;
        // A day or an hour that there is not became another one.
        (Civil::of_unix(seconds) == Some(self)).then_some(seconds)
    }
}

/// Days of an era before one of its years.
fn days_before_year(year_of_era: i64) -> i64 {
    365 * year_of_era + year_of_era / 4 - year_of_era / 100
}

/// `2026-11-27 10:05:00`.
impl fmt::Display for Civil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        write!(
            f,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_have_their_dates() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (951_868_800, "2000-03-01 00:00:00"),
            (4_107_542_399, "2100-02-28 23:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
            (1_795_752_130, "2026-11-27 04:02:10"),
            (253_402_300_799, "9999-12-31 23:59:59"),
            (-62_167_219_200, "0000-01-01 00:00:00"),
        ] {
            let civil = Civil::of_unix(seconds).expect("a date");
            assert_eq!(civil.to_string(), text);
            assert_eq!(civil.to_unix(), Some(seconds), "{text}");
        }
        for seconds in [253_402_300_800, -62_167_219_201, i64::MAX, i64::MIN] {
            assert_eq!(Civil::of_unix(seconds), None);
        }
    }

    #[test]
    fn every_day_is_the_one_after_the_day_before() {
        let mut before = Civil::of_unix(-SECONDS_A_DAY).expect("a date");
        for day in 0..200_000 {
            let civil = Civil::of_unix(day * SECONDS_A_DAY).expect("a date");
            assert!(civil > before);
            assert_eq!(civil.to_unix(), Some(day * SECONDS_A_DAY));
            before = civil;
        }
    }

    #[test]
    fn dates_that_there_are_not_are_none() {
        let date = |year, month, day| Civil {
            year,
            month,
            day,
            hour: 0,
            minute: 0,
            second: 0,
        };
        for (year, month, day) in [
            (2026, 2, 29),
            (2100, 2, 29),
            (2026, 0, 1),
            (2026, 13, 1),
            (2026, 4, 31),
            (2026, 1, 0),
            (10_000, 1, 1),
        ] {
            assert_eq!(date(year, month, day).to_unix(), None);
        }
        assert!(date(2024, 2, 29).to_unix().is_some());
        let hour = Civil {
            hour: 24,
            ..date(2026, 1, 1)
        };
        assert_eq!(hour.to_unix(), None);
    }
}
