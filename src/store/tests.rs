//! Stores on a disk in memory that fails when it is told to: every file is whole, and every sample is in a file, on a ledger, or
//! still waits.

use std::sync::Arc;

use super::*;
use crate::model::*;
use crate::sink::pprof::{Decoded, Labels};

mod found;
mod memory;

use memory::{Memory, Plan};

const SECOND: u64 = 1_000_000_000;
/// 2026-11-27 04:00:00 UTC.
const START: u64 = 1_795_752_000 * SECOND;

fn labels(target: &str, phase: Option<&str>) -> Labels {
    Labels {
        target: Some(target.to_owned()),
        unit: None,
        phase: phase.map(str::to_owned),
    }
}

/// A window of ten seconds with so many samples, one of them lost besides.
fn window(nth: u64, n_samples: u64) -> Profile {
    let weight = Weight {
        total: 10 * n_samples,
        samples: n_samples,
        squares: u128::from(100 * n_samples),
    };
    let frame = |text: String| FrameName {
        text: text.into(),
        kind: NameKind::User,
        unnamed: None,
    };
    Profile {
        run: Arc::new(RunInfo {
            perfd_version: "".into(),
            hostname: String::new(),
            kernel: String::new(),
            target: String::from("a target"),
            events: vec![SampledEvent {
                spec: "cycles".parse().unwrap(),
                rate: Rate::Period(10),
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
                pid: Some(Pid(1)),
                tid: None,
            },
            ended: Ended::Root,
            frames: (0..12).map(|n| frame(format!("f{nth}_{n}"))).collect(),
            weights: vec![weight],
        }],
        processes: Vec::new(),
        ledger: Ledger {
            events: vec![EventLedger {
                emitted: Some(n_samples + 1),
                delivered: n_samples,
                lost: [(LossReason::RingFull, 1)].into(),
                sampled_weight: 10 * n_samples,
                ..EventLedger::default()
            }],
            ..Ledger::default()
        },
        whole_run: None,
    }
}

fn at(nth: u64) -> u64 {
    START + (nth + 1) * 10 * SECOND
}

/// Emitted, delivered, in rows, not stored; of all files.
fn sums(files: &[(String, Decoded)]) -> [u64; 4] {
    let mut sums = [0; 4];
    for (path, file) in files {
        let event = &file.profile.ledger.events[0];
        assert_eq!(event.unexplained(), Some(0), "{path}");
        let rows = file.profile.rows.iter();
        let not_stored = event.lost.get(&LossReason::NotStored).copied();
        sums[0] += event.emitted.unwrap_or(0);
        sums[1] += event.delivered;
        sums[2] += rows.map(|row| row.weights[0].samples).sum::<u64>();
        sums[3] += u64::try_from(not_stored.unwrap_or(0)).expect("not below zero");
    }
    sums
}

/// Limits at which two windows' stacks are too many.
fn tight() -> Limits {
    Limits {
        window: Duration::from_secs(30),
        max_bytes: 2500,
        memory: 2500,
        ..Limits::default()
    }
}

/// Two targets, a phase, an end; 40 windows with 1 to 40 samples.
fn play(store: &mut Store) -> u64 {
    let mut n_failed = 0;
    for nth in 0..20 {
        let phase = (nth >= 10).then_some("measure");
        for (target, n_samples) in [("a", nth + 1), ("b", nth + 21)] {
            let done = store.add(&window(nth, n_samples), &labels(target, phase), at(nth));
            n_failed += done.failed.len() as u64;
        }
    }
    n_failed += store.end("b").failed.len() as u64;
    n_failed + store.flush().failed.len() as u64
}

const ALL_SAMPLES: u64 = 40 * 41 / 2;

#[test]
fn windows_become_files_of_the_time_that_was_asked_for() {
    let disk = Memory::default();
    let mut store = Store::on(Box::new(disk.clone()), Limits::default()).unwrap();
    for nth in 0..13 {
        store.add(&window(nth, 2), &labels("a/b", None), at(nth));
    }
    let files = disk.decoded();
    let lengths: Vec<u64> = files
        .iter()
        .map(|(_, file)| (file.profile.span.end.0 - file.profile.span.start.0) / SECOND)
        .collect();
    assert_eq!(lengths, [60, 60]);
    assert_eq!(files[0].1.labels, labels("a/b", None));
    let folder = name::folder("a/b");
    assert_eq!(
        files[0].0,
        format!("{folder}/20261127T040000.000Z-000000.pb.gz")
    );
    assert_eq!(
        files[1].0,
        format!("{folder}/20261127T040100.000Z-000001.pb.gz")
    );
    assert_eq!(store.end("a/b").written, 1);
    assert_eq!(disk.n_files(), 3);
    assert_eq!(store.end("a/b").written, 0);
    assert_eq!(sums(&disk.decoded()), [39, 26, 26, 0]);
}

#[test]
fn a_phase_has_files_of_its_own() {
    let disk = Memory::default();
    let mut store = Store::on(Box::new(disk.clone()), Limits::default()).unwrap();
    for (nth, phase) in [None, Some("warm-up"), Some("warm-up"), Some("measure")]
        .into_iter()
        .enumerate()
    {
        let nth = nth as u64;
        store.add(&window(nth, 1), &labels("a", phase), at(nth));
    }
    store.flush();
    let phases: Vec<(Option<String>, u64)> = disk
        .decoded()
        .into_iter()
        .map(|(_, file)| (file.labels.phase, file.profile.ledger.events[0].delivered))
        .collect();
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(
        phases,
        [(None, 1), (named("warm-up"), 2), (named("measure"), 1)]
    );
}

#[test]
fn a_silent_target_is_written_too() {
    let disk = Memory::default();
    let mut store = Store::on(Box::new(disk.clone()), Limits::default()).unwrap();
    store.add(&window(0, 1), &labels("a", None), at(0));
    assert_eq!(store.tick(at(10)).written, 0);
    assert_eq!(store.tick(at(12)).written, 1);
    assert_eq!(store.tick(at(30)).written, 0);
}

#[test]
fn wherever_one_operation_fails_nothing_is_lost_and_every_file_is_whole() {
    let mut n = 0;
    loop {
        let disk = Memory::default();
        let mut store = Store::on(Box::new(disk.clone()), tight()).unwrap();
        let opened = disk.state().n_operations;
        disk.state().plan = Plan {
            from: opened + n,
            until: opened + n + 1,
            room: 0,
        };
        let n_failed = play(&mut store);
        if disk.state().n_operations <= opened + n {
            break;
        }
        store.flush();
        let [emitted, delivered, in_rows, not_stored] = sums(&disk.decoded());
        assert_eq!(emitted, ALL_SAMPLES + 40, "operation {n}");
        assert_eq!(delivered + not_stored, ALL_SAMPLES, "operation {n}");
        assert_eq!(delivered, in_rows, "operation {n}");
        assert_eq!(store.pending_bytes(), 0);
        assert_eq!(n_failed, 1, "operation {n}");
        n += 1;
    }
    assert!(n > 100, "{n} operations");
}

#[test]
fn wherever_a_disk_begins_to_fail_for_long_it_is_counted_and_goes_on_when_there_is_room() {
    let mut n_with_losses = 0;
    for from in (0..150).step_by(3) {
        let disk = Memory::default();
        let mut store = Store::on(Box::new(disk.clone()), tight()).unwrap();
        let opened = disk.state().n_operations;
        disk.state().plan = Plan {
            from: opened + from,
            until: opened + from + 25,
            room: 0,
        };
        play(&mut store);
        // Room again, and time for what waits.
        for _ in 0..30 {
            store.flush();
        }
        let [emitted, delivered, in_rows, not_stored] = sums(&disk.decoded());
        assert_eq!(emitted, ALL_SAMPLES + 40, "from {from}");
        assert_eq!(delivered + not_stored, ALL_SAMPLES, "from {from}");
        assert_eq!(delivered, in_rows, "from {from}");
        n_with_losses += u64::from(not_stored > 0);
    }
    assert!(n_with_losses > 10, "{n_with_losses}");
}

#[test]
fn a_full_disk_is_told_once_and_its_end_too() {
    let disk = Memory::default();
    disk.state().plan.room = 1;
    let mut store = Store::on(Box::new(disk.clone()), tight()).unwrap();
    let mut failed = Vec::new();
    for nth in 0..30 {
        failed.extend(
            store
                .add(&window(nth, 5), &labels("a", None), at(nth))
                .failed,
        );
        assert!(store.pending_bytes() <= tight().memory);
    }
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(matches!(&failed[0], StoreError::Write { target, .. } if target == "a"));
    assert_eq!(disk.n_files(), 0);
    disk.state().plan.room = 0;
    let done = store.flush();
    assert_eq!((done.written, done.recovered), (1, true));
    let files = disk.decoded();
    let [emitted, delivered, _, not_stored] = sums(&files);
    assert_eq!((emitted, delivered + not_stored), (180, 150));
    assert!(not_stored > 100, "{not_stored}");
    let notes = &files[0].1.profile.run.notes;
    assert!(
        notes[0].contains("windows could not be written"),
        "{notes:?}"
    );
    // It is said of that file and not again.
    store.add(&window(30, 5), &labels("a", None), at(30));
    store.flush();
    assert_eq!(sums(&disk.decoded())[3], not_stored);
    assert!(disk.decoded()[1].1.profile.run.notes.is_empty());
}

#[test]
fn targets_that_end_on_a_full_disk_do_not_heap_up() {
    let disk = Memory::default();
    disk.state().plan.room = 1;
    let mut store = Store::on(Box::new(disk.clone()), tight()).unwrap();
    for nth in 0..300 {
        let target = format!("target {nth}");
        store.add(&window(nth, 1), &labels(&target, None), at(nth));
        store.end(&target);
        assert!(store.pending_bytes() <= tight().memory);
    }
    assert_eq!(store.forgotten(), 300 - 256);
    disk.state().plan.room = 0;
    assert_eq!(store.tick(at(300)).written, 256);
    assert_eq!(store.tick(at(301)).written, 0);
}

#[test]
fn the_oldest_files_of_all_targets_go_first_and_nothing_of_others() {
    let disk = Memory::default();
    let limits = Limits {
        window: Duration::from_secs(10),
        keep_bytes: 40_000,
        ..Limits::default()
    };
    let foreign = ("notes.txt".to_owned(), vec![0; 100_000]);
    disk.state()
        .folders
        .entry("a".to_owned())
        .or_default()
        .extend([foreign]);
    let mut store = Store::on(Box::new(disk.clone()), limits).unwrap();
    let mut n_removed = 0;
    for nth in 0..100 {
        let target = ["a", "b", "c"][usize::try_from(nth % 3).unwrap()];
        n_removed += store
            .add(&window(nth, 1), &labels(target, None), at(nth))
            .removed;
        assert!(store.kept_bytes() <= 40_000);
    }
    assert_eq!(disk.n_files() - 1 + n_removed, 100);
    assert!(disk.state().folders["a"].contains_key("notes.txt"));
    let mut starts: Vec<u64> = disk
        .state()
        .folders
        .values()
        .flatten()
        .filter_map(|(name, _)| Some(name::FileName::parse(name)?.start_ms))
        .collect();
    starts.sort_unstable();
    let last = START / 1_000_000 + 99 * 10_000;
    let expected: Vec<u64> = (0..starts.len() as u64)
        .rev()
        .map(|back| last - back * 10_000)
        .collect();
    assert_eq!(starts, expected);
    assert!(starts.len() >= 9);
    // By age: a week later all are gone, and their folders; the other file stays.
    let week = 7 * 24 * 3600 * SECOND;
    let done = store.tick(at(100) + week);
    assert_eq!(done.removed, starts.len());
    assert_eq!(disk.n_files(), 1);
    assert_eq!(disk.state().folders.keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn leftovers_go_at_the_start_and_numbers_go_on() {
    let disk = Memory::default();
    let mut store = Store::on(Box::new(disk.clone()), tight()).unwrap();
    play(&mut store);
    let n_files = disk.n_files() as u64;
    let leftover = (".perfd-new-77-3".to_owned(), vec![1, 2, 3]);
    disk.state()
        .folders
        .get_mut("a")
        .unwrap()
        .extend([leftover]);
    drop(store);
    let mut store = Store::on(Box::new(disk.clone()), tight()).unwrap();
    assert_eq!(disk.n_files() as u64, n_files);
    store.add(&window(50, 1), &labels("c", None), at(50));
    store.flush();
    let name = disk.state().folders["c"].keys().next().unwrap().clone();
    assert_eq!(name::FileName::parse(&name).unwrap().sequence, n_files);
}

#[test]
fn a_name_that_is_taken_becomes_the_next_one() {
    let disk = Memory::default();
    let mut store = Store::on(Box::new(disk.clone()), Limits::default()).unwrap();
    let taken = name::FileName {
        start_ms: START / 1_000_000,
        sequence: 0,
    };
    let theirs = (taken.text(), vec![7]);
    disk.state()
        .folders
        .entry("a".to_owned())
        .or_default()
        .extend([theirs]);
    store.add(&window(0, 1), &labels("a", None), at(0));
    assert_eq!(store.flush().written, 1);
    assert_eq!(disk.state().folders["a"][&taken.text()], [7]);
    assert_eq!(disk.n_files(), 2);
}

#[test]
fn two_stores_of_one_folder_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Store::open(dir.path(), Limits::default()).unwrap();
    let second = Store::open(dir.path(), Limits::default());
    assert!(matches!(second, Err(StoreError::Taken { .. })));
}
