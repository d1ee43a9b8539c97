//! What was where and when, by tables.

use super::*;

fn between(earliest: u64, latest: u64) -> When {
    When {
        earliest: MonoNs(earliest),
        latest: MonoNs(latest),
    }
}

fn at(time: u64) -> When {
    When::exactly(MonoNs(time))
}

fn load(history: &mut History, start: u64, size: u64, name: &str, when: When) {
    let name = Some(name.as_bytes());
    let loaded = history.load(start, size, name, when, Origin::Compiled);
    loaded.expect("there is room");
}

/// `name`, `?` for several, `-` for nothing.
fn found(history: &History, address: u64, first: u64, last: u64) -> String {
    let span = Span {
        first: MonoNs(first),
        last: MonoNs(last),
    };
    match history.at(address, span) {
        Found::Function(name) => name.to_string(),
        Found::Replaced => "?".to_owned(),
        Found::Nothing => "-".to_owned(),
    }
}

fn changes(history: &mut History) -> Vec<(u64, u64)> {
    let changed = history.take_changed();
    changed
        .iter()
        .map(|change| (change.start, change.end))
        .collect()
}

#[test]
fn samples_before_and_after_a_replacement_have_their_own_function_and_those_around_it_none() {
    let mut history = History::default();
    load(&mut history, 100, 10, "a", at(5));
    load(&mut history, 100, 10, "b", at(20));
    assert_eq!(changes(&mut history), [(100, 110)]);
    for (first, last, expected) in [
        (0, 19, "a"),
        (6, 19, "a"),
        (10, 30, "?"),
        (10, 20, "?"),
        (20, 30, "?"),
        (21, 30, "b"),
        (0, 4, "-"),
    ] {
        assert_eq!(
            found(&history, 105, first, last),
            expected,
            "{first}-{last}"
        );
    }
}

#[test]
fn a_change_that_was_seen_between_two_readings_is_taken_for_any_moment_between_them() {
    let mut history = History::default();
    load(&mut history, 100, 10, "a", between(0, 10));
    load(&mut history, 100, 10, "b", between(30, 50));
    for (first, last, expected) in [
        (0, 29, "a"),
        (11, 29, "a"),
        (11, 30, "?"),
        (40, 41, "?"),
        (51, 60, "b"),
    ] {
        assert_eq!(
            found(&history, 100, first, last),
            expected,
            "{first}-{last}"
        );
    }
}

#[test]
fn of_a_function_that_is_overlapped_in_part_nothing_is_left() {
    let mut history = History::default();
    load(&mut history, 100, 100, "a", at(1));
    load(&mut history, 150, 10, "b", at(10));
    for (address, expected) in [
        (100, "-"),
        (149, "-"),
        (150, "b"),
        (159, "b"),
        (160, "-"),
        (199, "-"),
    ] {
        assert_eq!(found(&history, address, 11, 12), expected, "{address}");
        assert_eq!(found(&history, address, 2, 9), "a", "{address}");
    }
    let mut changed = changes(&mut history);
    changed.sort_unstable();
    assert_eq!(changed, [(100, 150), (150, 160), (160, 200)]);
    load(&mut history, 90, 20, "c", at(20));
    assert_eq!(found(&history, 95, 21, 22), "c");
    assert_eq!(found(&history, 105, 11, 12), "-");
    assert!(changes(&mut history).is_empty(), "nothing was there");
}

#[test]
fn the_same_function_again_is_no_change() {
    let mut history = History::default();
    load(&mut history, 100, 10, "a", at(1));
    load(&mut history, 100, 10, "a", at(10));
    load(&mut history, 100, 20, "a", at(20));
    assert!(changes(&mut history).is_empty());
    assert_eq!(found(&history, 105, 0, 30), "a");
    assert_eq!(found(&history, 115, 0, 30), "a");
}

#[test]
fn what_is_read_anew_is_as_if_it_had_been_there_all_the_time() {
    let mut history = History::default();
    load(&mut history, 100, 10, "a", between(0, 10));
    load(&mut history, 200, 10, "b", between(0, 10));
    load(&mut history, 300, 10, "c", between(0, 10));
    let anew = between(20, 30);
    history.forget_all(anew).expect("there is room");
    load(&mut history, 100, 10, "a", anew);
    load(&mut history, 200, 10, "x", anew);
    history.settle();
    let mut changed = changes(&mut history);
    changed.sort_unstable();
    assert_eq!(changed, [(200, 210), (300, 310)]);
    assert_eq!(found(&history, 100, 5, 40), "a");
    assert_eq!(found(&history, 200, 5, 40), "?");
    assert_eq!(found(&history, 200, 31, 40), "x");
    assert_eq!(found(&history, 300, 5, 40), "?");
    assert_eq!(found(&history, 300, 31, 40), "-");
    assert_eq!(history.made(|_, _| true).functions, 4);
}

#[test]
fn a_function_that_moved_away_is_no_longer_where_it_was() {
    let mut history = History::default();
    load(&mut history, 100, 10, "a", at(1));
    let (name, size) = history.starts_at(100).expect("it is there");
    history.forget(100, size, at(10)).expect("there is room");
    let moved = history.load(500, size, Some(name.as_bytes()), at(10), Origin::Moved);
    moved.expect("there is room");
    assert_eq!(found(&history, 105, 11, 12), "-");
    assert_eq!(found(&history, 505, 11, 12), "a");
    assert_eq!(found(&history, 105, 5, 12), "?");
    assert_eq!(history.starts_at(100), None);
}

#[test]
fn figures_are_of_code_alone() {
    let mut history = History::default();
    load(&mut history, 100, 10, "a", at(1));
    load(&mut history, 200, 20, "a", at(2));
    load(&mut history, 200, 20, "b", at(3));
    load(&mut history, 9000, 99, "heap", at(3));
    let made = history.made(|start, _| start < 1000);
    let expected = Made {
        functions: 3,
        again: 1,
        bytes: 50,
        live_bytes: 30,
    };
    assert_eq!(made, expected);
}

#[test]
fn ranges_that_cannot_be_are_passed_over() {
    let mut history = History::default();
    for (start, size) in [(u64::MAX, 2), (1, u64::MAX), (5, 0), (0, MAX_CODE + 1)] {
        load(&mut history, start, size, "x", at(1));
    }
    assert_eq!(found(&history, 5, 0, 9), "-");
    load(&mut history, u64::MAX - 1, 1, "end", at(1));
    assert_eq!(found(&history, u64::MAX - 1, 0, 9), "end");
    history
        .forget(u64::MAX - 1, u64::MAX, at(2))
        .expect("there is room");
    assert_eq!(found(&history, u64::MAX - 1, 3, 9), "-");
}

#[test]
fn changes_without_end_are_given_up() {
    let mut history = History::default();
    let load = |n: u64| {
        let name = [b'a' + u8::try_from(n % 2).expect("0 or 1")];
        // Each one over all that were before, with a border of its own.
        history.load(100_000 - n, 1 + n, Some(&name), at(n), Origin::Compiled)
    };
    assert_eq!((0..100_000).map(load).find(Result::is_err), Some(Err(Full)));
}
