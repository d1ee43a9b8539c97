//! `bpf/python.h` on memory that is right, wrong and hostile: what it reads, and that it always ends.

use crate::memory::{Memory, Reader, Reading, Version};

const WHOLE: u64 = 1;
const CUT: u64 = 2;
const NO_THREAD: u64 = 3;
const NOT_IN_MEMORY: u64 = 4;
const BAD_OBJECT: u64 = 5;
const NOT_MATCHING: u64 = 6;

const INTERPRETER: u64 = 0x1_0000;
const THREAD: u64 = 0x2_0000;
/// What lies on the thread's own stack.
const STACK: u64 = 0x7000_0000;
const FRAMES: u64 = 0x10_0000;
const CODE: u64 = 0x100_0000;
const TID: u64 = 42;

/// Which frames there are, by the name of their code, and where calls begin (`|`).
fn shape(reading: &Reading) -> String {
    let mut shape = String::new();
    let mut keys: Vec<[u64; 2]> = Vec::new();
    for [first, second] in &reading.frames {
        let key = [*first, second & !1];
        if key != [0, 0] {
            let known = keys.iter().position(|known| *known == key);
            let at = known.unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            });
            // Names are kept in the order in which they are met; one that is met twice in a row is kept once.
            shape.push(char::from(b'a' + u8::try_from(at).expect("few")));
        }
        if second & 1 == 1 {
            shape.push('|');
        }
    }
    shape
}

/// One thread in 3.14: `outer` calls `inner`, which C calls from `leaf`'s caller.
fn simple() -> Memory {
    let mut memory = Memory::new(Version::With314, INTERPRETER);
    memory.interpreter(INTERPRETER, 0, THREAD + 0x1000);
    memory.thread(THREAD + 0x1000, THREAD, 7, 0);
    memory.thread(THREAD, 0, TID, FRAMES);
    memory.code(CODE, b"A.leaf", b"/srv/app.py", 12);
    memory.code(CODE + 0x1_0000, b"outer", b"/srv/app.py", 3);
    memory.frame(FRAMES, CODE | 1, STACK, 0, 0);
    memory.frame(STACK, 0, FRAMES + 0x100, 3, 0);
    memory.frame(FRAMES + 0x100, CODE + 0x1_0000, FRAMES + 0x200, 1, 0);
    memory.frame(FRAMES + 0x200, CODE + 0x1_0000, STACK + 0x100, 0, 0);
    memory.frame(STACK + 0x100, 0, 0, 3, 0);
    memory
}

fn check(reader: &Reader, memory: &Memory, read: u64, frames: &str) {
    let reading = reader.read(memory, TID);
    assert_eq!((reading.read, shape(&reading).as_str()), (read, frames));
}

#[test]
fn frames_are_read_with_their_calls_and_names() {
    let reader = Reader::compile();
    let memory = simple();
    check(&reader, &memory, WHOLE, "a|bb|");
    let names = reader.read(&memory, TID).names;
    assert_eq!(names.len(), 2, "the second `outer` is the first one's code");
    let (head, texts) = names[0].split_at(16);
    assert_eq!(head[..12], [12, 0, 0, 0, 6, 0, 0, 0, 11, 0, 0, 0]);
    assert_eq!(texts[..8], *b"A.leaf\0\0");
    assert_eq!(texts[128..140], *b"/srv/app.py\0");
}

#[test]
fn a_thread_is_found_by_its_number_wherever_it_was_before() {
    let reader = Reader::compile();
    let mut memory = simple();
    for known in [THREAD, THREAD + 0x1000, 0xdead_0000] {
        memory.known = known;
        check(&reader, &memory, WHOLE, "a|bb|");
    }
    let nobody = reader.read(&memory, 43);
    assert_eq!((nobody.read, nobody.frames.len()), (NO_THREAD, 0));
    memory.remove(THREAD + 0x1000);
    memory.known = 0;
    check(&reader, &memory, NOT_IN_MEMORY, "");
}

#[test]
fn version_3_11_marks_where_calls_begin() {
    let reader = Reader::compile();
    let mut memory = Memory::new(Version::With311, INTERPRETER);
    memory.interpreter(INTERPRETER, 0, THREAD);
    memory.thread(THREAD, 0, TID, STACK);
    memory.words(STACK, &[0, FRAMES]);
    memory.code(CODE, b"f", b"f.py", 1);
    memory.code(CODE + 0x1_0000, b"g", b"f.py", 2);
    memory.frame(FRAMES, CODE, FRAMES + 0x100, 0, 0);
    memory.frame(FRAMES + 0x100, CODE + 0x1_0000, FRAMES + 0x200, 0, 1);
    memory.frame(FRAMES + 0x200, CODE, 0, 0, 1);
    check(&reader, &memory, WHOLE, "ab|a|");
}

#[test]
fn interpreters_that_call_each_other_are_read_in_the_order_of_calls() {
    let reader = Reader::compile();
    for (inner, expected, frames) in [
        (STACK - 0x1000, WHOLE, "a|b|cc|"),
        (STACK + 0x50, NOT_MATCHING, ""),
    ] {
        let mut memory = simple();
        memory.remove(0x100);
        memory.words(0x100, &[INTERPRETER + 0x1000]);
        memory.interpreter(INTERPRETER + 0x1000, INTERPRETER, THREAD + 0x5000);
        memory.thread(THREAD + 0x5000, 0, TID, FRAMES + 0x800);
        memory.code(CODE + 0x2_0000, b"called", b"x", 1);
        memory.frame(FRAMES + 0x800, CODE + 0x2_0000, inner, 0, 0);
        memory.frame(inner, 0, 0, 3, 0);
        check(&reader, &memory, expected, frames);
    }
}

