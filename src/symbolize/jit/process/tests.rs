//! Files that grow, are cut off and are replaced, of a made-up process.

use std::cell::Cell;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::*;
use crate::model::Pid;
use crate::procfs::jit_file::ProcessRoot;

struct Scene {
    folder: tempfile::TempDir,
    process: Process,
    /// Goes on by 10 with every look.
    clock: Cell<u64>,
}

impl Scene {
    fn new() -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path();
        fs::create_dir_all(path.join("root/tmp")).expect("made");
        fs::create_dir(path.join("7")).expect("made");
        symlink(path.join("root"), path.join("7/root")).expect("made");
        let user = nix::unistd::geteuid();
        let status = format!("Name:\tx\nState:\tS\nUid:\t1\t{user}\t1\t1\nNSpid:\t7\t3\n");
        fs::write(path.join("7/status"), status).expect("written");
        fs::write(path.join("uptime"), "1000.50 0.0\n").expect("written");
        let began = format!("7 (x) S {}90000 0\n", "0 ".repeat(18));
        fs::write(path.join("7/stat"), began).expect("written");
        let root = ProcessRoot::open(path, Pid(7)).expect("opened");
        Scene {
            process: Process::new(Some(Box::new(root)), MonoNs(0)),
            clock: Cell::new(0),
            folder,
        }
    }

    fn map(&self) -> PathBuf {
        self.folder.path().join("root/tmp/perf-3.map")
    }

    fn append(&self, text: &str) {
        append(&self.map(), text.as_bytes());
    }

    fn read(&mut self) {
        let clock = &self.clock;
        self.process.read(&|| {
            clock.set(clock.get() + 10);
            MonoNs(clock.get())
        });
    }

    /// The name at `address` of what is sampled from now on.
    fn name(&self, address: u64) -> Result<String, Unnamed> {
        self.name_in(address, self.clock.get() + 1)
    }

    fn name_in(&self, address: u64, time: u64) -> Result<String, Unnamed> {
        let name = self.process.name(address, Span::at(MonoNs(time)));
        name.map(|name| name.to_string())
    }

    fn has_changed(&mut self) -> bool {
        let now = MonoNs(self.clock.get());
        self.process.take_changed(now).is_some()
    }
}

fn append(path: &Path, bytes: &[u8]) {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(bytes))
        .expect("written");
}

fn named(name: &str) -> Result<String, Unnamed> {
    Ok(name.to_owned())
}

#[test]
fn a_map_is_read_on_from_where_it_ended() {
    let mut scene = Scene::new();
    scene.read();
    assert_eq!(scene.name(0x100), Err(Unnamed::Anonymous));
    scene.append("100 10 first\n200 10 sec");
    scene.read();
    assert_eq!(scene.name(0x105), named("first"));
    assert_eq!(scene.name(0x200), Err(Unnamed::NotCovered));
    scene.append("ond\n100 10 third\n");
    let before = scene.clock.get();
    scene.read();
    assert_eq!(
        (scene.name(0x100), scene.name(0x20f)),
        (named("third"), named("second"))
    );
    assert_eq!(scene.name_in(0x100, before - 15), named("first"));
    assert_eq!(
        scene.name_in(0x100, before + 15),
        Err(Unnamed::CodeReplaced)
    );
    assert!(scene.has_changed() && !scene.has_changed());
}

#[test]
fn a_map_that_is_cut_off_or_replaced_is_read_anew() {
    let mut scene = Scene::new();
    scene.append("100 10 first\n200 10 second\n");
    scene.read();
    fs::write(scene.map(), "100 10 other\n").expect("cut off, and written anew");
    scene.read();
    assert_eq!(scene.name(0x100), named("other"));
    assert_eq!(scene.name(0x200), Err(Unnamed::NotCovered));
    let new = scene.folder.path().join("root/tmp/new");
    fs::write(&new, "100 10 other\n300 10 third\n400 10 fourth\n").expect("written");
    fs::rename(new, scene.map()).expect("renamed");
    scene.has_changed();
    scene.read();
    assert_eq!(
        (scene.name(0x100), scene.name(0x300)),
        (named("other"), named("third"))
    );
    assert!(
        !scene.has_changed(),
        "nothing has taken the place of another thing"
    );
}

#[test]
fn what_an_earlier_process_left_is_not_believed_when_the_runtime_writes_on_behind_it() {
    let long_ago = std::time::UNIX_EPOCH;
    for is_overwritten in [false, true] {
        let mut scene = Scene::new();
        scene.append("100 10 old\n");
        let file = OpenOptions::new()
            .append(true)
            .open(scene.map())
            .expect("opened");
        file.set_modified(long_ago).expect("set");
        scene.read();
        assert_eq!(scene.name(0x100), Err(Unnamed::JitFileRefused));
        assert_eq!(scene.process.notes().len(), 1);
        if is_overwritten {
            fs::write(scene.map(), "100 10 own\n").expect("written");
        }
        scene.append("200 10 new\n");
        scene.read();
        let expected = match is_overwritten {
            true => named("own"),
            false => Err(Unnamed::NotCovered),
        };
        assert_eq!(
            (scene.name(0x100), scene.name(0x200)),
            (expected, named("new"))
        );
        assert!(scene.process.notes().is_empty());
    }
}

