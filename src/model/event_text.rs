//! Events from text: what `-e` accepts. Printing, in `event.rs`, is its inverse.
//!
//! The grammar is that of `perf record -e`, without groups (`{a,b}`) and wildcards:
//!
//! ```text
//! list       = event { "," event }                    a comma between the slashes of a PMU event separates terms
//! event      = name [":" modes]                       cycles:u
//!            | "r" HEX [":" modes]                    r01c2
//!            | pmu "/" [term {"," term}] "/" [modes]  cpu/event=0xc2,umask=1/u
//!            | subsystem ":" tracepoint [":" modes]   sched:sched_switch
//!            | "mem:" ADDR ["/" LEN] [":" access] [":" modes]
//! term       = name ["=" number]
//! access     = "r" | "w" | "rw" | "x"
//! modes      = "u" | "k" | "uk"
//! ```

use std::str::FromStr;

use super::{Access, EventSource, EventSpec, Modes, NamedEvent, nearest_name};

/// Why an event's text was not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseEventError {
    /// No event of that name, and no form that could be one.
    #[error("unknown event {name:?}")]
    Unknown {
        /// As typed.
        name: String,
        /// The nearest known name, if one is near.
        nearest: Option<&'static str>,
    },
    /// A modifier other than `u` and `k`.
    #[error("unknown modifier {modifier:?} in {event:?}: u (user) and k (kernel) are known")]
    Modifier {
        /// The whole event, as typed.
        event: String,
        /// The part behind the colon.
        modifier: String,
    },
    /// A number that is none, or out of range.
    #[error("{what} {text:?} in {event:?} is not a number perfd can use")]
    Number {
        /// The whole event, as typed.
        event: String,
        /// Which number: `address`, `length`, `raw config`, `term`.
        what: &'static str,
        /// As typed.
        text: String,
    },
    /// A PMU event without its second slash.
    #[error("event {event:?} has no closing slash")]
    Unclosed {
        /// As typed.
        event: String,
    },
}

/// Events separated by commas, as one `-e` takes them.
pub fn parse_events(text: &str) -> Result<Vec<EventSpec>, ParseEventError> {
    split_list(text).into_iter().map(str::parse).collect()
}

/// Cuts at the commas that stand outside a PMU event's slashes; a breakpoint's one slash opens nothing.
fn split_list(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let mut start = 0;
    let mut is_inside = false;
    for (at, char) in text.char_indices() {
        match char {
            '/' if !text[start..].starts_with(BREAKPOINT) => is_inside = !is_inside,
            ',' if !is_inside => {
                items.push(&text[start..at]);
                start = at + 1;
            }
            _ => (),
        }
    }
    items.push(&text[start..]);
    items
}

const BREAKPOINT: &str = "mem:";

impl FromStr for EventSpec {
    type Err = ParseEventError;

    fn from_str(text: &str) -> Result<EventSpec, ParseEventError> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix(BREAKPOINT) {
            return breakpoint(text, rest);
        }
        if let Some((pmu, rest)) = text.split_once('/') {
            return pmu_event(text, pmu, rest);
        }
        let (name, rest) = match text.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (text, None),
        };
        if let Some(source) = plain(text, name)? {
            let modes = rest.map_or(Ok(Modes::ALL), |rest| modes(text, rest))?;
            return Ok(EventSpec { source, modes });
        }
        match rest {
            Some(rest) => tracepoint(text, name, rest),
            None => Err(unknown(text)),
        }
    }
}