#[test]
fn a_call_without_frames_is_one_and_the_frame_at_the_root_of_all_is_none() {
    let reader = Reader::compile();
    let mut memory = simple();
    memory.remove(THREAD);
    memory.thread(THREAD, 0, TID, STACK);
    check(&reader, &memory, WHOLE, "|aa|");
    // As in 3.14, in the thread state.
    memory.remove(STACK + 0x100);
    memory.frame(STACK + 0x100, 0, THREAD + 0x800, 3, 0);
    memory.frame(THREAD + 0x800, 0, 0, 3, 0);
    check(&reader, &memory, WHOLE, "|aa|");
}

#[test]
fn lists_without_an_end_are_left() {
    let reader = Reader::compile();
    let mut memory = simple();
    memory.remove(FRAMES + 0x200);
    memory.frame(FRAMES + 0x200, CODE, FRAMES + 0x200, 0, 0);
    let reading = reader.read(&memory, TID);
    assert_eq!((reading.read, reading.frames.len()), (CUT, 1024));
    let mut memory = simple();
    memory.remove(THREAD);
    memory.thread(THREAD, THREAD + 0x1000, 8, 0);
    check(&reader, &memory, NO_THREAD, "");
    let mut memory = simple();
    memory.remove(FRAMES);
    memory.frame(FRAMES, 0, FRAMES, 3, 0);
    check(&reader, &memory, NOT_MATCHING, "");
}

#[test]
fn what_is_no_code_or_no_string_gives_no_frames_at_all() {
    let reader = Reader::compile();
    let mut memory = simple();
    memory.remove(CODE + 0x1_0000);
    memory.words(CODE + 0x1_0000, &[0; 20]);
    check(&reader, &memory, BAD_OBJECT, "");
    for state in [0, 1 << 5 | 3 << 2, 1 << 2] {
        let mut memory = simple();
        memory.remove(CODE + 0x1000);
        memory.words(CODE + 0x1000, &[0, 0, 5, 0, state, 0, 0, 0, 0, 0]);
        check(&reader, &memory, BAD_OBJECT, "");
    }
    let mut memory = simple();
    memory.remove(CODE + 0x1000);
    memory.words(CODE + 0x1000, &[0, 0, 1 << 40, 0, 1 << 5 | 1 << 2, 0, 0, 0]);
    check(&reader, &memory, BAD_OBJECT, "");
    for gone in [CODE, CODE + 0x1000, CODE + 0x2000, FRAMES + 0x200, STACK] {
        let mut memory = simple();
        memory.remove(gone);
        check(&reader, &memory, NOT_IN_MEMORY, "");
    }
}

#[test]
fn of_long_texts_the_beginning_of_the_name_and_the_end_of_the_path_are_read() {
    let reader = Reader::compile();
    let mut memory = simple();
    let name: Vec<u8> = (0..200u8).collect();
    memory.remove(CODE + 0x1000);
    memory.remove(CODE + 0x2000);
    memory.string(CODE + 0x1000, &name, 2, false);
    memory.string(CODE + 0x2000, &name, 1, true);
    let names = reader.read(&memory, TID).names;
    let (head, texts) = names[0].split_at(16);
    assert_eq!(head[4..16], [100, 0, 0, 0, 200, 0, 0, 0, 2, 0, 1, 0]);
    assert_eq!(texts[..128], name[..128]);
    assert_eq!(texts[128..], name[136..]);
}

#[test]
fn other_texts_make_other_frames() {
    let reader = Reader::compile();
    let first = |qualname: &[u8], file: &[u8], line| {
        let mut memory = simple();
        for offset in [0, 0x1000, 0x2000] {
            memory.remove(CODE + offset);
        }
        memory.code(CODE, qualname, file, line);
        reader.read(&memory, TID).frames[0]
    };
    let one = first(b"f", b"x.py", 1);
    assert_eq!(one, first(b"f", b"x.py", 1));
    for other in [
        first(b"g", b"x.py", 1),
        first(b"f", b"y.py", 1),
        first(b"f", b"x.py", 2),
        first(b"f\0", b"x.py", 1),
    ] {
        assert_ne!(one, other);
    }
}

#[test]
fn memory_that_points_anywhere_is_read_to_some_end() {
    let reader = Reader::compile();
    let mut random = 1u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let mut outcomes = std::collections::BTreeSet::new();
    for round in 0..60 {
        let mut memory = Memory::new([Version::With311, Version::With314][round % 2], INTERPRETER);
        let places: Vec<u64> = (0..24).map(|at| INTERPRETER + at * 0x400).collect();
        for place in &places {
            let words: Vec<u64> = (0..128)
                .map(|_| match next() % 8 {
                    0 => next(),
                    1 => TID,
                    2 => 0x7e00,
                    3 => next() & 0xff,
                    _ => places[usize::try_from(next() % 24).expect("few")] + (next() % 16) * 8,
                })
                .collect();
            memory.words(*place, &words);
        }
        outcomes.insert(reader.read(&memory, TID).read);
    }
    assert!(outcomes.len() >= 3, "{outcomes:?}");
}
