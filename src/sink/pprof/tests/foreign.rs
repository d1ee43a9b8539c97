//! Files of other programs, and bytes that are none.

use std::collections::BTreeMap;

use super::super::decode::Writer;
use super::super::wire::{put_bytes, put_number, put_packed, put_varint};
use super::super::{Limits, decode};
use crate::model::*;

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
            put_varint(2 << 3, &mut message);
            put_varint(*value, &mut message);
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
