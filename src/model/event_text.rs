//! Events from text: what `-e` accepts. Printing, in `event.rs`, is its inverse.
//!
//! The grammar is that of `perf record -e`, without groups (`{a,b}`) and wildcards:
//!
//! ```text
//! list       = event { "," event }                    a comma between slashes separates terms
//! event      = plain [":" modes]                      cycles:u
//!            | plain "/" [rate] "/" [modes]           cycles/period=100000/u
//!            | pmu "/" [term {"," term}] "/" [modes]  cpu/event=0xc2,umask=1/u
//! plain      = name | "r" HEX                         cycles, r01c2
//!            | subsystem ":" tracepoint               sched:sched_switch
//!            | "mem:" ADDR ["/" LEN] [":" access]
//! rate       = "period=" number | "freq=" number      one sample every so many counts; so many samples a second
//! term       = rate | name ["=" number]               at most one rate
//! access     = "r" | "w" | "rw" | "x"
//! modes      = "u" | "k" | "uk"
//! ```
//!
//! What samples parses an [`AskedEvent`]; what only counts an [`EventSpec`], which has no rate.

use std::str::FromStr;

use super::{
    Access, AskedEvent, EventSource, EventSpec, Hz, Modes, NamedEvent, Rate, nearest_name,
};

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
    #[error("{what} {text:?} in {event:?} is not {}", values_of(what))]
    Number {
        /// The whole event, as typed.
        event: String,
        /// Which number: `address`, `length`, `raw config`, `term`, `period`, `freq`.
        what: &'static str,
        /// As typed.
        text: String,
    },
    /// Braces, as perf takes them.
    #[error("{group:?} is a group of events, which perfd forms by itself")]
    Group {
        /// As typed.
        group: String,
    },
    /// An event with terms, but without its second slash.
    #[error("event {event:?} has no closing slash")]
    Unclosed {
        /// As typed.
        event: String,
    },
    /// A term that only a PMU's own events could have.
    #[error(
        "unknown term {term:?} in {event:?}: only events of a PMU have others than period and freq"
    )]
    Term {
        /// As typed.
        event: String,
        /// The term's name.
        term: String,
    },
    /// Two rates.
    #[error("event {event:?} has more than one of period and freq")]
    TwoRates {
        /// As typed.
        event: String,
    },
    /// A rate where nothing is sampled.
    #[error("event {event:?} says how often to sample, but here it is not sampled")]
    Rate {
        /// As typed.
        event: String,
    },
}

impl ParseEventError {
    /// The known name that was probably meant.
    pub fn nearest(&self) -> Option<&'static str> {
        match self {
            ParseEventError::Unknown { nearest, .. } => *nearest,
            _ => None,
        }
    }
}

/// What a number in an event may be.
fn values_of(what: &str) -> &'static str {
    match what {
        "period" => "a number from 1 to 9223372036854775807",
        "freq" => "a number of samples per second from 1 to 1000000",
        "length" => "1, 2, 4 or 8 bytes",
        "raw config" => "a hexadecimal number of 64 bits",
        _ => "a number of 64 bits (hexadecimal behind 0x)",
    }
}

/// Events separated by commas, as one `-e` takes them.
pub fn parse_events<E: FromStr<Err = ParseEventError>>(
    text: &str,
) -> Result<Vec<E>, ParseEventError> {
    if text.trim_start().starts_with('{') {
        return Err(ParseEventError::Group {
            group: text.trim().to_owned(),
        });
    }
    split_list(text).into_iter().map(str::parse).collect()
}

/// Cuts at the commas that stand outside slashes; a breakpoint's slash may be the one before its length, and has no comma behind it.
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
        match text.parse()? {
            AskedEvent { spec, rate: None } => Ok(spec),
            AskedEvent { rate: Some(_), .. } => Err(ParseEventError::Rate {
                event: text.trim().to_owned(),
            }),
        }
    }
}

impl FromStr for AskedEvent {
    type Err = ParseEventError;

    fn from_str(text: &str) -> Result<AskedEvent, ParseEventError> {
        let text = text.trim();
        let Some((head, terms, letters)) = split_slashes(text)? else {
            return bare(text, text).map(AskedEvent::from);
        };
        let (rate, terms) = rate_and_terms(text, terms)?;
        let mut spec = if is_word(head) && plain(text, head)?.is_none() {
            let terms = terms.into_iter().map(|other| term(text, other));
            EventSpec::new(EventSource::Pmu {
                pmu: head.to_owned(),
                terms: terms.collect::<Result<_, _>>()?,
            })
        } else {
            let spec = bare(text, head)?;
            if let Some(term) = terms.first() {
                return Err(ParseEventError::Term {
                    event: text.to_owned(),
                    term: (*term).to_owned(),
                });
            }
            spec
        };
        match letters.strip_prefix(':').unwrap_or(letters) {
            "" => (),
            letters if spec.modes == Modes::ALL => spec.modes = modes(text, letters)?,
            letters => return Err(bad_modifier(text, letters)),
        }
        Ok(AskedEvent { spec, rate })
    }
}

/// What stands before, between and behind the slashes of an event's terms; `None` if it has no terms. A breakpoint's
/// first slash may be the one before its length.
fn split_slashes(text: &str) -> Result<Option<(&str, &str, &str)>, ParseEventError> {
    if text.starts_with(BREAKPOINT) {
        let mut parts = text.rsplitn(3, '/');
        let (letters, terms, head) = (parts.next(), parts.next(), parts.next());
        return Ok(head
            .zip(terms.zip(letters))
            .map(|(head, (terms, letters))| (head, terms, letters)));
    }
    let Some((head, rest)) = text.split_once('/') else {
        return Ok(None);
    };
    match rest.split_once('/') {
        Some((terms, letters)) => Ok(Some((head, terms, letters))),
        None => Err(ParseEventError::Unclosed {
            event: text.to_owned(),
        }),
    }
}

/// An event without terms; `event` is the whole text, for messages.
fn bare(event: &str, text: &str) -> Result<EventSpec, ParseEventError> {
    if let Some(rest) = text.strip_prefix(BREAKPOINT) {
        return breakpoint(event, rest);
    }
    let (name, rest) = match text.split_once(':') {
        Some((name, rest)) => (name, Some(rest)),
        None => (text, None),
    };
    if let Some(source) = plain(event, name)? {
        let modes = rest.map_or(Ok(Modes::ALL), |rest| modes(event, rest))?;
        return Ok(EventSpec { source, modes });
    }
    match rest {
        Some(rest) => tracepoint(event, name, rest),
        None => Err(unknown(event)),
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

/// The rate among terms, and the terms that are none.
fn rate_and_terms<'a>(
    event: &str,
    terms: &'a str,
) -> Result<(Option<Rate>, Vec<&'a str>), ParseEventError> {
    let (mut rate, mut others) = (None, Vec::new());
    for text in terms.split(',').filter(|term| !term.is_empty()) {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let in_range = |most| {
            number(value)
                .filter(|number| (1..=most).contains(number))
                .ok_or_else(|| {
                    not_a_number(event, if name == "freq" { "freq" } else { "period" }, value)
                })
        };
        let found = match name {
            "period" => Rate::Period(in_range(Rate::MAX_PERIOD)?),
            "freq" => Rate::Frequency(Hz(in_range(Rate::MAX_FREQUENCY.0)?)),
            _ => {
                others.push(text);
                continue;
            }
        };
        if rate.replace(found).is_some() {
            return Err(ParseEventError::TwoRates {
                event: event.to_owned(),
            });
        }
    }
    Ok((rate, others))
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
mod tests;
