//! Windows that are made up, and what is in a folder of files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use perfd::model::*;
use perfd::sink::pprof::{self, Decoded, Labels, Limits};

pub const SECOND: u64 = 1_000_000_000;
/// 2026-11-27 10:00:00 UTC.
pub const START: u64 = 1_795_773_600 * SECOND;

pub fn labels(target: &str) -> Labels {
    Labels {
        target: Some(target.to_owned()),
        ..Labels::default()
    }
}

/// When the nth window ends.
pub fn end_of(nth: u64) -> u64 {
    START + (nth + 1) * 10 * SECOND
}

/// The nth window of ten seconds, with so many samples of `cycles` in a function of its own.
pub fn window(nth: u64, n_samples: u64) -> Profile {
    let frame = |text: String| FrameName {
        text: text.into(),
        kind: NameKind::User,
        unnamed: None,
    };
    Profile {
        run: Arc::new(RunInfo {
            perfd_version: "0".into(),
            hostname: String::from("here"),
            kernel: String::new(),
            target: String::from("pid 1"),
            events: vec![SampledEvent {
                spec: "cycles".parse().expect("an event"),
                rate: Rate::Period(1000),
                modes: Modes::ALL,
            }],
            notes: Vec::new(),
        }),
        span: WindowSpan {
            sequence: nth,
            start: MonoNs(nth * 10 * SECOND),
            end: MonoNs((nth + 1) * 10 * SECOND),
            start_unix_ns: START + nth * 10 * SECOND,
            is_last: false,
        },
        rows: vec![Row {
            task: TaskLabel {
                comm: "app".into(),
                pid: None,
                tid: None,
            },
            ended: Ended::Root,
            frames: vec![frame("main".to_owned()), frame(format!("f{nth}"))],
            weights: vec![Weight {
                total: 1000 * n_samples,
                samples: n_samples,
                squares: 1_000_000 * u128::from(n_samples),
            }],
        }],
        processes: Vec::new(),
        ledger: Ledger {
            events: vec![EventLedger {
                emitted: Some(n_samples),
                delivered: n_samples,
                ..EventLedger::default()
            }],
            ..Ledger::default()
        },
        whole_run: None,
    }
}

/// Every file below a folder.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root).expect("readable") {
        let path = entry.expect("readable").path();
        match path.is_dir() {
            true => files.extend(self::files(&path)),
            false => files.push(path),
        }
    }
    files.sort();
    files
}

pub fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().expect("a file").to_string_lossy();
    name.starts_with('.')
}

pub fn decoded(path: &Path) -> Decoded {
    let bytes = fs::read(path).expect("readable");
    pprof::decode(&bytes, &Limits::default())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Samples of rows, and those that the ledger says were not stored.
pub fn samples(paths: &[PathBuf]) -> (u64, i64) {
    let mut sums = (0, 0);
    for path in paths {
        let profile = decoded(path).profile;
        let account = &profile.ledger.events[0];
        assert_eq!(account.unexplained(), Some(0), "{}", path.display());
        sums.0 += profile
            .rows
            .iter()
            .map(|row| row.weights[0].samples)
            .sum::<u64>();
        sums.1 += account
            .lost
            .get(&LossReason::NotStored)
            .copied()
            .unwrap_or(0);
    }
    sums
}
