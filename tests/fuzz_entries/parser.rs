//! What perfd and its parser say to each other, where one of the two has become an enemy.
//!
//! ```text
//! messages    (flags u8, length u16, bytes) …        flags: bit 0: a file comes along
//! ```

use std::fs::{self, File};
use std::hint::black_box;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use perfd::model::{AddressKind, FileOffset, Frame, ModuleId, MonoNs, Pid, Span};
use perfd::parser::child::{self, Confinement};
use perfd::parser::{Begin, Code, Limits, Names, Pythons, Source, Tables};
use perfd::symbolize::jit::{Codes, JitNames};
use perfd::symbolize::{CacheFolder, Config};
use perfd::sys::parcel::{Bounds, Parcels};
use tempfile::TempDir;

use super::config;
use super::names_cache::program;
use super::split::module_at;

/// Bytes of all messages: what fits into a socket whose other end reads nothing.
const MAX_SAID: usize = 32 << 10;
/// And so many of them, each of which takes some 1 KiB there.
const MAX_MESSAGES: usize = 64;

/// A program with debug information, and a cache.
struct Scene {
    folder: TempDir,
    cache: CacheFolder,
}

thread_local! {
    static SCENE: Scene = Scene::made();
}

impl Scene {
    fn made() -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("program"), program()).expect("written");
        Scene {
            cache: CacheFolder::open(&folder.path().join("cache")).expect("ours"),
            folder,
        }
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("program")
    }

    fn config(&self) -> Config {
        Config {
            cache: Some(self.cache.clone()),
            ..config()
        }
    }
}

/// The messages that bytes are.
fn messages(bytes: &[u8]) -> Vec<(bool, &[u8])> {
    let mut rest = &bytes[..bytes.len().min(MAX_SAID)];
    let mut messages = Vec::new();
    while let [flags, low, high, behind @ ..] = rest
        && messages.len() < MAX_MESSAGES
    {
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(behind.len());
        let (message, behind) = behind.split_at(length);
        messages.push((flags & 1 == 1, message));
        rest = behind;
    }
    messages
}

/// The end of a connection at which this was said, and nothing more will be.
fn saying(first: &[u8], messages: &[(bool, &[u8])], file: &File) -> (Parcels, OwnedFd) {
    let (own, other) = Parcels::pair().expect("a pair");
    let held = other.try_clone().expect("a descriptor");
    let speaker = Parcels::of(other);
    speaker.send(first, &[], None).expect("there is room");
    for (has_file, message) in messages {
        let files = match has_file {
            true => vec![file.as_fd()],
            false => Vec::new(),
        };
        speaker.send(message, &files, None).expect("there is room");
    }
    let stream = UnixStream::from(held);
    stream.shutdown(Shutdown::Write).expect("open");
    (own, stream.into())
}

/// `Answer::Begun`.
const BEGUN: [u8; 2] = [0, 0];

/// A child that says what it likes.
pub fn parser_answers(bytes: &[u8]) {
    SCENE.with(|scene| {
        let path = scene.program();
        let file = File::open(&path).expect("there");
        let begin = Begin {
            limits: Limits {
                time: Duration::from_secs(5),
                ..Limits::default()
            },
            config: scene.config(),
            tally: Arc::default(),
        };
        let source = || {
            let (said, file) = (bytes.to_vec(), file.try_clone().expect("a descriptor"));
            let mut held = Vec::new();
            Source::Double(Box::new(move || {
                let (own, other) = saying(&BEGUN, &messages(&said), &file);
                held.push(other);
                own
            }))
        };
        let module = module_at(&path);
        let frame = |offset| Frame {
            module: ModuleId(1),
            kind: AddressKind::Interrupted,
            offset: FileOffset(offset),
        };
        let mut names = Names::new(begin.clone(), source(), JitNames::default());
        names.prepare([0, 0x40].map(|offset| (frame(offset), &module)).into_iter());
        for offset in [0, 0x40] {
            assert!(!names.name(&module, frame(offset)).is_empty());
        }
        black_box(names.notes());
        names.finish();
        black_box(Tables::new(begin.clone(), source()).table(&module));
        black_box(Pythons::new(begin.clone(), source()).look(&module));
        let code = Code::new(begin, source());
        let pid = Pid(std::process::id());
        code.watch(pid, Some((0, 4096)));
        code.began_anew(pid, MonoNs(1));
        black_box(code.read(&[pid]));
        let asked = [(pid, 7, Span::ALWAYS); 2];
        assert_eq!(code.names(&asked).len(), asked.len());
        assert!(code.facts().len() <= 1);
    });
}

/// `Request::Begin`: 256 MiB, 64 files of 1 MiB, a second; 16 MiB for names, 1 MiB ready, with a cache.
const BEGIN: [u8; 26] = [
    0, 0x80, 0x80, 0x80, 0x80, 1, 0x40, 0x80, 0x80, 0x40, 1, 0, 0, 0, 0, 0, 0, 0x80, 0x80, 0x80, 8,
    0x80, 0x80, 0x40, 1, 0,
];

/// A perfd that asks what it likes, and replies so too.
pub fn parser_requests(bytes: &[u8]) {
    SCENE.with(|scene| {
        let file = File::open(scene.program()).expect("there");
        let (own, held) = saying(&BEGIN, &messages(bytes), &file);
        let _ = black_box(child::serve(own, Confinement::Free));
        let bounds = Bounds { bytes: 2, files: 0 };
        let (first, _) = Parcels::of(held).receive(bounds, None).expect("it began");
        assert_eq!(first, BEGUN);
    });
}
