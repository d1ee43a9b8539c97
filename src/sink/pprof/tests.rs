//! What is written is read back whole; what is not written by perfd is read as far as it means something.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::decode::Writer;
use super::wire::{put_bytes, put_number, put_packed};
use super::*;
use crate::aggregate;
use crate::model::*;
use crate::sink::{Measure, View};

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

/// A message as another program writes it.
#[derive(Default)]
struct Foreign {
    message: Vec<u8>,
    strings: Vec<String>,
}

impl Foreign {
    fn string(&mut self, text: &str) -> u64 {
        if self.strings.is_empty() {
            self.strings.push(String::new());
        }
        self.strings.push(text.to_owned());
        self.strings.len() as u64 - 1
    }

    fn put(&mut self, field: u32, numbers: &[(u32, u64)]) {
        let mut message = Vec::new();
        for (field, number) in numbers {
            put_number(*field, *number, &mut message);
        }
        put_bytes(field, &message, &mut self.message);
    }

    fn sample_type(&mut self, name: &str, unit: &str) {
        let (name, unit) = (self.string(name), self.string(unit));
        self.put(1, &[(1, name), (2, unit)]);
    }

    fn location(&mut self, id: u64, mapping: u64, functions: &[u64]) {
        let mut message = Vec::new();
        put_number(1, id, &mut message);
        put_number(2, mapping, &mut message);
        put_number(3, 0x40_1000 + id, &mut message);
        for function in functions {
            let mut line = Vec::new();
            put_number(1, *function, &mut line);
            put_number(2, 42, &mut line);
            put_bytes(4, &line, &mut message);
        }
        put_bytes(4, &message, &mut self.message);
    }

    fn sample(&mut self, locations: &[u64], values: &[u64], labels: &[(&str, &str, u64)]) {
        let mut message = Vec::new();
        let scratch = &mut Vec::new();
        put_packed(1, locations.iter().copied(), scratch, &mut message);
        // One by one, as old writers do.
        for value in values {
            wire::put_varint(2 << 3, &mut message);
            wire::put_varint(*value, &mut message);
        }
        for (key, text, number) in labels {
            let mut label = Vec::new();
            put_number(1, self.string(key), &mut label);
            if !text.is_empty() {
                put_number(2, self.string(text), &mut label);
            }
            put_number(3, *number, &mut label);
            put_bytes(3, &label, &mut message);
        }
        put_bytes(2, &message, &mut self.message);
    }

    fn bytes(mut self) -> Vec<u8> {
        for text in &self.strings {
            put_bytes(6, text.as_bytes(), &mut self.message);
        }
        self.message
    }
}

/// Two functions, one inlined into the other, in a program and in the kernel.
fn of_another_program() -> Foreign {
    let mut file = Foreign::default();
    for (id, path) in [(1, "/usr/bin/app"), (2, "[kernel.kallsyms]")] {
        let path = file.string(path);
        file.put(3, &[(1, id), (2, 0x1000), (3, 0x2000), (5, path)]);
    }
    for (id, name) in [(1, "outer\\x41"), (2, "inner"), (3, "sys_read")] {
        let name = file.string(name);
        let path = file.string("app.go");
        file.put(5, &[(1, id), (2, name), (3, name), (4, path)]);
    }
    file.location(1, 1, &[2, 1]);
    file.location(2, 2, &[3]);
    file.location(3, 1, &[]);
    file
}

fn rows(profile: &Profile) -> BTreeMap<String, Vec<(u64, u64)>> {
    let name = |frame: &FrameName| match frame.kind {
        NameKind::User => frame.text.to_string(),
        kind => format!("{}_{kind:?}", frame.text),
    };
    let row = |row: &Row| {
        let names: Vec<String> = row.frames.iter().map(name).collect();
        let weights = row.weights.iter();
        let weights = weights
            .map(|weight| (weight.samples, weight.total))
            .collect();
        (format!("{};{}", row.task.comm, names.join(";")), weights)
    };
    profile.rows.iter().map(row).collect()
}