/// An event that is one word: from the table, or raw.
fn plain(event: &str, name: &str) -> Result<Option<EventSource>, ParseEventError> {
    if let Some(known) = NamedEvent::find(name) {
        return Ok(Some(known.source.clone()));
    }
    let Some(digits) = name.strip_prefix('r') else {
        return Ok(None);
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    match u64::from_str_radix(digits, 16) {
        Ok(config) => Ok(Some(EventSource::Raw(config))),
        Err(_) => Err(not_a_number(event, "raw config", digits)),
    }
}

fn tracepoint(event: &str, subsystem: &str, rest: &str) -> Result<EventSpec, ParseEventError> {
    let (name, modes) = match rest.split_once(':') {
        Some((name, letters)) => (name, modes(event, letters)?),
        // A word that is not in the table with `:u` behind it is a mistyped event, not the tracepoint `u`.
        None if modes(event, rest).is_ok() => return Err(unknown(subsystem)),
        None => (rest, Modes::ALL),
    };
    if !is_word(subsystem) || !is_word(name) {
        return Err(unknown(event));
    }
    Ok(EventSpec {
        source: EventSource::Tracepoint {
            subsystem: subsystem.to_owned(),
            name: name.to_owned(),
        },
        modes,
    })
}

fn pmu_event(event: &str, pmu: &str, rest: &str) -> Result<EventSpec, ParseEventError> {
    let Some((terms, letters)) = rest.split_once('/') else {
        return Err(ParseEventError::Unclosed {
            event: event.to_owned(),
        });
    };
    if !is_word(pmu) {
        return Err(unknown(event));
    }
    let modes = match letters.strip_prefix(':').unwrap_or(letters) {
        "" => Modes::ALL,
        letters => modes(event, letters)?,
    };
    let terms = terms
        .split(',')
        .filter(|term| !term.is_empty())
        .map(|text| term(event, text))
        .collect::<Result<_, _>>()?;
    Ok(EventSpec {
        source: EventSource::Pmu {
            pmu: pmu.to_owned(),
            terms,
        },
        modes,
    })
}

fn term(event: &str, text: &str) -> Result<(String, Option<u64>), ParseEventError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => {
            let number = number(value).ok_or_else(|| not_a_number(event, "term", text))?;
            (name, Some(number))
        }
        None => (text, None),
    };
    if !is_word(name) {
        return Err(unknown(event));
    }
    Ok((name.to_owned(), value))
}

fn breakpoint(event: &str, rest: &str) -> Result<EventSpec, ParseEventError> {
    let mut parts = rest.split(':');
    let place = parts.next().unwrap_or_default();
    let (address, length) = match place.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (place, None),
    };
    let address = number(address).ok_or_else(|| not_a_number(event, "address", address))?;
    let (access, letters) = match (parts.next(), parts.next()) {
        (None, _) => (Access::ReadWrite, None),
        (Some(first), None) => match access(first) {
            Some(access) => (access, None),
            None => (Access::ReadWrite, Some(first)),
        },
        (Some(first), Some(letters)) => match access(first) {
            Some(access) => (access, Some(letters)),
            None => return Err(bad_modifier(event, first)),
        },
    };
    if let Some(more) = parts.next() {
        return Err(bad_modifier(event, more));
    }
    let length = match length {
        Some(text) => number(text)
            .filter(|length| matches!(length, 1 | 2 | 4 | 8))
            .ok_or_else(|| not_a_number(event, "length", text))?,
        None => access.usual_length(),
    };
    Ok(EventSpec {
        source: EventSource::Breakpoint {
            address,
            access,
            length,
        },
        modes: letters.map_or(Ok(Modes::ALL), |letters| modes(event, letters))?,
    })
}

fn access(letters: &str) -> Option<Access> {
    match letters {
        "r" => Some(Access::Read),
        "w" => Some(Access::Write),
        "rw" | "wr" => Some(Access::ReadWrite),
        "x" => Some(Access::Execute),
        _ => None,
    }
}

fn modes(event: &str, letters: &str) -> Result<Modes, ParseEventError> {
    match letters {
        "u" => Ok(Modes::USER),
        "k" => Ok(Modes::KERNEL),
        "uk" | "ku" => Ok(Modes::ALL),
        _ => Err(bad_modifier(event, letters)),
    }
}

