//! A process that writes windows is killed a thousand times, at any of its operations and in the middle of them.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use perfd::store::{Disk, Entry, Limits, Names, NewFile, RealDisk, Store};

use super::windows::{decoded, end_of, files, is_hidden, labels, samples, window};

/// This test, by itself and without a kill; the others start it as their child.
const CHILD: &str = "kill::a_store_that_is_not_killed_keeps_everything";
const ROOT: &str = "PERFD_TEST_STORE";
const KILL_AT: &str = "PERFD_TEST_KILL_AT";
const NAMES: &str = "PERFD_TEST_NAMES";
const N_WINDOWS: u64 = 12;

/// Small files, and few of them.
const LIMITS: Limits = Limits {
    window: Duration::from_secs(20),
    max_bytes: 1 << 20,
    memory: 1 << 20,
    keep_for: Duration::from_secs(1 << 30),
    keep_bytes: 200 << 10,
};

/// A disk that ends its process at some operation; every operation is told on standard output.
struct Deadly {
    disk: RealDisk,
    left: Arc<AtomicU64>,
}

/// Whether the process is to end now.
fn is_last(left: &AtomicU64) -> bool {
    // Whoever has started this may not listen.
    let _ = writeln!(io::stdout(), "operation");
    left.fetch_sub(1, Ordering::Relaxed) == 1
}

fn die() {
    let _ = raise(Signal::SIGKILL);
}

impl Deadly {
    fn operation(&self) {
        if is_last(&self.left) {
            die();
        }
    }
}

impl Disk for Deadly {
    fn folders(&mut self) -> io::Result<Vec<String>> {
        self.operation();
        self.disk.folders()
    }

    fn files(&mut self, folder: &str) -> io::Result<Vec<Entry>> {
        self.operation();
        self.disk.files(folder)
    }

    fn make_folder(&mut self, folder: &str) -> io::Result<()> {
        self.operation();
        self.disk.make_folder(folder)
    }

    fn create(&mut self, folder: &str) -> io::Result<Box<dyn NewFile>> {
        self.operation();
        Ok(Box::new(DeadlyFile {
            file: self.disk.create(folder)?,
            left: self.left.clone(),
        }))
    }

    fn remove(&mut self, folder: &str, name: &str) -> io::Result<()> {
        self.operation();
        self.disk.remove(folder, name)
    }

    fn remove_folder(&mut self, folder: &str) -> io::Result<()> {
        self.operation();
        self.disk.remove_folder(folder)
    }
}

struct DeadlyFile {
    file: Box<dyn NewFile>,
    left: Arc<AtomicU64>,
}

impl Write for DeadlyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A little at a time, so that there are many places to die at.
        let bytes = &bytes[..bytes.len().min(50)];
        if is_last(&self.left) {
            let _ = self.file.write(&bytes[..bytes.len() / 2]);
            die();
        }
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl NewFile for DeadlyFile {
    fn publish(&mut self, name: &str) -> io::Result<()> {
        if is_last(&self.left) {
            die();
        }
        let published = self.file.publish(name);
        if is_last(&self.left) {
            die();
        }
        published
    }
}

fn names_of(text: &str) -> Names {
    match text {
        "hidden" => Names::Hidden,
        _ => Names::NoneYet,
    }
}

#[test]
fn a_store_that_is_not_killed_keeps_everything() {
    let own = tempfile::tempdir().expect("a folder");
    let root = std::env::var_os(ROOT).map_or(own.path().to_owned(), PathBuf::from);
    let kill_at = std::env::var(KILL_AT)
        .ok()
        .and_then(|text| text.parse().ok());
    let names = names_of(&std::env::var(NAMES).unwrap_or_default());
    let disk = Deadly {
        disk: RealDisk::open(&root, names).expect("a folder"),
        left: Arc::new(AtomicU64::new(kill_at.unwrap_or(u64::MAX))),
    };
    let mut store = Store::on(Box::new(disk), LIMITS).expect("a store");
    for nth in 0..N_WINDOWS {
        for target in ["a", "b/c"] {
            let done = store.add(&window(nth, nth + 1), &labels(target), end_of(nth));
            assert!(done.failed.is_empty(), "{done:?}");
        }
    }
    assert!(store.flush().failed.is_empty());
    drop(store);
    if kill_at.is_none() {
        let paths = files(&root);
        assert_eq!(paths.len(), 12);
        assert_eq!(samples(&paths), (2 * N_WINDOWS * (N_WINDOWS + 1) / 2, 0));
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

fn child(root: &Path, names: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this test"));
    command
        .args(["--exact", CHILD, "--nocapture"])
        .env(ROOT, root)
        .env(NAMES, names)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Every file that has its name is whole; returns how many have none yet.
fn check(root: &Path, known: &mut HashSet<PathBuf>) -> usize {
    let (hidden, named): (Vec<PathBuf>, Vec<PathBuf>) =
        files(root).into_iter().partition(|path| is_hidden(path));
    for path in &named {
        if known.insert(path.clone()) {
            let account = &decoded(path).profile.ledger.events[0];
            assert_eq!(account.unexplained(), Some(0), "{}", path.display());
        }
    }
    hidden.len()
}

/// The folder after all that: it opens, what was left is gone, and it goes on.
fn goes_on(root: &Path) {
    let mut store = Store::open(root, LIMITS).expect("it opens");
    let paths = files(root);
    assert!(!paths.is_empty() && !paths.iter().any(|path| is_hidden(path)));
    samples(&paths);
    store.add(&window(50, 1), &labels("z"), end_of(50));
    assert_eq!(store.flush().written, 1);
}

/// Kills a child at an operation of its own choice, `times` times in one folder; returns how often a file was left.
fn kill_at_operations(names: &str, times: u64) -> usize {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = Random(0x853c_49e6_748f_ea9b);
    let (mut known, mut n_left) = (HashSet::new(), 0);
    for nth in 0..times {
        // A whole life has more than 200.
        let kill_at = 1 + random.below(200);
        let status = child(folder.path(), names)
            .env(KILL_AT, kill_at.to_string())
            .status()
            .expect("it starts");
        assert_eq!(
            status.signal(),
            Some(9),
            "{nth}: killed at operation {kill_at}"
        );
        n_left += check(folder.path(), &mut known);
    }
    goes_on(folder.path());
    n_left
}

#[test]
fn killed_400_times_where_files_have_no_name_until_they_are_whole() {
    assert_eq!(kill_at_operations("none", 400), 0);
}

#[test]
fn killed_400_times_where_files_are_hidden_until_they_are_whole() {
    let n_left = kill_at_operations("hidden", 400);
    assert!(n_left > 20, "{n_left}: most were killed while they wrote");
}

#[test]
fn killed_200_times_by_somebody_else_while_it_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut random = Random(0xda3e_39cb_94b9_5bdb);
    let mut known = HashSet::new();
    for nth in 0..200 {
        let names = ["none", "hidden"][usize::from(nth % 2 == 1)];
        let mut child = child(folder.path(), names)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let told = BufReader::new(child.stdout.take().expect("piped"));
        let wait_for = usize::try_from(random.below(200)).expect("small");
        // It goes on while it is told, and dies wherever it has come to.
        let _ = told.lines().nth(wait_for);
        child.kill().expect("it is there");
        child.wait().expect("it ends");
        check(folder.path(), &mut known);
    }
    goes_on(folder.path());
}
