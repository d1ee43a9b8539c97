//! What is written is read back whole, and damage does no harm.

use std::sync::Arc;
use std::time::Duration;

use super::decode::Writer;
use super::*;
use crate::aggregate;
use crate::model::*;
use crate::sink::{Measure, View};

mod foreign;

const VIEW: View = View {
    event: EventIdx(0),
    measure: Measure::Weight,
};

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).expect("an index")].clone()
    }

    fn large(&mut self) -> u64 {
        let bits = self.below(63);
        self.below((1 << bits) + 1)
    }

    fn maybe<T>(&mut self, value: T) -> Option<T> {
        (self.below(2) == 0).then_some(value)
    }
}

/// Texts that could be taken for something else.
const TEXTS: [&str; 16] = [
    "",
    "main",
    "main (app.c:12)",
    "main (app.c:13)",
    "f (\u{1b}[2J.c:7)",
    "core::ptr::drop_in_place<[u8; 4]>",
    "a\nb\u{202e}c",
    "\\x41",
    "\\",
    "[truncated: depth limit]",
    "[user]",
    "libc.so.6+0x1234",
    "x (y:0)",
    " (:1)",
    "é ☃ \u{10ffff}",
    "[no symbols]",
];

const KINDS: [NameKind; 5] = [
    NameKind::User,
    NameKind::Inlined,
    NameKind::Kernel,
    NameKind::Jit,
    NameKind::Python,
];

const EVENTS: [&str; 8] = [
    "cycles",
    "cpu-clock:u",
    "sched:sched_switch",
    "cpu/event=0xc2,umask=0x1/u",
    "r1c2:k",
    "L1-dcache-load-misses",
    "mem:0x1000/8:w",
    "page-faults",
];

fn frame(random: &mut Random) -> FrameName {
    let unnamed = random.one_of(&Unnamed::ALL);
    FrameName {
        text: random.one_of(&TEXTS).into(),
        kind: random.one_of(&KINDS),
        unnamed: random.maybe(unnamed).filter(|_| random.below(2) == 0),
    }
}

fn weight(random: &mut Random) -> Weight {
    let period = random.below(1 << 40);
    let samples = random.below(1 << 20);
    match random.below(4) {
        0 => Weight::default(),
        1 => Weight {
            total: period * samples,
            samples,
            squares: u128::from(period).pow(2) * u128::from(samples),
        },
        2 => Weight::of(period),
        _ => Weight {
            total: random.large(),
            samples: random.large(),
            squares: u128::from(random.large()).pow(2),
        },
    }
}

fn event_ledger(random: &mut Random) -> EventLedger {
    let lost = [
        (LossReason::RingFull, 5),
        (LossReason::NotRaised, -3),
        (LossReason::Foreign, i64::MAX),
    ];
    let walk = KernelWalkLedger {
        walked: random.large(),
        left_to_ring: random.large(),
        no_room_for_count: 0,
        no_room_for_stack: 1,
        foreign: 2,
    };
    let (expected, emitted, counted) = (random.large(), random.large(), random.large());
    EventLedger {
        expected: random.maybe(expected),
        emitted: random.maybe(emitted),
        delivered: random.large(),
        lost: lost.into_iter().filter(|_| random.below(2) == 0).collect(),
        throttled: random.large(),
        sampled_weight: random.large(),
        counted_weight: random.maybe(counted),
        enabled_ns: u64::MAX,
        running_ns: random.large(),
        reopened_gap_ns: random.large(),
        kernel_walk: random.maybe(walk),
    }
}

fn ledger(random: &mut Random, n_events: usize) -> Ledger {
    let text = |random: &mut Random| random.one_of(&TEXTS).to_owned();
    let mut stacks = StackLedger {
        frames: random.large(),
        stack_table_full: random.large(),
        ..StackLedger::default()
    };
    for ended in Ended::ALL {
        stacks.count(ended, random.large(), || random.one_of(&TEXTS).to_owned());
    }
    for why in Unnamed::ALL {
        stacks.unnamed.insert((why, text(random)), random.large());
    }
    let python = PythonLedger {
        samples: [(PythonRead::Whole, 4), (PythonRead::LeftToRing, u64::MAX)].into(),
        unreadable: [text(random), text(random)].into(),
    };
    let bpf = BpfCost {
        time: random.maybe(BpfTime {
            sample_ns: 1,
            samples: 0,
            mapping_ns: 3,
            mappings: 4,
        }),
        map_bytes: random.maybe(9),
        table_bytes: 0,
    };
    let cost = Cost {
        elapsed_ns: random.large(),
        cpu_ns: random.large(),
        sampling_cpu_ns: 0,
        peak_memory_bytes: random.maybe(77),
        tables: TableCost {
            built: 1,
            ..TableCost::default()
        },
        bpf: random.maybe(bpf),
    };
    let change = RateChange {
        at: MonoNs(random.large()),
        after: Duration::from_nanos(random.large()),
        used: 0.1 + 0.2,
        rates: vec![Rate::Period(1000), Rate::Frequency(Hz(49))],
    };
    let refused = JitFileNote {
        file: "jitdump",
        reason: text(random),
    };
    let (python, cost) = (random.maybe(python), random.maybe(cost));
    Ledger {
        events: (0..n_events).map(|_| event_ledger(random)).collect(),
        stacks,
        side_band_lost: random.large(),
        out_of_order: random.large(),
        records_left_out: random.large(),
        python,
        cost,
        rate_changes: random.maybe(change).into_iter().collect(),
        jit: JitLedger {
            refused: vec![(Pid(7), refused)],
            report: None,
        },
    }
}