/// A decimal number, or a hexadecimal one behind `0x`.
fn number(text: &str) -> Option<u64> {
    // `from_str_radix` would take a sign.
    if text.starts_with('+') {
        return None;
    }
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.starts_with('+') => None,
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn is_word(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    // A name becomes a path below sysfs or tracefs: `..` must not be one.
    !text.is_empty() && !text.starts_with('.') && text.bytes().all(is_part)
}

fn unknown(name: &str) -> ParseEventError {
    ParseEventError::Unknown {
        name: name.to_owned(),
        nearest: nearest_name(name),
    }
}

fn bad_modifier(event: &str, modifier: &str) -> ParseEventError {
    ParseEventError::Modifier {
        event: event.to_owned(),
        modifier: modifier.to_owned(),
    }
}

fn not_a_number(event: &str, what: &'static str, text: &str) -> ParseEventError {
    ParseEventError::Number {
        event: event.to_owned(),
        what,
        text: text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CacheEvent, CacheOp, CacheResult, HardwareEvent, NAMES, SoftwareEvent};

    fn source(text: &str) -> EventSource {
        text.parse::<EventSpec>().expect(text).source
    }

    #[test]
    fn every_form_of_perf_is_understood() {
        assert_eq!(
            source("cpu-cycles"),
            EventSource::Hardware(HardwareEvent::Cycles)
        );
        assert_eq!(
            source("cs"),
            EventSource::Software(SoftwareEvent::ContextSwitches)
        );
        assert_eq!(
            source("llc-load-misses"),
            EventSource::Cache(CacheEvent::LastLevel, CacheOp::Load, CacheResult::Miss)
        );
        assert_eq!(source("r01c2"), EventSource::Raw(0x1c2));
        assert_eq!(
            source("cpu/event=0xc2,umask=1,edge/"),
            EventSource::Pmu {
                pmu: "cpu".to_owned(),
                terms: vec![
                    ("event".to_owned(), Some(0xc2)),
                    ("umask".to_owned(), Some(1)),
                    ("edge".to_owned(), None)
                ],
            }
        );
        assert_eq!(
            source("mem:0x401000"),
            EventSource::Breakpoint {
                address: 0x40_1000,
                access: Access::ReadWrite,
                length: 4
            }
        );
        assert_eq!(
            source("mem:0x401000:x"),
            EventSource::Breakpoint {
                address: 0x40_1000,
                access: Access::Execute,
                length: 8
            }
        );
    }

    #[test]
    fn modes_stand_behind_a_colon_or_behind_the_closing_slash() {
        for (text, modes) in [
            ("cycles", Modes::ALL),
            ("cycles:u", Modes::USER),
            ("cycles:k", Modes::KERNEL),
            ("cycles:uk", Modes::ALL),
            ("cpu/event=1/u", Modes::USER),
            ("cpu/event=1/:k", Modes::KERNEL),
            ("sched:sched_switch:k", Modes::KERNEL),
            ("mem:0x1000:u", Modes::USER),
            ("mem:0x1000/2:w:k", Modes::KERNEL),
            ("r1:u", Modes::USER),
        ] {
            assert_eq!(
                text.parse::<EventSpec>().expect(text).modes,
                modes,
                "{text}"
            );
        }
    }

    #[test]
    fn a_list_is_cut_at_commas_outside_slashes() {
        let specs = parse_events(
            "cycles,cpu/event=0xc2,umask=1/u,mem:0x401000/8:x:u,sched:sched_switch,L1-dcache-loads",
        )
        .expect("a list of five");
        let texts: Vec<_> = specs.iter().map(EventSpec::to_string).collect();
        assert_eq!(
            texts,
            [
                "cycles",
                "cpu/event=0xc2,umask=0x1/u",
                "mem:0x401000:x:u",
                "sched:sched_switch",
                "L1-dcache-loads"
            ]
        );
    }

    #[test]
    fn what_is_printed_parses_to_the_same_event() {
        let named = NAMES.iter().map(|event| event.name.to_owned());
        let others = [
            "r0",
            "rffffffffffffffff",
            "msr/tsc/",
            "cpu//",
            "cpu/a,b=0x7,config1=0x10/k",
            "sched:sched_switch",
            "mem:0x7fffffffffff/1:w",
            "mem:0x10/4:rw:u",
            "mem:0x10/2:r",
        ]
        .map(str::to_owned);
        for text in named.chain(others) {
            for text in [text.clone(), format!("{text}:u")] {
                let Ok(spec) = text.parse::<EventSpec>() else {
                    assert!(text.ends_with(":u:u") || text.ends_with("/k:u"), "{text}");
                    continue;
                };
                assert_eq!(spec.to_string().parse(), Ok(spec), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_event_is_refused_with_the_reason() {
        let error = |text: &str| parse_events(text).expect_err(text);
        assert_eq!(
            error("cylces"),
            ParseEventError::Unknown {
                name: "cylces".to_owned(),
                nearest: Some("cycles")
            }
        );
        assert_eq!(
            error("cylces:u"),
            ParseEventError::Unknown {
                name: "cylces".to_owned(),
                nearest: Some("cycles")
            }
        );
        for text in ["", "cycles,", "a b", "sched:*", "../x/y/", "{cycles}", "r"] {
            assert!(
                matches!(error(text), ParseEventError::Unknown { .. }),
                "{text}"
            );
        }
        for text in ["cycles:pp", "cycles:", "mem:0x1:q", "mem:0x1:q:u", "a:b:z"] {
            assert!(
                matches!(error(text), ParseEventError::Modifier { .. }),
                "{text}"
            );
        }
        for text in [
            "mem:zz",
            "mem:0x",
            "mem:",
            "mem:0x1/3",
            "mem:+1",
            "cpu/event=/",
            "cpu/event=x/",
            "r11112222333344445",
        ] {
            assert!(
                matches!(error(text), ParseEventError::Number { .. }),
                "{text}"
            );
        }
        assert!(matches!(
            error("cpu/event=1"),
            ParseEventError::Unclosed { .. }
        ));
    }
}
