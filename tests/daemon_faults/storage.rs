//! Disks that are full or read-only, and ends that no program sees coming: what is in the state folder can be read.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::signal::Signal;
use serde_json::json;

use super::own_daemon::client::{Client, PATIENCE};
use super::own_daemon::{Circumstances, Daemon, Keeper};
use super::support::perfd;

/// Files of many windows, for every target, as often as there can be.
const FILES: &str = "[files]\ntargets = \"all\"\nwindow = \"1s\"\n";

/// A file system of one MiB, which this daemon alone sees, in the place of the state folder.
const SMALL_DISK: &[&str] = &[
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mount -t tmpfs -o size=1m,mode=700 tmpfs \"$STATE_DIRECTORY\"; exec \"$@\"",
    "sh",
];

/// The same for the windows alone: of what else is kept there, files are open for as long as they are of use, and so long no disk becomes
/// read-only but by a fault of its own.
const SMALL_DISK_OF_WINDOWS: &[&str] = &[
    "unshare",
    "--mount",
    "sh",
    "-c",
    "mkdir -m 750 \"$STATE_DIRECTORY/windows\"
    mount -t tmpfs -o size=1m,mode=750 tmpfs \"$STATE_DIRECTORY/windows\"; exec \"$@\"",
    "sh",
];

/// A process that is always at work, and a client that tails it.
struct Busy {
    client: Client,
    target: u64,
    process: std::process::Child,
}

impl Busy {
    fn attached(daemon: &Daemon) -> Busy {
        let process = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .expect("sh");
        let mut client = daemon.client();
        let target = client.attach(process.id());
        client.done(json!({"do": "tail", "target": target, "format": "json"}));
        Busy {
            client,
            target,
            process,
        }
    }

    /// Returns when a window has come, the one behind the last.
    fn next_window(&mut self) {
        let event = self.client.event(self.target);
        assert!(event.get("window").is_some(), "{event}");
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The files of windows below a folder.
fn files(state: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in fs::read_dir(state.join("windows"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let entries = fs::read_dir(folder.path()).into_iter().flatten().flatten();
        found.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.to_string_lossy().ends_with(".pb.gz")),
        );
    }
    found.sort();
    found
}

/// Every file of windows is whole.
fn are_whole(files: &[PathBuf]) {
    for file in files {
        let checked = Command::new("gzip")
            .arg("-t")
            .arg(file)
            .output()
            .expect("gzip");
        assert!(
            checked.status.success(),
            "{}: {}",
            file.display(),
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}

/// The state folder can be read as a whole.
fn can_be_exported(state: &Path) {
    let exported = perfd()
        .args(["export", "-o", "-", "--state"])
        .arg(state)
        .stdin(Stdio::null())
        .output()
        .expect("perfd");
    assert!(
        exported.status.success(),
        "{}",
        String::from_utf8_lossy(&exported.stderr)
    );
    let text = String::from_utf8_lossy(&exported.stdout).into_owned();
    assert!(text.contains("sh;"), "{text}");
}

#[test]
fn a_full_disk_costs_files_and_not_windows_and_when_there_is_room_files_come_again() {
    let Some(daemon) = Daemon::start(&Circumstances {
        through: SMALL_DISK,
        config: FILES,
    }) else {
        return;
    };
    let state = inside(&daemon);
    let mut keeper = Keeper::of(&daemon);
    let mut busy = Busy::attached(&daemon);
    while files(&state).is_empty() {
        busy.next_window();
    }
    let filler = state.join("filler");
    let mut file = File::create(&filler).expect("a file");
    while file.write_all(&[0; 4096]).is_ok() {}
    while !daemon.log().to_lowercase().contains("no space left") {
        busy.next_window();
    }
    are_whole(&files(&state));
    keeper.next_stats();
    fs::remove_file(filler).expect("removed");
    drop(file);
    let n_files = files(&state).len();
    while files(&state).len() <= n_files {
        busy.next_window();
    }
    are_whole(&files(&state));
    can_be_exported(&state);
    drop(busy);
    keeper.finds_all_as_it_was();
    daemon.end();
}

#[test]
fn a_disk_that_becomes_read_only_costs_files_and_not_windows() {
    let Some(daemon) = Daemon::start(&Circumstances {
        through: SMALL_DISK_OF_WINDOWS,
        config: FILES,
    }) else {
        return;
    };
    let state = inside(&daemon);
    let mut keeper = Keeper::of(&daemon);
    let mut busy = Busy::attached(&daemon);
    while files(&state).is_empty() {
        busy.next_window();
    }
    remount(&daemon, "ro", &mut busy);
    let n_files = files(&state).len();
    while !daemon
        .log()
        .to_lowercase()
        .contains("read-only file system")
    {
        busy.next_window();
    }
    assert_eq!(files(&state).len(), n_files);
    remount(&daemon, "rw", &mut busy);
    while files(&state).len() <= n_files {
        busy.next_window();
    }
    are_whole(&files(&state));
    drop(busy);
    keeper.finds_all_as_it_was();
    daemon.end();
}

/// How often the daemon is killed; more by hand.
fn n_kills() -> u32 {
    let by_hand = std::env::var("PERFD_TEST_KILLS").ok();
    by_hand.map_or(10, |n| n.parse().expect("PERFD_TEST_KILLS is a number"))
}

#[test]
fn wherever_the_daemon_is_killed_its_files_can_be_read() {
    let circumstances = Circumstances {
        config: FILES,
        ..Default::default()
    };
    let Some(mut daemon) = Daemon::start(&circumstances) else {
        return;
    };
    for round in 0..n_kills() {
        let mut busy = Busy::attached(&daemon);
        // Up to the second file in steps of windows, and of answers between them, of which there are no more than a hundred in a second.
        for _ in 0..(round * 7) % 10 {
            busy.next_window();
        }
        for _ in 0..(round * 13) % 30 {
            let answer = busy.client.in_the_end(json!({"do": "list"}));
            answer.expect("a list");
        }
        daemon.signal(Signal::SIGKILL);
        drop(busy);
        daemon.restart(&circumstances);
        are_whole(&files(&daemon.state()));
    }
    let mut busy = Busy::attached(&daemon);
    let n_files = files(&daemon.state()).len();
    while files(&daemon.state()).len() == n_files {
        busy.next_window();
    }
    can_be_exported(&daemon.state());
    daemon.end();
}

/// The state folder as the daemon sees it.
fn inside(daemon: &Daemon) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", daemon.pid()));
    root.join(daemon.state().strip_prefix("/").expect("absolute"))
}

fn remount(daemon: &Daemon, mode: &str, busy: &mut Busy) {
    // Refused while a file is open for writing, which is for a moment.
    let until = Instant::now() + PATIENCE;
    loop {
        let done = Command::new("nsenter")
            .args(["--mount", "--target", &daemon.pid().to_string(), "--"])
            .args(["mount", "-o", &format!("remount,{mode}")])
            .arg(daemon.state().join("windows"))
            .output()
            .expect("nsenter");
        let said = String::from_utf8_lossy(&done.stderr);
        if done.status.success() {
            return;
        }
        assert!(Instant::now() < until, "remount {mode}: {said}");
        busy.next_window();
    }
}