fn profile(random: &mut Random) -> (Profile, Labels) {
    let n_events = usize::try_from(random.below(4)).expect("few");
    let first = usize::try_from(random.below(4)).expect("few");
    let events = EVENTS[first..first + n_events].iter();
    let events: Vec<SampledEvent> = events
        .map(|text| SampledEvent {
            spec: text.parse().expect("an event"),
            rate: random.one_of(&[Rate::Frequency(Hz(997)), Rate::Period(u64::MAX)]),
            modes: random.one_of(&[Modes::ALL, Modes::USER, Modes::KERNEL]),
        })
        .collect();
    let rows = (0..random.below(30))
        .map(|_| Row {
            task: TaskLabel {
                comm: random.one_of(&TEXTS).into(),
                pid: random.one_of(&[None, Some(Pid(0)), Some(Pid(u32::MAX))]),
                tid: random.one_of(&[None, Some(Tid(0)), Some(Tid(9))]),
            },
            ended: random.one_of(&Ended::ALL),
            frames: (0..random.below(6)).map(|_| frame(random)).collect(),
            weights: events.iter().map(|_| weight(random)).collect(),
        })
        .collect();
    let text = |random: &mut Random| random.one_of(&TEXTS).to_owned();
    let counts = EVENTS[..2].iter().map(|text| Count {
        event: text.parse().expect("an event"),
        value: u64::MAX,
        enabled: Duration::from_nanos(u64::MAX),
        running: Duration::from_nanos(12),
        group: 3,
    });
    let processes = vec![
        ProcessCounts {
            pid: None,
            comm: random.one_of(&TEXTS).into(),
            counts: counts.collect(),
        },
        ProcessCounts {
            pid: Some(Pid(3)),
            comm: "none".into(),
            counts: Vec::new(),
        },
    ];
    let profile = Profile {
        run: Arc::new(RunInfo {
            perfd_version: text(random).into(),
            hostname: text(random),
            kernel: text(random),
            target: text(random),
            notes: vec![text(random), "perfd version=\"x\"".to_owned()],
            events,
        }),
        span: WindowSpan {
            sequence: random.large(),
            start: MonoNs(random.large()),
            end: MonoNs(u64::MAX),
            start_unix_ns: random.large(),
            is_last: random.below(2) == 0,
        },
        rows: aggregate::sorted(rows),
        processes,
        ledger: ledger(random, n_events),
        whole_run: None,
    };
    let (target, unit, phase) = (text(random), text(random), text(random));
    let labels = Labels {
        target: random.maybe(target),
        unit: random.maybe(unit),
        phase: random.maybe(phase),
    };
    (profile, labels)
}

fn encoded(profile: &Profile, labels: &Labels) -> Vec<u8> {
    let mut out = Vec::new();
    encode(profile, labels, VIEW, &mut out).expect("memory");
    out
}

#[test]
fn what_was_written_comes_back_whole() {
    let mut random = Random(0x1234_5678_9abc_def1);
    for _ in 0..100 {
        let (profile, labels) = profile(&mut random);
        let bytes = encoded(&profile, &labels);
        let decoded = decode(&bytes, &Limits::default()).expect("written just now");
        assert_eq!(decoded.profile, profile);
        assert_eq!(decoded.labels, labels);
        assert_eq!(decoded.writer, Writer::Perfd);
        assert_eq!(encoded(&decoded.profile, &decoded.labels), bytes);
    }
}

#[test]
fn numbers_beyond_63_bits_are_the_largest_that_there_are() {
    let mut random = Random(3);
    let mut profile = std::iter::repeat_with(|| profile(&mut random).0)
        .find(|profile| !profile.run.events.is_empty() && !profile.rows.is_empty())
        .expect("one of them");
    profile.rows[0].weights[0] = Weight {
        total: u64::MAX,
        samples: 1,
        squares: u128::MAX,
    };
    let bytes = encoded(&profile, &Labels::default());
    let decoded = decode(&bytes, &Limits::default()).expect("written just now");
    let weight = decoded.profile.rows[0].weights[0];
    assert_eq!((weight.total, weight.squares), (u64::MAX >> 1, u128::MAX));
}

#[test]
fn damage_is_an_error_or_another_profile_and_never_a_panic() {
    let mut random = Random(99);
    for _ in 0..8 {
        let (profile, labels) = profile(&mut random);
        let bytes = gzip::unpack(&encoded(&profile, &labels), 1 << 20).expect("small");
        for _ in 0..200 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + random.below(3) {
                let at = usize::try_from(random.below(damaged.len() as u64)).expect("an index");
                damaged[at] = u8::try_from(random.below(256)).expect("a byte");
            }
            let _ = decode(&damaged, &Limits::default());
            let cut = usize::try_from(random.below(bytes.len() as u64)).expect("an index");
            let _ = decode(&bytes[..cut], &Limits::default());
        }
    }
}
