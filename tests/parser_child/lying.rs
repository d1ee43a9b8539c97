//! A child that is not what it was: doubles that say what no child of ours would.

use perfd::model::Unnamed;
use perfd::parser::{Begin, Names, Source};
use perfd::symbolize::Config;
use perfd::symbolize::jit::JitNames;
use perfd::sys::parcel::Parcels;

use crate::bench::{begin, name_all};

/// Says these messages to each child's perfd, whatever is asked, and then nothing more.
pub fn saying(messages: Vec<Vec<u8>>) -> Source {
    let mut held = Vec::new();
    Source::Double(Box::new(move || {
        let (own, other) = Parcels::pair().expect("a pair");
        let other = Parcels::of(other);
        for message in &messages {
            other.send(message, &[], None).expect("there is room");
        }
        held.push(other);
        own
    }))
}

/// postcard's encoding of `Said::Answer(Answer::Begun)`.
pub const BEGUN: [u8; 2] = [0, 0];

/// Names of two frames of this program, by a child that says so after it has begun.
fn name_by(answer: &[u8]) -> (Begin, Vec<Option<Unnamed>>) {
    let path = std::env::current_exe().expect("ourselves");
    let begin = begin(Config::default());
    let source = saying(vec![BEGUN.to_vec(), answer.to_vec()]);
    let mut names = Names::new(begin.clone(), source, JitNames::default());
    let named = name_all(&mut names, 1, &path, &[0x1000, 0x2000]);
    (begin, named.iter().map(|names| names[0].unnamed).collect())
}

/// `Answer::Named` of these frames, each of one name of that text and kind.
fn named(frames: &[(&str, u8)]) -> Vec<u8> {
    let mut bytes = vec![0, 1, u8::try_from(frames.len()).expect("few")];
    for (text, kind) in frames {
        bytes.extend([1, u8::try_from(text.len()).expect("short")]);
        bytes.extend(text.as_bytes());
        bytes.extend([*kind, 0]);
    }
    // No notes.
    bytes.push(0);
    bytes
}

#[test]
fn a_name_that_is_well_formed_is_taken() {
    let (begin, unnamed) = name_by(&named(&[("a", 0), ("b", 0)]));
    assert_eq!(unnamed, [None, None]);
    assert_eq!(begin.tally.facts().nonsense, 0);
}

#[test]
fn names_that_may_not_be_are_not_taken() {
    let none = {
        // Two frames without a name.
        vec![0, 1, 2, 0, 0, 0]
    };
    for answer in [
        named(&[("a", 0)]),
        named(&[("a", 0), ("b", 0), ("c", 0)]),
        // A kernel function, one of a JIT.
        named(&[("a", 0), ("b", 2)]),
        named(&[("a", 3), ("b", 0)]),
        none,
        // Another answer than to the question, none at all, and no message.
        vec![0, 2, 0],
        vec![0, 3],
        vec![0, 0],
        vec![],
        vec![9; 100],
    ] {
        let (begin, unnamed) = name_by(&answer);
        assert_eq!(unnamed, [Some(Unnamed::ParserFailed); 2], "{answer:?}");
        assert!(begin.tally.facts().nonsense > 0, "{answer:?}");
    }
}

/// `Said::Ask`, the number of the question, and what belongs to it.
fn asking(number: u8, rest: &[u8]) -> Vec<u8> {
    [&[1, number], rest].concat()
}

#[test]
fn what_a_child_may_not_ask_for_ends_it() {
    let path = |path: &str| {
        let mut bytes = vec![u8::try_from(path.len()).expect("short")];
        bytes.extend(path.as_bytes());
        bytes
    };
    for ask in [
        // A process that it was told nothing of.
        asking(0, &[1]),
        asking(1, &[&[1, 1][..], &path("/bin/ls")].concat()),
        // The cache, which there is none of; a key that leads out of it.
        asking(2, &path("ab-1.2.3.4")),
        asking(2, &path("../../etc/passwd")),
        asking(3, &[]),
        asking(4, &[&[5][..], &path("ab-1.2.3.4")].concat()),
        asking(5, &[&path("ab-../../x")[..], &[0]].concat()),
    ] {
        let (begin, unnamed) = name_by(&ask);
        assert_eq!(unnamed, [Some(Unnamed::ParserFailed); 2], "{ask:?}");
        assert!(begin.tally.facts().nonsense > 0, "{ask:?}");
    }
}

#[test]
fn no_file_is_opened_but_those_that_begin_as_elf_files_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "a password").expect("written");
    for (path, is_opened) in [
        (secret.to_str().expect("plain"), false),
        ("/etc/passwd", false),
        ("/proc/self/mem", false),
        ("/dev/null", false),
        ("/bin/ls", true),
    ] {
        let mut bytes = vec![0, u8::try_from(path.len()).expect("short")];
        bytes.extend(path.as_bytes());
        let replies = replies_to(asking(1, &bytes));
        let (reply, n_files) = &replies[2];
        // `Reply::Opened` is the third, `Reply::NotOpened` the fourth.
        assert_eq!(reply[0], if is_opened { 2 } else { 3 }, "{path}");
        assert_eq!(*n_files, usize::from(is_opened), "{path}");
    }
}

/// What perfd says to a child that begins and then asks that: `Begin`, a request, its reply.
fn replies_to(ask: Vec<u8>) -> Vec<(Vec<u8>, usize)> {
    use perfd::sys::parcel::{Bounds, MAX_FILES};
    let (sender, replies) = std::sync::mpsc::channel();
    let source = Source::Double(Box::new(move || {
        let (own, other) = Parcels::pair().expect("a pair");
        let (sender, ask) = (sender.clone(), ask.clone());
        std::thread::spawn(move || {
            let other = Parcels::of(other);
            let bounds = Bounds {
                bytes: 1 << 20,
                files: MAX_FILES,
            };
            for said in [Some(BEGUN.to_vec()), Some(ask), None] {
                let Ok((bytes, files)) = other.receive(bounds, None) else {
                    return;
                };
                // The test may have seen enough.
                let _ = sender.send((bytes, files.len()));
                if let Some(said) = said {
                    let _ = other.send(&said, &[], None);
                }
            }
        });
        own
    }));
    let path = std::env::current_exe().expect("ourselves");
    let mut names = Names::new(begin(Config::default()), source, JitNames::default());
    name_all(&mut names, 1, &path, &[0x1000]);
    drop(names);
    replies.iter().take(3).collect()
}
