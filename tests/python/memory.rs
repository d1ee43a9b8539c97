//! An interpreter's memory made by hand, and what `walk.c`, that is `bpf/python.h`, reads in it.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;

/// `struct python_layout` of 3.14 with small offsets, in its order.
const OF_3_14: [u16; 20] = [
    8, 16, 8, 24, 32, 0xffff, 8, 0, 16, 0xffff, 3, 8, 40, 48, 56, 16, 32, 40, 56, 0,
];
/// The same of 3.11: frames hang on what lies on the stack, and mark where calls begin.
const OF_3_11: [u16; 20] = [
    8, 16, 8, 24, 32, 8, 8, 0, 16, 20, 0xffff, 8, 40, 48, 56, 16, 32, 48, 72, 0,
];
const HEAD_AT: u64 = 0x100;
const CODE_TYPE: u64 = 0x7e00;

/// Which version's structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    With311,
    With314,
}

/// The memory.
pub struct Memory {
    pub version: Version,
    /// The thread state that was found the last time.
    pub known: u64,
    segments: Vec<(u64, Vec<u8>)>,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// `enum python_read`.
    pub read: u64,
    /// Leaf first.
    pub frames: Vec<[u64; 2]>,
    /// The names that were kept, as `struct python_name`.
    pub names: Vec<Vec<u8>>,
}

/// The compiled program.
pub struct Reader {
    folder: tempfile::TempDir,
}

impl Memory {
    /// With the first interpreter at that address.
    pub fn new(version: Version, interpreter: u64) -> Memory {
        let mut memory = Memory {
            version,
            known: 0,
            segments: Vec::new(),
        };
        memory.words(HEAD_AT, &[interpreter]);
        memory
    }

    /// Words at an address.
    pub fn words(&mut self, address: u64, words: &[u64]) {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.segments.push((address, bytes));
    }

    /// An interpreter: the next one, and its first thread state.
    pub fn interpreter(&mut self, address: u64, next: u64, threads: u64) {
        self.words(address, &[0, next, threads]);
    }

    /// A thread state: the next one, its thread, and its frame or what holds that.
    pub fn thread(&mut self, address: u64, next: u64, native_id: u64, frame: u64) {
        self.words(address, &[0, next, 0, native_id, frame]);
    }

    /// A frame; `owner` is 3 where it has no code, `is_entry` is for 3.11.
    pub fn frame(&mut self, address: u64, code: u64, previous: u64, owner: u8, is_entry: u8) {
        let flags = u64::from(owner) | u64::from(is_entry) << 32;
        self.words(address, &[code, previous, flags, 0, 0, 0, 0, 0, 0, 0]);
    }

    /// Code with its names, which are ASCII.
    pub fn code(&mut self, address: u64, qualname: &[u8], file: &[u8], line: u64) {
        let (name_at, file_at) = (address + 0x1000, address + 0x2000);
        let mut code = vec![0; 20];
        (code[1], code[5], code[6], code[7]) = (CODE_TYPE, file_at, name_at, line);
        self.words(address, &code);
        self.string(name_at, qualname, 1, true);
        self.string(file_at, file, 1, true);
    }

    /// A string; `kind` is the bytes of a character.
    pub fn string(&mut self, address: u64, text: &[u8], kind: u64, is_ascii: bool) {
        const COMPACT: u64 = 1 << 5;
        let head = match (self.version, is_ascii) {
            (Version::With314, true) => 40,
            (Version::With314, false) => 56,
            (Version::With311, true) => 48,
            (Version::With311, false) => 72,
        };
        let mut bytes = vec![0; head];
        bytes[16..24].copy_from_slice(&(text.len() as u64 / kind).to_le_bytes());
        let state = kind << 2 | COMPACT | u64::from(is_ascii) << 6;
        bytes[32..40].copy_from_slice(&state.to_le_bytes());
        bytes.extend(text);
        // A heap goes on behind it.
        bytes.extend([b'#'; 48]);
        self.segments.push((address, bytes));
    }

    /// Takes what begins there away.
    pub fn remove(&mut self, address: u64) {
        self.segments.retain(|(start, _)| *start != address);
    }

    fn write(&self, native_id: u64, file: &mut File) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        let mut words = |words: &[u64]| {
            words
                .iter()
                .for_each(|word| bytes.extend(word.to_le_bytes()));
        };
        // Four empty ranges of code.
        words(&[HEAD_AT, CODE_TYPE, 1]);
        words(&[0; 8]);
        let layout = match self.version {
            Version::With311 => OF_3_11,
            Version::With314 => OF_3_14,
        };
        layout
            .iter()
            .for_each(|offset| bytes.extend(offset.to_le_bytes()));
        let head = [native_id, self.known, self.segments.len() as u64];
        head.iter()
            .for_each(|word| bytes.extend(word.to_le_bytes()));
        for (address, segment) in &self.segments {
            bytes.extend(address.to_le_bytes());
            bytes.extend((segment.len() as u64).to_le_bytes());
            bytes.extend(segment);
        }
        file.write_all(&bytes)
    }
}

impl Reader {
    /// Compiles `walk.c`, with a watch over every access.
    pub fn compile() -> Reader {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/walk.c");
        let output = Command::new("cc")
            .args(["-O1", "-g", "-fsanitize=address,undefined"])
            .args(["-fno-sanitize-recover=all", "-Wall", "-Wextra", "-Werror"])
            // Both are meant for clang.
            .args(["-Wno-unknown-pragmas", "-Wno-unused-parameter", "-o"])
            .args([&folder.path().join("walk"), &source])
            .output()
            .expect("cc is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cc: {said}");
        Reader { folder }
    }

    /// Reads the frames of a thread.
    pub fn read(&self, memory: &Memory, native_id: u64) -> Reading {
        let mut input = tempfile::tempfile().expect("a temporary file");
        memory.write(native_id, &mut input).expect("written");
        input.rewind().expect("a regular file");
        let output = Command::new(self.folder.path().join("walk"))
            .stdin(input)
            // What it has at its end need not be given back.
            .env("ASAN_OPTIONS", "detect_leaks=0")
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let mut rest = output.stdout.as_slice();
        let mut word = || {
            let (word, behind) = rest.split_at(8);
            rest = behind;
            u64::from_le_bytes(word.try_into().expect("8 bytes"))
        };
        let (read, n_frames) = (word(), word());
        let frames = (0..n_frames).map(|_| [word(), word()]).collect();
        let n_names = usize::try_from(word()).expect("few");
        let names: Vec<Vec<u8>> = rest.chunks(208).map(<[u8]>::to_vec).collect();
        assert_eq!(names.len(), n_names);
        Reading {
            read,
            frames,
            names,
        }
    }
}