#[test]
fn names_and_values_of_another_program_are_read() {
    let mut file = of_another_program();
    file.sample_type("samples", "count");
    file.sample_type("cpu", "nanoseconds");
    file.sample(&[2, 1], &[3, 30_000_000], &[("thread", "worker", 0)]);
    file.sample(&[1], &[1, 10_000_000], &[("pid", "", 42)]);
    file.sample(&[1], &[1, 10_000_000], &[("pid", "", 42)]);
    file.sample(&[3], &[1, 10_000_000], &[]);
    let decoded = decode(&file.bytes(), &Limits::default()).expect("a pprof file");
    assert_eq!(decoded.writer, Writer::Other);
    let profile = decoded.profile;
    let events: Vec<String> = profile
        .run
        .events
        .iter()
        .map(|event| event.spec.to_string())
        .collect();
    assert_eq!(events, ["cpu-clock"]);
    let expected = [
        ("app;app+0x401003", vec![(1, 10_000_000)]),
        ("app;outer\\x41;inner_Inlined", vec![(2, 20_000_000)]),
        (
            "worker;outer\\x41;inner_Inlined;sys_read_Kernel",
            vec![(3, 30_000_000)],
        ),
    ];
    let expected = expected.map(|(stack, weights)| (stack.to_owned(), weights));
    assert_eq!(rows(&profile), expected.into());
    assert_eq!(profile.ledger.events[0].delivered, 6);
}

#[test]
fn types_of_samples_become_events_that_are_told_apart() {
    let mut file = of_another_program();
    for (name, unit) in [
        ("cycles_sample", "count"),
        ("cycles_event", "count"),
        ("wall", "nanoseconds"),
        ("alloc space", "bytes"),
        ("alloc-space", "bytes"),
        ("samples", "count"),
    ] {
        file.sample_type(name, unit);
    }
    file.sample(&[1], &[1, 1000, 5, 6, 7, 8], &[]);
    let profile = decode(&file.bytes(), &Limits::default())
        .expect("a pprof file")
        .profile;
    let events: Vec<String> = profile
        .run
        .events
        .iter()
        .map(|event| event.spec.to_string())
        .collect();
    assert_eq!(
        events,
        [
            "cycles",
            "cpu-clock",
            "pprof:alloc_space",
            "pprof:alloc_space_2",
            "pprof:samples"
        ]
    );
    let weights = &rows(&profile)["app;outer\\x41;inner_Inlined"];
    assert_eq!(*weights, [(1, 1000), (0, 5), (0, 6), (0, 7), (8, 8)]);
}

#[test]
fn bytes_that_are_no_profile_are_refused_with_the_reason() {
    let check = |bytes: &[u8], limits: &Limits, expected: &str| {
        let error = decode(bytes, limits).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    let limits = Limits::default();
    check(b"", &limits, "nothing in it");
    check(b"app;main 7\n", &limits, "no field");
    check(b"\x1f\x8bxxxxxxxx", &limits, "packed data are damaged");
    let with = |change: &dyn Fn(&mut Foreign)| {
        let mut file = of_another_program();
        file.sample_type("samples", "count");
        change(&mut file);
        file.bytes()
    };
    let refused = |change: &dyn Fn(&mut Foreign), expected: &str| {
        check(&with(change), &limits, expected);
    };
    refused(&|file| file.sample(&[9], &[1], &[]), "location that is not");
    refused(
        &|file| file.sample(&[1], &[1, 2], &[]),
        "more or fewer values",
    );
    refused(&|file| file.sample(&[1], &[u64::MAX], &[]), "below zero");
    refused(&|file| file.put(1, &[(1, 99)]), "string that is not");
    refused(
        &|file| {
            file.location(4, 1, &[77]);
            file.sample(&[4], &[1], &[]);
        },
        "function that is not",
    );
    let whole = with(&|file| file.sample(&[1, 1, 1], &[1], &[]));
    let n_entries = 6;
    for (tight, expected) in [
        (
            Limits {
                frames: 5,
                ..limits
            },
            "frames",
        ),
        (
            Limits {
                entries: n_entries,
                ..limits
            },
            "entries",
        ),
        (
            Limits {
                bytes: 64,
                ..limits
            },
            "unpacked bytes",
        ),
        (
            Limits {
                sample_types: 0,
                ..limits
            },
            "sample types",
        ),
    ] {
        check(&whole, &tight, expected);
    }
    let fits = Limits {
        frames: 6,
        ..limits
    };
    assert!(decode(&whole, &fits).is_ok());
}
