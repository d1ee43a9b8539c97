//! Files that runtimes write for profilers, read under the root of a made-up process.

use std::fs;
use std::hint::black_box;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use perfd::model::{
    AddressKind, FileOffset, Frame, Module, ModuleId, ModuleKind, MonoNs, Pid, Span,
};
use perfd::symbolize::jit::{Jit, JitNames};
use tempfile::TempDir;

const PID: Pid = Pid(7);

/// A folder in which `/proc/7` and the root of process 7 are, which is 3 in its namespace.
struct Process(TempDir);

thread_local! {
    static PROCESS: Process = Process::made();
}

impl Process {
    fn made() -> Process {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().join("root");
        let process = folder.path().join("7");
        fs::create_dir_all(root.join("tmp")).expect("made");
        fs::create_dir(&process).expect("made");
        symlink(&root, process.join("root")).expect("made");
        let user = fs::metadata(&root).expect("made").uid();
        let status = format!("Name:\tx\nState:\tS\nUid:\t{user}\t{user}\t1\t1\nNSpid:\t7\t3\n");
        fs::write(process.join("status"), status).expect("written");
        fs::write(folder.path().join("uptime"), "1000.50 0.0\n").expect("written");
        let zeros = "0 ".repeat(18);
        fs::write(process.join("stat"), format!("7 (x) S {zeros}100 0\n")).expect("written");
        Process(folder)
    }

    fn temporary(&self, name: &str) -> PathBuf {
        self.0.path().join("root/tmp").join(name)
    }

    /// Nobody who looks after the process has looked yet.
    fn jit(&self) -> Jit {
        Jit::new(self.0.path())
    }
}

/// Names of some code, at all times and at some.
fn ask(jit: Jit) {
    let jit = Arc::new(jit);
    black_box(jit.facts());
    let mut names = JitNames::new(jit.clone());
    let module = Module {
        kind: ModuleKind::Anonymous { pid: PID, epoch: 0 },
        path: PathBuf::from("[anon]"),
        seen_in: None,
    };
    for span in [
        Span::ALWAYS,
        Span::at(MonoNs(5)),
        Span::at(MonoNs(u64::MAX)),
    ] {
        names.sampled([(ModuleId(1), span)]);
        for offset in [0, 0x10, 0x1008, 0x2000, 0x7fff_f000, u64::MAX] {
            let frame = Frame {
                module: ModuleId(1),
                kind: AddressKind::Interrupted,
                offset: FileOffset(offset),
            };
            assert!(!names.name(&module, frame).text.is_empty());
        }
    }
}

/// `perf-PID.map`, of which half is there at first.
pub fn perf_map(bytes: &[u8]) {
    PROCESS.with(|process| {
        let path = process.temporary("perf-3.map");
        fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        let jit = process.jit();
        jit.watch(PID, Some((0x1000, 0x3000)));
        fs::write(&path, bytes).expect("written");
        black_box(jit.read(&[PID]));
        fs::remove_file(&path).expect("removed");
        ask(jit);
    });
}

/// A jitdump, of which half is there at first.
pub fn jitdump(bytes: &[u8]) {
    PROCESS.with(|process| {
        let path = process.temporary("jit-3.dump");
        fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
        let found = fs::metadata(&path).expect("there");
        let module = Module {
            kind: ModuleKind::File {
                dev: found.dev(),
                inode: found.ino(),
            },
            path: path.clone(),
            seen_in: None,
        };
        let jit = process.jit();
        jit.watch(PID, Some((0x1000, 0x3000)));
        jit.add_dump(PID, &module);
        fs::write(&path, bytes).expect("written");
        black_box(jit.read(&[PID]));
        fs::remove_file(&path).expect("removed");
        ask(jit);
    });
}

/// What a runtime says of its guards and caches (`perfd-jit-v1`).
pub fn jit_report(bytes: &[u8]) {
    PROCESS.with(|process| {
        let path = process.temporary("perfd-jit-3.txt");
        fs::write(&path, bytes).expect("written");
        let jit = process.jit();
        jit.watch(PID, None);
        jit.read_all();
        fs::remove_file(&path).expect("removed");
        black_box(jit.facts());
    });
}
