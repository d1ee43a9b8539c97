//! A daemon of a test's own, a client for it, and what must hold of it whatever has happened.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses its part of this"
)]

pub mod client;

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::{Value, json};

use crate::support::{perfd, skip};
use client::{Client, PATIENCE};

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
    /// What is added to its configuration, or stands in the place of its short windows.
    pub config: &'a str,
}

/// Bytes.
const MAPS_GROW: u64 = 1 << 20;
/// Files of programs and libraries that have been named stay open for some minutes.
const FILES_OF_NAMES: u64 = 4;

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

    /// Where it gives its metrics.
    pub fn metrics(&self) -> PathBuf {
        self.folder.path().join("metrics.sock")
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

    /// Puts another configuration in the place of the one that it was started with.
    pub fn configure(&self, text: &str) {
        let path = self.folder.path().join("perfd.toml");
        fs::write(path, format!("window = \"200ms\"\n{text}")).expect("written");
    }

    /// Ends it in good order.
    pub fn end(self) {
        self.signal(Signal::SIGTERM);
        self.end_of_process();
    }

    /// Waits for its end, which somebody has asked for, and which must be in good order.
    pub fn end_of_process(mut self) {
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
        // Nobody waits for it to read while a test is busy elsewhere.
        let mut client = daemon.client().reads_ahead();
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
        // Windows that were late come all at once, and more often than that nobody may ask.
        match self.client.ask(json!({"do": "stats"})) {
            Err(error) if error["class"] == "limit" => self.next_stats(),
            stats => stats.unwrap_or_else(|error| panic!("stats: {error}")),
        }
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
        // Maps grow with what is in them, which an engine empties only when they are nearly full.
        if self.bpf_map_bytes > base.bpf_map_bytes + MAPS_GROW {
            return false;
        }
        if self.open_files > base.open_files + FILES_OF_NAMES {
            return false;
        }
        let figures = |of: &Taken| [of.threads, of.ring_bytes, of.targets, of.clients];
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
    let moment = Some(Duration::from_secs(1));
    socket.set_read_timeout(moment).expect("a time limit");
    let mut process = spawn(folder, circumstances);
    let until = Instant::now() + PATIENCE;
    let mut message = [0; 4096];
    loop {
        let n = socket.recv(&mut message).unwrap_or(0);
        let text = String::from_utf8_lossy(&message[..n]);
        if text.lines().any(|line| line == "READY=1") {
            break;
        }
        let ended = process.try_wait().expect("its status");
        assert!(
            ended.is_none() && Instant::now() < until,
            "not ready: {ended:?}\n{}",
            log(folder)
        );
    }
    // What it says from now on nobody hears.
    fs::remove_file(at).expect("removed");
    process
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

fn spawn(folder: &Path, circumstances: &Circumstances) -> Child {
    let [control, metrics] = ["control.sock", "metrics.sock"].map(|name| {
        let path = folder.join(name);
        let _ = fs::remove_file(&path);
        Stdio::from(OwnedFd::from(UnixListener::bind(path).expect("a socket")))
    });
    let config = folder.join("perfd.toml");
    let window = match circumstances.config.starts_with("window =") {
        true => "",
        false => "window = \"200ms\"\n",
    };
    let text = format!("{window}{}", circumstances.config);
    fs::write(&config, text).expect("written");
    let log = folder.join("log");
    let log = File::options().create(true).append(true).open(log);
    // Sockets are passed as systemd passes them: as the first descriptors behind the usual three, to the process of this number.
    let pass = "exec 3<&0 4>&1 </dev/null >&2; LISTEN_PID=$$ exec \"$@\"";
    let perfd = perfd();
    Command::new("sh")
        .args(["-c", pass, "sh"])
        .args(circumstances.through)
        .arg(perfd.get_program())
        .args(["daemon", "--config"])
        .arg(config)
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "control:metrics")
        .env("NOTIFY_SOCKET", folder.join("ready"))
        .env("STATE_DIRECTORY", folder.join("state"))
        .stdin(control)
        .stdout(metrics)
        .stderr(log.expect("a log"))
        .spawn()
        .expect("the daemon starts")
}
