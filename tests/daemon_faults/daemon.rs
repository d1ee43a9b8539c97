//! A daemon of a test's own, and what must hold of it whatever has happened.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::{Value, json};

use super::client::{Client, PATIENCE};
use super::support::{perfd, skip};

/// A running daemon; it is killed when this is dropped.
pub struct Daemon {
    process: Child,
    folder: tempfile::TempDir,
}

/// How a daemon is started.
#[derive(Default)]
pub struct Circumstances<'a> {
    /// What stands in front of its command: `prlimit --nofile=64`.
    pub through: &'a [&'a str],
    /// What is added to its configuration.
    pub config: &'a str,
}

/// What a daemon takes, which does not grow with what it has been through.
#[derive(Debug, PartialEq, PartialOrd)]
pub struct Taken {
    open_files: u64,
    threads: u64,
    ring_bytes: u64,
    bpf_map_bytes: u64,
    targets: u64,
    clients: u64,
}

impl Daemon {
    /// One whose windows are short; `None`, with a word why, where there can be none.
    pub fn start(circumstances: &Circumstances) -> Option<Daemon> {
        if !Uid::effective().is_root() {
            skip("a daemon that may profile what it is asked for needs root");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("state")).expect("a folder");
        let process = started(folder.path(), circumstances);
        Some(Daemon { process, folder })
    }

    /// Starts it anew in the same folder, after it has ended.
    pub fn restart(&mut self, circumstances: &Circumstances) {
        let _ = self.process.wait();
        self.process = started(self.folder.path(), circumstances);
    }

    /// A connection to it.
    pub fn client(&self) -> Client {
        let connected = Client::connect(&self.socket());
        connected.unwrap_or_else(|error| panic!("no connection: {error}\n{}", self.log()))
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("control.sock")
    }

    /// Its state folder, as it is named in all mount namespaces.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// A folder of the test's.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.process.id().try_into().expect("a pid"))
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it lives");
    }

    pub fn log(&self) -> String {
        log(self.folder.path())
    }

    /// Ends it in good order.
    pub fn end(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.process.wait().expect("its end");
        assert!(status.success(), "{status}\n{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The one client that is there all the time. It tails a target that only waits, by whose windows it knows that time passes.
pub struct Keeper {
    client: Client,
    target: u64,
    target_process: Child,
    base: Taken,
}

impl Keeper {
    /// To be made when the daemon has done each thing once that leaves something behind (a parser that waits for more).
    pub fn of(daemon: &Daemon) -> Keeper {
        let target_process = Command::new("sleep")
            .arg("infinity")
            .spawn()
            .expect("sleep");
        let mut client = daemon.client();
        let target = client.attach(target_process.id());
        client.done(json!({"do": "tail", "target": target, "format": "json"}));
        client.event(target);
        let base = taken(&client.done(json!({"do": "stats"})));
        Keeper {
            client,
            target,
            target_process,
            base,
        }
    }

    /// The daemon's figures, when a window has passed.
    pub fn next_stats(&mut self) -> Value {
        let event = self.client.event(self.target);
        assert!(event.get("window").is_some(), "{event}");
        self.client.done(json!({"do": "stats"}))
    }

    /// Waits until the daemon takes no more than in the beginning, and looks at its accounts.
    pub fn finds_all_as_it_was(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let stats = self.next_stats();
            accounts_add_up(&stats);
            let taken = taken(&stats);
            if taken.is_within(&self.base) {
                return;
            }
            assert!(
                Instant::now() < until,
                "{taken:?} instead of {:?}: {stats:#}",
                self.base
            );
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let _ = self.target_process.kill();
        let _ = self.target_process.wait();
    }
}

impl Taken {
    fn is_within(&self, base: &Taken) -> bool {
        let figures = |of: &Taken| {
            [
                of.open_files,
                of.threads,
                of.ring_bytes,
                of.bpf_map_bytes,
                of.targets,
                of.clients,
            ]
        };
        figures(self)
            .iter()
            .zip(figures(base))
            .all(|(now, base)| *now <= base)
    }
}

/// Of every event of every engine: what was emitted was delivered, or is counted under the reason for which it was lost.
pub fn accounts_add_up(stats: &Value) {
    let engines = stats["engines"].as_array().expect("engines");
    for event in engines
        .iter()
        .flat_map(|engine| engine["events"].as_array().expect("events"))
    {
        let lost = event["lost"].as_object().expect("reasons");
        let lost: i64 = lost.values().map(|n| n.as_i64().expect("a number")).sum();
        let delivered = event["delivered"].as_i64().expect("a number");
        if let Some(emitted) = event["emitted"].as_i64() {
            assert_eq!(emitted, delivered + lost, "{event:#}");
        }
    }
}

fn taken(stats: &Value) -> Taken {
    let figure = |value: &Value| {
        value
            .as_u64()
            .unwrap_or_else(|| panic!("a number: {stats:#}"))
    };
    Taken {
        open_files: figure(&stats["open_files"]),
        threads: figure(&stats["threads"]),
        ring_bytes: figure(&stats["ring_bytes"]),
        bpf_map_bytes: figure(&stats["bpf_map_bytes"]),
        targets: figure(&stats["targets"]),
        clients: figure(&stats["clients"]["connected"]),
    }
}

/// Starts one, and returns when it says that it is ready.
fn started(folder: &Path, circumstances: &Circumstances) -> Child {
    let at = folder.join("ready");
    let socket = UnixDatagram::bind(&at).expect("a socket");
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let process = spawn(folder, circumstances);
    let mut message = [0; 4096];
    loop {
        let n = socket.recv(&mut message);
        let n = n.unwrap_or_else(|error| panic!("not ready: {error}\n{}", log(folder)));
        if String::from_utf8_lossy(&message[..n])
            .lines()
            .any(|line| line == "READY=1")
        {
            break;
        }
    }
    // What it says from now on nobody hears.
    fs::remove_file(at).expect("removed");
    process
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn spawn(folder: &Path, circumstances: &Circumstances) -> Child {
    let socket = folder.join("control.sock");
    let _ = fs::remove_file(&socket);
    let listener = UnixListener::bind(&socket).expect("a socket");
    let config = folder.join("perfd.toml");
    fs::write(
        &config,
        format!("window = \"200ms\"\n{}", circumstances.config),
    )
    .expect("written");
    let log = File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("a log");
    // The socket is passed as systemd passes it: as the first descriptor behind the usual three, to the process of this number.
    let words = [
        "sh",
        "-c",
        "exec 3<&0 </dev/null; LISTEN_PID=$$ exec \"$@\"",
        "sh",
    ];
    let perfd = perfd();
    let mut words: Vec<_> = words
        .iter()
        .chain(circumstances.through)
        .map(std::ffi::OsStr::new)
        .collect();
    words.extend([
        perfd.get_program(),
        "daemon".as_ref(),
        "--config".as_ref(),
        config.as_os_str(),
    ]);
    Command::new(words[0])
        .args(&words[1..])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "control")
        .env("NOTIFY_SOCKET", folder.join("ready"))
        .env("STATE_DIRECTORY", folder.join("state"))
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(log.try_clone().expect("a descriptor"))
        .stderr(log)
        .spawn()
        .expect("the daemon starts")
}
