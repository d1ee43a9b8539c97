//! Sums over windows are conserved, whatever the windows and however they are grouped.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::model::{
    Count, Ended, EventLedger, FrameName, Hz, LossReason, Modes, MonoNs, NameKind, Pid, Rate,
    TaskLabel, Tid, WindowSpan,
};

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).expect("below a usize")
    }
}

fn event(text: &str) -> SampledEvent {
    SampledEvent {
        spec: text.parse().expect("an event"),
        rate: Rate::Frequency(Hz(99)),
        modes: Modes::ALL,
    }
}

fn run(events: &[&str]) -> Arc<RunInfo> {
    Arc::new(RunInfo {
        perfd_version: "".into(),
        hostname: String::from("here"),
        kernel: String::new(),
        target: String::from("pid 1"),
        events: events.iter().map(|text| event(text)).collect(),
        notes: vec![format!("sampling {events:?}")],
    })
}

/// A window with rows in order and distinct, as sessions make them.
fn window(random: &mut Random, run: &Arc<RunInfo>, sequence: u64) -> Arc<Profile> {
    let n_events = run.events.len();
    let mut rows = BTreeMap::new();
    for _ in 0..random.below(12) {
        let frames: Vec<FrameName> = (0..random.below(4))
            .map(|_| FrameName {
                text: ["a", "b", "c"][random.index(3)].into(),
                kind: [NameKind::User, NameKind::Kernel][random.index(2)],
                unnamed: None,
            })
            .collect();
        let task = TaskLabel {
            comm: ["x", "y"][random.index(2)].into(),
            pid: Some(Pid(u32::from(random.below(2) == 1))),
            tid: Some(Tid(7)),
        };
        let ended = [Ended::Root, Ended::DepthLimit][random.index(2)];
        let weights: Vec<Weight> = (0..n_events)
            .map(|_| Weight::of(random.below(1000)))
            .collect();
        rows.insert((task, frames, ended), weights);
    }
    let events = (0..n_events).map(|_| EventLedger {
        emitted: (random.below(2) == 1).then(|| random.below(50)),
        delivered: random.below(50),
        lost: [(LossReason::RingFull, 3)].into(),
        ..EventLedger::default()
    });
    let mut ledger = Ledger {
        events: events.collect(),
        side_band_lost: random.below(3),
        ..Ledger::default()
    };
    ledger
        .stacks
        .count(Ended::DepthLimit, random.below(9), || String::from("m"));
    let counts = run.events.iter().map(|event| Count {
        event: event.spec.clone(),
        value: random.below(1000),
        enabled: Duration::from_nanos(random.below(1000)),
        running: Duration::from_nanos(random.below(1000)),
        group: 0,
    });
    let processes = vec![ProcessCounts {
        pid: Some(Pid(1)),
        comm: ["p", "q"][usize::from(sequence.is_multiple_of(3))].into(),
        counts: counts.collect(),
    }];
    Arc::new(Profile {
        run: Arc::clone(run),
        span: WindowSpan {
            sequence,
            start: MonoNs(sequence * 10),
            end: MonoNs(sequence * 10 + 10),
            start_unix_ns: 1000 + sequence * 10,
            is_last: false,
        },
        rows: rows
            .into_iter()
            .map(|((task, frames, ended), weights)| Row {
                task,
                ended,
                frames,
                weights,
            })
            .collect(),
        processes,
        ledger,
        whole_run: None,
    })
}

