//! pprof files whose tables hold, with comments that are nearly those of perfd.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
struct File {
    is_perfds: bool,
    texts: Vec<String>,
    events: Vec<Event>,
    mappings: Vec<u8>,
    /// Name and file.
    functions: Vec<(u8, u8)>,
    /// Mapping; functions and lines.
    locations: Vec<(u8, Vec<(u8, u8)>)>,
    samples: Vec<Sample>,
    comments: Vec<Comment>,
}

#[derive(Arbitrary, Debug)]
enum Event {
    Cycles,
    Clock,
    Named(u8),
}

#[derive(Arbitrary, Debug)]
struct Sample {
    locations: Vec<u8>,
    values: [u32; 8],
    squares: Vec<(u8, u64, u64)>,
    /// Key, text, number.
    labels: Vec<(u8, u8, u16)>,
}

#[derive(Arbitrary, Debug)]
enum Comment {
    Any(u8),
    Fact(u8, u8, u32),
    Text(u8, u8, u8),
}

const TOPICS: [&str; 16] = [
    "labels", "span", "event", "note", "process", "count", "ledger", "ledger.event", "ledger.stacks", "ledger.truncated",
    "ledger.unnamed", "ledger.python", "ledger.python_unreadable", "cost", "rate_change", "jit_file_refused",
];
const KEYS: [&str; 16] = [
    "delivered", "lost.ring_full", "kernel_walk.walked", "ended.root", "samples.whole", "bpf.time.samples", "pid", "count",
    "sequence", "start_ns", "value", "group", "text", "reason", "module", "target",
];
const MAPPINGS: [&str; 8] =
    ["[user]", "[kernel]", "[jit]", "[python]", "[inlined]", "[truncated]", "app", "[kernel.kallsyms]"];
const TEXTS: [&str; 8] =
    ["comm", "pid", "tid", "stack", "[truncated: depth limit]", "[no symbols]", "\\x41\\x", "thread"];

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

fn number(field: u64, value: u64, out: &mut Vec<u8>) {
    varint(field << 3, out);
    varint(value, out);
}

fn bytes(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn message(field: u64, numbers: &[(u64, u64)], out: &mut Vec<u8>) {
    let mut inner = Vec::new();
    numbers.iter().for_each(|(field, value)| number(*field, *value, &mut inner));
    bytes(field, &inner, out);
}

/// The string table.
struct Strings(Vec<String>);

impl Strings {
    fn add(&mut self, text: impl Into<String>) -> u64 {
        self.0.push(text.into());
        self.0.len() as u64 - 1
    }

    /// One of those that are there.
    fn any(&self, choice: u8) -> u64 {
        u64::from(choice) % self.0.len() as u64
    }
}

fn one_of<T: Copy>(all: &[T], choice: u8) -> T {
    all[usize::from(choice) % all.len()]
}

libfuzzer_sys::fuzz_target!(|file: File| {
    let mut strings = Strings(vec![String::new()]);
    TEXTS.iter().for_each(|text| _ = strings.add(*text));
    file.texts.iter().for_each(|text| _ = strings.add(text.clone()));
    let mut out = Vec::new();
    let mut comments = Vec::new();
    if file.is_perfds {
        comments.push(String::from("perfd version=\"1\" hostname=\"h\" kernel=\"k\" target=\"t\""));
    }
    for (idx, event) in file.events.iter().take(4).enumerate() {
        let name = match event {
            Event::Cycles => String::from("cycles"),
            Event::Clock => String::from("cpu-clock"),
            Event::Named(name) => strings.0[strings.any(*name) as usize].clone(),
        };
        let unit = strings.add(if idx % 2 == 0 { "count" } else { "nanoseconds" });
        let samples = strings.add(format!("{name}_sample"));
        message(1, &[(1, samples), (2, unit)], &mut out);
        let weight = strings.add(name.clone());
        message(1, &[(1, weight), (2, unit)], &mut out);
        comments.push(format!("event name={name:?} period=7 user=true kernel=false"));
    }
    let n_values = 2 * file.events.len().min(4);
    for (id, mapping) in file.mappings.iter().enumerate() {
        let name = strings.add(one_of(&MAPPINGS, *mapping));
        message(3, &[(1, id as u64 + 1), (5, name)], &mut out);
    }
    for (id, (name, path)) in file.functions.iter().enumerate() {
        let numbers = [(1, id as u64 + 1), (2, strings.any(*name)), (4, strings.any(*path))];
        message(5, &numbers, &mut out);
    }
    let any = |choice: u8, n: usize| u64::from(choice) % n.max(1) as u64 + 1;
    for (id, (mapping, lines)) in file.locations.iter().enumerate() {
        let mut inner = Vec::new();
        number(1, id as u64 + 1, &mut inner);
        number(2, any(*mapping, file.mappings.len()), &mut inner);
        for (function, line) in lines {
            message(4, &[(1, any(*function, file.functions.len())), (2, u64::from(*line))], &mut inner);
        }
        bytes(4, &inner, &mut out);
    }
    for sample in &file.samples {
        let mut inner = Vec::new();
        for location in &sample.locations {
            number(1, any(*location, file.locations.len()), &mut inner);
        }
        sample.values[..n_values].iter().for_each(|value| number(2, u64::from(*value), &mut inner));
        for (event, low, high) in &sample.squares {
            [u64::from(*event), *low, *high].iter().for_each(|part| number(50_001, *part, &mut inner));
        }
        for (key, text, value) in &sample.labels {
            message(3, &[(1, strings.any(*key)), (2, strings.any(*text)), (3, u64::from(*value))], &mut inner);
        }
        bytes(2, &inner, &mut out);
    }
    for comment in &file.comments {
        comments.push(match comment {
            Comment::Any(text) => strings.0[strings.any(*text) as usize].clone(),
            Comment::Fact(topic, key, value) => {
                format!("{} {}={value}", one_of(&TOPICS, *topic), one_of(&KEYS, *key))
            }
            Comment::Text(topic, key, text) => {
                let text = &strings.0[strings.any(*text) as usize];
                format!("{} {}={text:?}", one_of(&TOPICS, *topic), one_of(&KEYS, *key))
            }
        });
    }
    for comment in comments {
        let comment = strings.add(comment);
        number(13, comment, &mut out);
    }
    strings.0.iter().for_each(|text| bytes(6, text.as_bytes(), &mut out));
    entries::pprof(&out);
});