#[test]
fn a_file_that_becomes_one_that_is_not_believed_gives_no_more_names() {
    let mut scene = Scene::new();
    scene.append("100 10 first\n");
    scene.read();
    let before = scene.clock.get();
    fs::remove_file(scene.map()).expect("removed");
    symlink("/etc/passwd", scene.map()).expect("made");
    scene.read();
    assert_eq!(scene.name(0x100), Err(Unnamed::JitFileRefused));
    assert_eq!(scene.name_in(0x100, before), named("first"));
}

#[test]
fn what_was_written_before_the_end_of_a_process_is_read_after_it() {
    let mut scene = Scene::new();
    scene.append("100 10 first\n");
    scene.read();
    scene.append("200 10 last\n");
    fs::remove_dir_all(scene.folder.path().join("7")).expect("it ends");
    scene.read();
    assert_eq!(
        (scene.name(0x100), scene.name(0x200)),
        (named("first"), named("last"))
    );
    scene.append("100 10 late\n");
    scene.read();
    assert_eq!(scene.name(0x100), named("first"), "another process's");
}

#[test]
fn another_program_in_the_same_process_has_none_of_its_names() {
    let mut scene = Scene::new();
    scene.append("100 10 first\n");
    scene.read();
    scene.append("200 10 unread\n");
    let at = scene.clock.get() + 5;
    scene.process.began_anew(None, MonoNs(at));
    scene.append("300 10 new\n");
    scene.read();
    assert_eq!(scene.name_in(0x100, at - 1), named("first"));
    for (address, expected) in [
        (0x100, Err(Unnamed::NotCovered)),
        (0x200, Err(Unnamed::NotCovered)),
        (0x300, named("new")),
    ] {
        assert_eq!(scene.name(address), expected, "{address:x}");
    }
}

fn a_dump(records: &[(u32, u64, Vec<u64>, &str)]) -> Vec<u8> {
    let words = |words: &[u64]| {
        words
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let halves = |low: u64, high: u64| low | high << 32;
    let mut bytes = words(&[halves(0x4a69_5444, 1), halves(40, 62), halves(0, 3), 0, 0]);
    for (kind, time, numbers, name) in records {
        let mut content = words(numbers);
        if *kind == 0 {
            content.extend_from_slice(name.as_bytes());
            content.push(0);
            content.extend(std::iter::repeat_n(0x90, 5000));
        }
        let size = 16 + content.len() as u64;
        bytes.extend(words(&[halves(u64::from(*kind), size), *time]));
        bytes.extend(content);
    }
    bytes
}

#[test]
fn a_dump_gives_names_by_its_own_times_however_it_is_cut() {
    let pid = 3 | 3 << 32;
    let load = |time, start: u64, name| (0, time, vec![pid, start, start, 16, 0], name);
    let bytes = a_dump(&[
        load(100_000, 0x1000, "first"),
        load(100_001, 0x3000, "stays"),
        load(200_000, 0x1000, "second"),
        (1, 300_000, vec![pid, 0, 0x1000, 0x2000, 16, 0], ""),
        (2, 300_001, vec![0; 9], ""),
        (3, 300_002, Vec::new(), ""),
    ]);
    for n_pieces in [1, 2, 3, 7, 50] {
        let mut scene = Scene::new();
        // Its times are in the past.
        scene.clock.set(1_000_000);
        let path = scene.folder.path().join("root/jit-3.dump");
        fs::write(&path, []).expect("written");
        scene
            .process
            .add_dump(Ok(File::open(&path).expect("opened")));
        for piece in bytes.chunks(bytes.len().div_ceil(n_pieces)) {
            append(&path, piece);
            scene.read();
        }
        assert!(
            scene.process.notes().is_empty(),
            "{:?}",
            scene.process.notes()
        );
        for (address, time, expected) in [
            (0x1008, 150_000, named("first")),
            (0x1008, 200_000, Err(Unnamed::CodeReplaced)),
            (0x1008, 250_000, named("second")),
            (0x1008, 350_000, Err(Unnamed::NotCovered)),
            (0x2008, 350_000, named("second")),
            (0x3008, 350_000, named("stays")),
            (0x3010, 350_000, Err(Unnamed::NotCovered)),
        ] {
            assert_eq!(
                scene.name_in(address, time),
                expected,
                "{address:x} at {time}, {n_pieces} pieces"
            );
        }
    }
}

#[test]
fn a_dump_that_is_no_dump_gives_no_names() {
    for bytes in [
        vec![0xff; 100],
        a_dump(&[(0, 1, vec![9, 0, 0, 1, 0], "x")]),
        a_dump(&[(1, 1, vec![], "")]),
    ] {
        let mut scene = Scene::new();
        let path = scene.folder.path().join("root/jit-3.dump");
        fs::write(&path, &bytes).expect("written");
        scene
            .process
            .add_dump(Ok(File::open(&path).expect("opened")));
        scene.read();
        scene.read();
        assert_eq!(scene.process.notes().len(), 1, "{bytes:x?}");
        assert_eq!(scene.name(0x100), Err(Unnamed::JitFileRefused));
    }
}