/// What must be the same before and after, by the name of the event.
fn sums<'a>(profiles: impl IntoIterator<Item = &'a Profile>) -> BTreeMap<String, u128> {
    let mut sums = BTreeMap::new();
    let mut add = |what: &str, event: &dyn std::fmt::Display, n: u128| {
        *sums.entry(format!("{what} {event}")).or_default() += n;
    };
    for profile in profiles {
        let events = profile.run.events.iter().enumerate();
        for (idx, event) in events {
            for row in &profile.rows {
                let task = (&row.task.comm, row.task.pid, row.ended);
                let of = format!("{} {task:?} {:?}", event.spec, row.frames);
                add("weight", &of, row.weights[idx].total.into());
                add("samples", &of, row.weights[idx].samples.into());
                add("squares", &of, row.weights[idx].squares);
            }
            let account = &profile.ledger.events[idx];
            add("delivered", &event.spec, account.delivered.into());
            add("emitted", &event.spec, account.emitted.unwrap_or(0).into());
            let lost: i64 = account.lost.values().sum();
            add("lost", &event.spec, u128::from(lost.unsigned_abs()));
        }
        add("side band", &"", profile.ledger.side_band_lost.into());
        for (key, n) in &profile.ledger.stacks.truncated_in {
            add("truncated", &format!("{key:?}"), (*n).into());
        }
        for process in &profile.processes {
            for count in &process.counts {
                add("count", &count.event, count.value.into());
                add("enabled", &count.event, count.enabled.as_nanos());
                add("running", &count.event, count.running.as_nanos());
            }
        }
    }
    // An event that nothing of a row weighs in may have a column or none.
    sums.retain(|_, n| *n > 0);
    sums
}

fn windows(random: &mut Random) -> Vec<Arc<Profile>> {
    let runs = [
        run(&["cycles", "page-faults"]),
        run(&["cycles", "page-faults"]),
        run(&["page-faults"]),
        run(&["task-clock", "cycles:u"]),
        run(&[]),
    ];
    let n_runs = 1 + random.index(runs.len());
    (0..2 + random.below(6))
        .map(|sequence| {
            let run = &runs[random.index(n_runs)];
            window(random, run, sequence)
        })
        .collect()
}

#[test]
fn sums_are_conserved_over_any_windows() {
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for _ in 0..400 {
        let windows = windows(&mut random);
        let all = merge(&windows).expect("some");
        assert_eq!(sums([&all]), sums(windows.iter().map(|window| &**window)));
        assert!(
            all.rows
                .windows(2)
                .all(|pair| order(&pair[0], &pair[1]) == Ordering::Less)
        );
        let n_events = all.run.events.len();
        assert!(all.rows.iter().all(|row| row.weights.len() == n_events));
        let (first, last) = (&windows[0].span, &windows[windows.len() - 1].span);
        assert_eq!((all.span.start, all.span.end), (first.start, last.end));
        assert_eq!(all.span.start_unix_ns, first.start_unix_ns);
        assert_eq!(all.span.sequence, last.sequence);
    }
}

#[test]
fn it_does_not_matter_how_windows_are_grouped() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..400 {
        let windows = windows(&mut random);
        let at_once = merge(&windows).expect("some");
        let mut one_by_one = Profile::clone(&windows[0]);
        for window in &windows[1..] {
            merge_into(&mut one_by_one, window);
        }
        assert_eq!(one_by_one, at_once);
        let cut = 1 + random.index(windows.len() - 1);
        let halves = [&windows[..cut], &windows[cut..]];
        let halves = halves.map(|half| Arc::new(merge(half).expect("some")));
        let in_two = merge(&halves).expect("two");
        assert_eq!(sums([&in_two]), sums([&at_once]));
    }
}

#[test]
fn a_window_alone_stays_as_it_is_and_none_is_none() {
    let mut random = Random(77);
    let alone = window(&mut random, &run(&["cycles"]), 3);
    assert_eq!(
        merge(std::slice::from_ref(&alone)),
        Some(Profile::clone(&alone))
    );
    assert_eq!(merge(&[]), None);
}

#[test]
fn sums_of_hostile_numbers_stop_at_the_largest() {
    let mut random = Random(5);
    let run = run(&["cycles"]);
    let mut huge = Profile::clone(&window(&mut random, &run, 0));
    huge.ledger.events[0] = EventLedger {
        emitted: Some(u64::MAX),
        delivered: u64::MAX,
        lost: [(LossReason::NotRaised, i64::MAX)].into(),
        ..EventLedger::default()
    };
    huge.processes[0].counts[0].enabled = Duration::MAX;
    for row in &mut huge.rows {
        row.weights[0] = Weight {
            total: u64::MAX,
            samples: u64::MAX,
            squares: u128::MAX,
        };
    }
    let huge = Arc::new(huge);
    let all = merge(&[huge.clone(), huge]).expect("two");
    assert_eq!(all.ledger.events[0].delivered, u64::MAX);
    assert_eq!(all.ledger.events[0].unexplained(), Some(0));
}
