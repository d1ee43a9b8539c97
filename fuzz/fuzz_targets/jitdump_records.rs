//! A jitdump whose header and records have the sizes that they say.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
struct Dump {
    has_own_times: bool,
    records: Vec<Record>,
}

#[derive(Arbitrary, Debug)]
struct Record {
    time: u16,
    body: Body,
}

#[derive(Arbitrary, Debug)]
enum Body {
    Load {
        start: u16,
        size: u8,
        name: String,
        /// Bytes that the code is longer or shorter than it says.
        surplus: i8,
    },
    Move {
        from: u16,
        to: u64,
        size: u16,
    },
    Close,
    Other {
        kind: u8,
        bytes: Vec<u8>,
    },
}

/// The process in its namespace, and one of its threads.
const PID: u32 = 3;

impl Body {
    fn bytes(&self) -> (u32, Vec<u8>) {
        let mut bytes = Vec::new();
        bytes.extend([PID, PID].iter().flat_map(|id| id.to_le_bytes()));
        let mut words = |words: &[u64]| {
            bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        };
        match self {
            Body::Load {
                start,
                size,
                name,
                surplus,
            } => {
                let start = u64::from(*start);
                words(&[start, start, u64::from(*size), 1]);
                bytes.extend_from_slice(name.as_bytes());
                bytes.push(0);
                let n_code = usize::from(*size).saturating_add_signed(isize::from(*surplus));
                bytes.resize(bytes.len() + n_code, 0x90);
                (0, bytes)
            }
            Body::Move { from, to, size } => {
                words(&[*to, u64::from(*from), *to, u64::from(*size), 1]);
                (1, bytes)
            }
            Body::Close => (3, Vec::new()),
            Body::Other { kind, bytes } => (u32::from(*kind), bytes.clone()),
        }
    }
}

libfuzzer_sys::fuzz_target!(|dump: Dump| {
    let mut bytes = Vec::new();
    let mut words = |words: &[u32]| {
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    };
    // Magic, version, size, machine, padding, pid, time, flags.
    words(&[0x4a69_5444, 1, 40, 62, 0, PID, 0, 0]);
    words(&[u32::from(dump.has_own_times), 0]);
    for record in &dump.records {
        let (kind, body) = record.body.bytes();
        let size = 16 + u32::try_from(body.len()).expect("small");
        bytes.extend([kind, size].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend_from_slice(&u64::from(record.time).to_le_bytes());
        bytes.extend_from_slice(&body);
    }
    entries::jitdump(&bytes);
});
