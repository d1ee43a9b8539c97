//! What an archive finds in real files.

use super::*;

/// A real folder with a minute of files of two targets.
fn archive() -> (tempfile::TempDir, Archive) {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        window: Duration::from_secs(20),
        ..Limits::default()
    };
    let mut store = Store::open(dir.path(), limits).unwrap();
    for nth in 0..6 {
        store.add(&window(nth, nth + 1), &labels("a", None), at(nth));
        let of_a_unit = Labels {
            unit: Some("u.service".to_owned()),
            ..labels("b", Some("measure"))
        };
        store.add(&window(nth, 100), &of_a_unit, at(nth));
    }
    let archive = Archive::at(dir.path());
    (dir, archive)
}

fn delivered(found: &Found) -> Option<u64> {
    Some(found.profile.as_ref()?.ledger.events[0].delivered)
}

#[test]
fn the_windows_of_a_time_and_a_target_are_found() {
    let (_dir, archive) = archive();
    let second = |n: u64| Some(START + n * SECOND);
    let of = |since, until, target: Option<&str>| {
        let wanted = Selection {
            since,
            until,
            target: target.map(str::to_owned),
            ..Selection::default()
        };
        let found = archive.find(&wanted).unwrap();
        assert!(found.damaged.is_empty());
        delivered(&found)
    };
    assert_eq!(of(None, None, None), Some(21 + 600));
    assert_eq!(of(None, None, Some("a")), Some(21));
    // Files are of 20 s and taken whole.
    assert_eq!(of(second(0), second(20), Some("a")), Some(1 + 2));
    assert_eq!(of(second(19), second(21), Some("a")), Some(1 + 2 + 3 + 4));
    assert_eq!(of(second(20), second(40), Some("a")), Some(3 + 4));
    assert_eq!(of(second(45), None, Some("a")), Some(5 + 6));
    assert_eq!(of(None, second(1), Some("a")), Some(1 + 2));
    assert_eq!(of(second(60), None, Some("a")), None);
    assert_eq!(of(None, second(0), Some("a")), None);
    assert_eq!(of(None, None, Some("c")), None);
    let wanted = Selection {
        unit: Some("u.service".to_owned()),
        ..Selection::default()
    };
    let found = archive.find(&wanted).unwrap();
    assert_eq!(delivered(&found), Some(600));
    let kept = Kept {
        target: "b".to_owned(),
        start: START,
        end: START + 60 * SECOND,
        n_files: 3,
    };
    assert_eq!(found.kept, [kept]);
    let span = found.profile.unwrap().span;
    assert_eq!(span.end.since(span.start), Duration::from_secs(60));
    let none = Selection {
        phase: Some("warm-up".to_owned()),
        ..Selection::default()
    };
    assert_eq!(delivered(&archive.find(&none).unwrap()), None);
    let kept = archive.kept(1).unwrap();
    assert_eq!(
        (kept.len(), kept[0].start, kept[0].end),
        (2, START, START + 60 * SECOND)
    );
    // By its name alone.
    let kept = archive.kept(0).unwrap();
    assert_eq!(kept[0].end, START + 40 * SECOND);
}

#[test]
fn a_damaged_file_is_named_and_the_others_are_read() {
    let (dir, archive) = archive();
    let damaged = dir.path().join("a/20261127T040020.000Z-000002.pb.gz");
    let bytes = std::fs::read(&damaged).unwrap();
    std::fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    let wanted = Selection {
        target: Some("a".to_owned()),
        ..Selection::default()
    };
    let found = archive.find(&wanted).unwrap();
    assert_eq!(delivered(&found), Some(1 + 2 + 5 + 6));
    assert_eq!(found.damaged.len(), 1);
    assert_eq!(found.damaged[0].path, damaged);
}
