//! Names of folders and files: what they say, and that they are safe whatever a target is called.

use crate::model::Civil;

/// Characters of a folder's name that come from the target's.
const MAX_PLAIN: usize = 64;
/// The end of a file's name.
const ENDING: &str = ".pb.gz";

/// The folder of a target. Letters, digits, `-`, `_` and single dots stay as they are; if anything else is in the name, it becomes
/// `-` and a check sum of the whole name tells it from its likes: `a/b` is `a-b~4b1d…`.
pub(super) fn folder(target: &str) -> String {
    let plain = |character: char| match character {
        '-' | '_' | '.' => character,
        other if other.is_ascii_alphanumeric() => other,
        _ => '-',
    };
    let mut name: String = target.chars().take(MAX_PLAIN).map(plain).collect();
    if name.starts_with('.') {
        // Neither hidden nor a way up.
        name.replace_range(..1, "-");
    }
    if name != target || name.is_empty() {
        name.push_str(&format!("~{:08x}", crc32fast::hash(target.as_bytes())));
    }
    name
}

/// What a file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FileName {
    /// When its first window began, in milliseconds since the Unix epoch.
    pub(super) start_ms: u64,
    /// Tells files of the same millisecond apart; counts on within a folder.
    pub(super) sequence: u64,
}

impl FileName {
    /// `20261127T040210.702Z-000012.pb.gz`. Sorted by text they are in order of time.
    pub(super) fn text(self) -> String {
        let seconds = i64::try_from(self.start_ms / 1000).unwrap_or(i64::MAX);
        // A clock far beyond all calendars.
        let last = Civil {
            year: 9999,
            month: 12,
            day: 31,
            hour: 23,
            minute: 59,
            second: 59,
        };
        let civil = Civil::of_unix(seconds).unwrap_or(last);
        let Civil {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = civil;
        format!(
            "{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}.{:03}Z-{:06}{ENDING}",
            self.start_ms % 1000,
            self.sequence
        )
    }

    /// Reads a name; `None` if it is not one that [`FileName::text`] makes.
    pub(super) fn parse(name: &str) -> Option<FileName> {
        let (time, sequence) = name.strip_suffix(ENDING)?.split_once('-')?;
        let digits = |from: usize, n: usize| -> Option<u32> {
            let text = time.get(from..from + n)?;
            let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
            is_plain.then(|| text.parse().ok()).flatten()
        };
        let civil = Civil {
            year: digits(0, 4)?,
            month: digits(4, 2)?,
            day: digits(6, 2)?,
            hour: digits(9, 2)?,
            minute: digits(11, 2)?,
            second: digits(13, 2)?,
        };
        let seconds = u64::try_from(civil.to_unix()?).ok()?;
        let parsed = FileName {
            start_ms: seconds * 1000 + u64::from(digits(16, 3)?),
            sequence: sequence.parse().ok()?,
        };
        // Nothing but the one way to write it.
        (parsed.text() == name).then_some(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_safe_and_tell_targets_apart() {
        let names = [
            "postgresql.service",
            "a/b",
            "a-b",
            "..",
            ".",
            "",
            ".hidden",
            "../../etc",
            "a\0b",
            "é",
            "ü",
            &"x".repeat(1000),
            &"x".repeat(1001),
        ];
        let folders: Vec<String> = names.iter().map(|name| folder(name)).collect();
        assert_eq!(folders[0], "postgresql.service");
        assert_eq!(folders[2], "a-b");
        for (idx, name) in folders.iter().enumerate() {
            assert!(!name.starts_with('.') && !name.is_empty() && name.len() < 80);
            assert!(!name.contains(['/', '\0']) && name.is_ascii(), "{name}");
            assert!(!folders[..idx].contains(name), "{name}");
        }
    }

    #[test]
    fn names_of_files_say_when_and_are_in_order_of_time() {
        let name = FileName {
            start_ms: 1_795_752_130_702,
            sequence: 12,
        };
        assert_eq!(name.text(), "20261127T040210.702Z-000012.pb.gz");
        let mut before = String::new();
        for (start_ms, sequence) in [
            (0, 0),
            (999, 0),
            (1000, 0),
            (1000, 1),
            (1000, 999_999),
            (1_795_752_130_702, 3),
            (4_000_000_000_000, 0),
        ] {
            let name = FileName { start_ms, sequence };
            assert_eq!(FileName::parse(&name.text()), Some(name));
            assert!(before < name.text());
            before = name.text();
        }
        assert!(
            FileName::parse(
                &FileName {
                    start_ms: u64::MAX,
                    sequence: u64::MAX
                }
                .text()
            )
            .is_some()
        );
    }

    #[test]
    fn other_names_are_none_of_ours() {
        for name in [
            "",
            "x.pb.gz",
            "20261127T040210.702Z-000012.pb",
            "20261127T040210.702Z-12.pb.gz",
            "20261327T040210.702Z-000012.pb.gz",
            "20261127T040210.702Z-000012.pb.gz~",
            "+0261127T040210.702Z-000012.pb.gz",
            "20261127x040210.702Z-000012.pb.gz",
            ".20261127T040210.702Z-000012.pb.gz",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }
}
