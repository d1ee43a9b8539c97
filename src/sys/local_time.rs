//! The wall clock that people read: local dates and Unix time.

use nix::time::ClockId;

use super::clock;
use crate::model::Civil;

/// The current Unix time in nanoseconds.
pub fn unix_ns_now() -> u64 {
    clock::read(ClockId::CLOCK_REALTIME)
}

/// The local date of a moment in seconds since the Unix epoch.
pub fn local_date(unix: i64) -> Option<Civil> {
    // SAFETY: all fields of the struct are integers and a pointer, for which zeros are values.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to locals that live during the call; localtime_r keeps neither.
    let filled = unsafe { libc::localtime_r(&raw const unix, &raw mut tm) };
    if filled.is_null() {
        return None;
    }
    let small = |number: i32| u32::try_from(number).ok();
    Some(Civil {
        year: small(tm.tm_year.checked_add(1900)?)?,
        month: small(tm.tm_mon + 1)?,
        day: small(tm.tm_mday)?,
        hour: small(tm.tm_hour)?,
        minute: small(tm.tm_min)?,
        second: small(tm.tm_sec)?,
    })
}

/// The moment of a local date, in seconds since the Unix epoch. Of an hour that comes twice when summer time ends it is one
/// of the two; an hour that there is not when it begins becomes one beside it. `None` if there is no such day or hour.
pub fn unix_of_local(date: Civil) -> Option<i64> {
    date.to_unix()?;
    let int = |number: u32| i32::try_from(number).ok();
    // SAFETY: as above.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    tm.tm_year = int(date.year)? - 1900;
    tm.tm_mon = int(date.month)? - 1;
    tm.tm_mday = int(date.day)?;
    tm.tm_hour = int(date.hour)?;
    tm.tm_min = int(date.minute)?;
    tm.tm_sec = int(date.second)?;
    // Whether it is summer is for the time zone to say.
    tm.tm_isdst = -1;
    // SAFETY: the pointer is to a local that lives during the call and that mktime may change.
    let unix = unsafe { libc::mktime(&raw mut tm) };
    // −1 is an error and one second before the epoch, when there was no perfd.
    (unix != -1).then_some(unix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_dates_of_moments_are_those_moments() {
        // Winter, summer, and long ago.
        for unix in [1_795_752_130, 1_781_000_000, 86_400 * 400] {
            let date = local_date(unix).unwrap();
            assert_eq!(unix_of_local(date), Some(unix), "{date}");
        }
        let no_day = Civil {
            month: 2,
            day: 30,
            ..local_date(0).unwrap()
        };
        assert_eq!(unix_of_local(no_day), None);
    }
}
