//! File names: one for each event where a format shows one event, and free ones for what could not be written where
//! it should have been.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The events' parts of file names: letters, digits, `.`, `-` and `_` as they are, runs of all else as one `-`;
/// distinct where the events are.
pub(super) fn event_parts(events: &[String]) -> Vec<String> {
    let mut parts: Vec<String> = Vec::with_capacity(events.len());
    for event in events {
        let plain = plain(event);
        let mut part = plain.clone();
        let mut n = 2;
        while parts.contains(&part) {
            part = format!("{plain}-{n}");
            n += 1;
        }
        parts.push(part);
    }
    parts
}

fn plain(event: &str) -> String {
    let mut part = String::new();
    for character in event.chars().take(100) {
        if character.is_ascii_alphanumeric() || matches!(character, '.' | '_') {
            part.push(character);
        } else if !part.ends_with('-') {
            part.push('-');
        }
    }
    let trimmed = part.trim_matches(|character| matches!(character, '-' | '.'));
    match trimmed {
        "" => String::from("event"),
        trimmed => trimmed.to_owned(),
    }
}

/// `out.folded` and `cycles` make `out.cycles.folded`.
pub(super) fn with_event(path: &Path, event: &str) -> PathBuf {
    let Some(stem) = path.file_stem() else {
        return path.to_owned();
    };
    let mut name = OsString::from(stem);
    name.push(".");
    name.push(event);
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_stands_before_the_ending() {
        let check = |path: &str, expected: &str| {
            assert_eq!(with_event(Path::new(path), "cycles"), Path::new(expected));
        };
        check("out.folded", "out.cycles.folded");
        check("/a.b/out", "/a.b/out.cycles");
        check("./a.b.svg", "./a.b.cycles.svg");
    }

    #[test]
    fn event_names_become_safe_and_stay_distinct() {
        let events = [
            "cycles:u",
            "cpu/event=0xc2,umask=1/",
            "sched:sched_switch",
            "cycles/u",
            "../..",
        ]
        .map(String::from);
        assert_eq!(
            event_parts(&events),
            [
                "cycles-u",
                "cpu-event-0xc2-umask-1",
                "sched-sched_switch",
                "cycles-u-2",
                "event"
            ]
        );
    }
}
