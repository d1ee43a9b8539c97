//! An xz stream whose headers have the right check sums, so that what is in its blocks is decoded.
#![no_main]

#[path = "../../tests/fuzz_entries/mod.rs"]
#[allow(dead_code, reason = "each target uses one entry")]
mod entries;

use arbitrary::Arbitrary;

#[derive(Arbitrary, Debug)]
struct Stream {
    check: Check,
    blocks: Vec<Block>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Check {
    None,
    Crc32,
    Crc64,
}

#[derive(Arbitrary, Debug)]
struct Block {
    dictionary: u8,
    /// What LZMA2 is made of.
    chunks: Vec<Chunk>,
}

#[derive(Arbitrary, Debug)]
enum Chunk {
    Plain { resets: bool, bytes: Vec<u8> },
    Lzma { resets: u8, declared: u16, properties: u8, bytes: Vec<u8> },
    Any(Vec<u8>),
}

fn push_checked(bytes: &[u8], stream: &mut Vec<u8>) {
    stream.extend_from_slice(bytes);
    stream.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
}

fn length(bytes: &[u8]) -> [u8; 2] {
    let less_one = bytes.len().saturating_sub(1).min(usize::from(u16::MAX));
    u16::try_from(less_one).expect("capped").to_be_bytes()
}

libfuzzer_sys::fuzz_target!(|made: Stream| {
    let mut stream = b"\xfd7zXZ\0".to_vec();
    let check = match made.check {
        Check::None => 0,
        Check::Crc32 => 1,
        Check::Crc64 => 4,
    };
    push_checked(&[0, check], &mut stream);
    for block in &made.blocks {
        // Eight bytes and their check sum: the one filter is LZMA2.
        push_checked(&[2, 0, 0x21, 1, block.dictionary % 41, 0, 0, 0], &mut stream);
        for chunk in &block.chunks {
            match chunk {
                Chunk::Plain { resets, bytes } => {
                    stream.push(if *resets { 1 } else { 2 });
                    stream.extend_from_slice(&length(bytes));
                    stream.extend_from_slice(bytes);
                }
                Chunk::Lzma { resets, declared, properties, bytes } => {
                    stream.push(0x80 | (resets & 3) << 5);
                    stream.extend_from_slice(&declared.to_be_bytes());
                    stream.extend_from_slice(&length(bytes));
                    if resets & 3 >= 2 {
                        stream.push(properties % 225);
                    }
                    // The first byte of the coder is always 0.
                    stream.push(0);
                    stream.extend_from_slice(bytes);
                }
                Chunk::Any(bytes) => stream.extend_from_slice(bytes),
            }
        }
        stream.push(0);
    }
    entries::mini_debug_info(&stream);
});
