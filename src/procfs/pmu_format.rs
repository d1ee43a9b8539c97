//! The little language in which a PMU describes its events in sysfs.
//!
//! `format/<term>` says which bits of which field of `perf_event_attr` a term fills:
//!
//! ```text
//! config:0-7,32-35      config1:0-63      config:18
//! ```
//!
//! The lowest bit of the value goes to the first bit named, and so on. `events/<name>` is a list of terms,
//! `event=0x3c,umask=0x01`; a value of `?` is for the user to give.

/// A field of `perf_event_attr` that terms fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Config,
    Config1,
    Config2,
}

/// Where a term's value goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) field: Field,
    /// Bit numbers below 64, first and last of each run.
    runs: Vec<(u32, u32)>,
}

impl Format {
    /// The whole of a field: what the terms `config`, `config1` and `config2` mean for every PMU.
    pub(super) fn whole(field: Field) -> Format {
        Format {
            field,
            runs: vec![(0, 63)],
        }
    }

    /// Reads a `format` file; `None` if it is not understood (`config3`, say).
    pub(super) fn parse(text: &str) -> Option<Format> {
        let (field, bits) = text.trim().split_once(':')?;
        let field = match field {
            "config" => Field::Config,
            "config1" => Field::Config1,
            "config2" => Field::Config2,
            _ => return None,
        };
        let runs = bits
            .split(',')
            .map(|run| {
                let (first, last) = run.split_once('-').unwrap_or((run, run));
                let (first, last) = (first.parse().ok()?, last.parse().ok()?);
                (first <= last && last < u64::BITS).then_some((first, last))
            })
            .collect::<Option<_>>()?;
        Some(Format { field, runs })
    }

    /// Number of bits that a value may have.
    pub(super) fn width(&self) -> u32 {
        self.runs.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// The value spread over its bits; `None` if it has more bits than that.
    pub(super) fn spread(&self, mut value: u64) -> Option<u64> {
        let mut spread = 0;
        for &(first, last) in &self.runs {
            let width = last - first + 1;
            let mask = u64::MAX >> (u64::BITS - width);
            spread |= (value & mask) << first;
            value = value.checked_shr(width).unwrap_or(0);
        }
        (value == 0).then_some(spread)
    }

    /// The bits that the term owns.
    pub(super) fn mask(&self) -> u64 {
        self.runs.iter().fold(0, |mask, &(first, last)| {
            mask | (u64::MAX >> (u64::BITS - (last - first + 1))) << first
        })
    }
}

/// Reads an `events` file into terms; a term without a value is 1, `?` is `None`. `None` if it is not understood.
pub(super) fn parse_event(text: &str) -> Option<Vec<(String, Option<u64>)>> {
    text.trim()
        .split(',')
        .filter(|term| !term.is_empty())
        .map(|term| {
            let Some((name, value)) = term.split_once('=') else {
                return Some((term.to_owned(), Some(1)));
            };
            let value = match value.strip_prefix("0x") {
                _ if value == "?" => None,
                Some(digits) => Some(u64::from_str_radix(digits, 16).ok()?),
                None => Some(value.parse().ok()?),
            };
            Some((name.to_owned(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_spread_over_the_bits_that_the_format_names() {
        let format = Format::parse("config:0-7,32-35\n").expect("as Intel's and AMD's event");
        assert_eq!(format.width(), 12);
        assert_eq!(format.spread(0xc2), Some(0xc2));
        assert_eq!(format.spread(0x1c2), Some(0x1_0000_00c2));
        assert_eq!(format.spread(0x1000), None);
        assert_eq!(format.mask(), 0xf_0000_00ff);
        let whole = Format::parse("config1:0-63").expect("a whole field");
        assert_eq!(whole.field, Field::Config1);
        assert_eq!(whole.spread(u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn a_format_that_makes_no_sense_is_not_understood() {
        for text in [
            "",
            "config",
            "config:",
            "config:7-0",
            "config:64",
            "config3:0-7",
            "config:a",
        ] {
            assert_eq!(Format::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_event_is_a_list_of_terms() {
        assert_eq!(
            parse_event("event=0xc2,umask=1,edge,ldlat=?\n"),
            Some(vec![
                ("event".to_owned(), Some(0xc2)),
                ("umask".to_owned(), Some(1)),
                ("edge".to_owned(), Some(1)),
                ("ldlat".to_owned(), None),
            ])
        );
        assert_eq!(parse_event("event=zz"), None);
    }
}
