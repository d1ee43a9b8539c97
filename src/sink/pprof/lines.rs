//! Facts as lines: a topic and `key=value`, for a person to read and for perfd to read back.
//!
//! ```text
//! ledger.event name="cycles" emitted=4981 delivered=4979 lost.ring_full=2
//! ```
//!
//! A value is a number, `true`, `false` or a text in quotes, as JSON writes them. A struct within a struct becomes keys with
//! dots; what is not known or empty is left out. So a line is the same for every type that serde can take apart, and the
//! names are those of the JSON outputs.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Keys that say what a line is about: they stand first. All others are in the order of the alphabet.
const FIRST: [&str; 10] = [
    "version", "name", "pid", "file", "comm", "event", "reason", "module", "sequence", "text",
];
/// Structs within structs that a key may name.
const MAX_DEPTH: usize = 4;

/// One line. Lists are left out: each of their rows is a line of its own.
pub(super) fn line(topic: &str, facts: &impl Serialize) -> String {
    let mut out = String::from(topic);
    // Structs of numbers and texts can always be written.
    if let Ok(Value::Object(facts)) = serde_json::to_value(facts) {
        push_facts("", &facts, &mut out);
    }
    out
}

fn push_facts(prefix: &str, facts: &Map<String, Value>, out: &mut String) {
    let rank = |key: &String| FIRST.iter().position(|first| first == key);
    let mut ordered: Vec<(&String, &Value)> = facts.iter().collect();
    ordered.sort_by_key(|(key, _)| rank(key).unwrap_or(FIRST.len()));
    for (key, value) in ordered {
        match value {
            Value::Null | Value::Array(_) => (),
            Value::Object(inner) => push_facts(&format!("{prefix}{key}."), inner, out),
            plain => {
                out.push_str(&format!(" {prefix}{key}="));
                push_plain(plain, out);
            }
        }
    }
}

/// What JSON leaves as it is may still end a line or steer a terminal: C1 controls, line separators, marks of direction.
fn push_plain(value: &Value, out: &mut String) {
    for character in value.to_string().chars() {
        match character {
            '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}' => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => out.push(other),
        }
    }
}

/// The topic of a line and its facts; `None` if it is none of these lines.
pub(super) fn parse(line: &str) -> Option<(&str, Map<String, Value>)> {
    let (topic, mut rest) = line.split_once(' ').unwrap_or((line, ""));
    let mut facts = Map::new();
    while !rest.is_empty() {
        let (key, behind) = rest.split_once('=')?;
        let mut values = serde_json::Deserializer::from_str(behind).into_iter::<Value>();
        let value = values.next()?.ok()?;
        let end = values.byte_offset();
        if matches!(value, Value::Array(_) | Value::Object(_) | Value::Null) {
            return None;
        }
        insert(&mut facts, key, value)?;
        rest = behind.get(end..)?;
        if !rest.is_empty() {
            rest = rest.strip_prefix(' ').filter(|rest| !rest.is_empty())?;
        }
    }
    Some((topic, facts))
}

fn insert(facts: &mut Map<String, Value>, key: &str, value: Value) -> Option<()> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    if !key.bytes().all(is_plain) {
        return None;
    }
    let mut parts: Vec<&str> = key.split('.').take(MAX_DEPTH + 1).collect();
    let last = parts.pop().filter(|_| parts.len() < MAX_DEPTH)?;
    let mut at = facts;
    for part in parts {
        let inner = at.entry(part).or_insert_with(|| Value::Object(Map::new()));
        at = inner.as_object_mut()?;
    }
    at.insert(last.to_owned(), value).is_none().then_some(())
}

/// Facts as the struct that they were.
pub(super) fn read<T: DeserializeOwned>(facts: Map<String, Value>) -> Option<T> {
    serde_json::from_value(Value::Object(facts)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventLedger, KernelWalkLedger, LossReason};

    fn ledger() -> EventLedger {
        EventLedger {
            expected: None,
            emitted: Some(10),
            delivered: 7,
            lost: [(LossReason::RingFull, 4), (LossReason::NotRaised, -1)].into(),
            kernel_walk: Some(KernelWalkLedger {
                walked: u64::MAX,
                ..KernelWalkLedger::default()
            }),
            ..EventLedger::default()
        }
    }

    #[test]
    fn a_struct_is_a_line_and_the_line_the_struct() {
        let line = line("ledger.event", &ledger());
        assert!(line.starts_with("ledger.event "), "{line}");
        assert!(line.contains(" lost.not_raised=-1"), "{line}");
        assert!(
            line.contains(" kernel_walk.walked=18446744073709551615"),
            "{line}"
        );
        let (topic, facts) = parse(&line).unwrap();
        assert_eq!((topic, read(facts)), ("ledger.event", Some(ledger())));
    }

    #[test]
    fn any_text_comes_back_from_one_line_that_steers_no_terminal() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Named {
            text: String,
        }
        for text in [
            "",
            "a\nb",
            "\u{1b}[2J",
            "x=\"y\" z=1",
            "\u{9b}2J\u{2028}\u{202e}é",
            "\\u0041",
        ] {
            let named = Named {
                text: text.to_owned(),
            };
            let line = line("note", &named);
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert_eq!(parse(&line).and_then(|(_, facts)| read(facts)), Some(named));
        }
    }

    #[test]
    fn other_lines_are_none() {
        for text in [
            "written by hand",
            "a b=",
            "a b=1 ",
            "a b=1  c=2",
            "a b=1c=2",
            "a b=[1]",
            "a b={}",
            "a b=null",
            "a b=1 b=2",
            "a b=1 b.c=2",
            "a b.c.d.e.f=1",
            "a b=\"open",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("a"), Some(("a", Map::new())));
    }
}
