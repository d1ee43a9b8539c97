//! Processes of every kind that a client might ask for, each run as a user of these tests.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::support::{self, Program};

/// The user whose processes they are, one who has nothing to do with them, and a group that both are in.
pub const USER: u32 = 60_001;
pub const OTHER: u32 = 60_002;
pub const GROUP: u32 = 60_003;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing special.
    Plain,
    /// `PR_SET_DUMPABLE` of 0.
    NotDumpable,
    /// Runs as its user and has the rights of root.
    SetUid,
    /// Runs in the group of root.
    SetGid,
    /// A program that its user may run and not read.
    Unreadable,
    /// A program with a capability.
    FileCapabilities,
    /// The same, which has made itself dumpable.
    OpenWithCapabilities,
    /// In a user namespace that its user has made.
    OtherNamespace,
    /// Ended, and not waited for.
    Zombie,
    /// Ended and waited for.
    Gone,
}

pub const KINDS: [Kind; 10] = [
    Kind::Plain,
    Kind::NotDumpable,
    Kind::SetUid,
    Kind::SetGid,
    Kind::Unreadable,
    Kind::FileCapabilities,
    Kind::OpenWithCapabilities,
    Kind::OtherNamespace,
    Kind::Zombie,
    Kind::Gone,
];

/// A process that ends when this is dropped.
pub struct Running {
    child: Child,
    pid: u32,
    uid: u32,
    lines: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.pid
    }

    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Lets it execute what it was started for, and waits until it has.
    pub fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"\n").expect("it reads");
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("it writes");
        assert_eq!(line, "ready\n");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The programs, and another procfs.
pub struct Stage {
    program: Program,
    other_proc: PathBuf,
}

impl Stage {
    /// `None` where this is not root.
    pub fn set() -> Option<Stage> {
        let is_root = std::fs::read_to_string("/proc/self/status")
            .expect("procfs")
            .lines()
            .any(|line| line.starts_with("Uid:\t0\t0"));
        if !is_root {
            support::skip("processes of other users are started by root alone");
            return None;
        }
        let program = support::compile_c(include_str!("target.c"), &[]);
        let folder = program.folder();
        let run = |words: &[&str]| {
            let status = Command::new(words[0])
                .args(&words[1..])
                .current_dir(folder)
                .status();
            assert!(status.expect("starts").success(), "{words:?}");
        };
        run(&["chmod", "755", "."]);
        for name in ["setuid", "setgid", "unreadable", "capable"] {
            run(&["cp", "program", name]);
        }
        run(&["chmod", "4755", "setuid"]);
        run(&["chmod", "2755", "setgid"]);
        run(&["chmod", "711", "unreadable"]);
        // CAP_NET_RAW permitted and effective, as `setcap cap_net_raw+ep` writes it.
        let capability = "import os, struct; os.setxattr('capable', 'security.capability', struct.pack('<5I', 0x02000001, 1 << 13, 0, 0, 0))";
        run(&["python3", "-c", capability]);
        let other_proc = folder.join("proc");
        run(&["mkdir", "proc"]);
        run(&["mount", "-t", "proc", "proc", "proc"]);
        std::fs::write(folder.join("maps"), "00400000-00401000 r-xp\n").expect("written");
        Some(Stage {
            other_proc,
            program,
        })
    }

    pub fn other_proc(&self) -> &Path {
        &self.other_proc
    }

    /// A file that is called `maps` and is none.
    pub fn plain_file(&self) -> PathBuf {
        self.program.folder().join("maps")
    }

    /// Starts one that belongs to the first user.
    pub fn start(&self, kind: Kind) -> Running {
        let mut running = self.spawn(USER, &self.command(kind));
        running.wait_until_ready();
        if kind == Kind::Zombie || kind == Kind::Gone {
            drop(running.child.stdin.take());
            // Its end closes its standard output.
            let mut line = String::new();
            running.lines.read_line(&mut line).expect("it ends");
            if kind == Kind::Gone {
                running.child.wait().expect("it has ended");
            } else {
                wait_for_zombie(running.pid);
            }
        }
        running
    }

    /// Starts a plain one of any user.
    pub fn start_as(&self, uid: u32) -> Running {
        let mut running = self.spawn(uid, &self.command(Kind::Plain));
        running.wait_until_ready();
        running
    }

    /// Starts one that is plain, and becomes of that kind by an exec.
    pub fn start_before_exec(&self, kind: Kind) -> Running {
        let plain = self.program.path().display().to_string();
        let words = [vec![plain, "exec".to_owned()], self.command(kind)].concat();
        let mut running = self.spawn(USER, &words);
        running.wait_until_ready();
        running
    }

    /// Starts a plain one under a number that is free; `None` if another process was faster.
    pub fn start_with_number(&self, pid: u32, uid: u32) -> Option<Running> {
        let last = (pid - 1).to_string();
        std::fs::write("/proc/sys/kernel/ns_last_pid", last).expect("root may");
        let running = self.start_as(uid);
        (running.pid == pid).then_some(running)
    }

    fn command(&self, kind: Kind) -> Vec<String> {
        let program = |name: &str| self.program.folder().join(name).display().to_string();
        match kind {
            Kind::Plain | Kind::Zombie | Kind::Gone => vec![program("program")],
            Kind::NotDumpable => vec![program("program"), "closed".to_owned()],
            Kind::SetUid => vec![program("setuid")],
            Kind::SetGid => vec![program("setgid")],
            Kind::Unreadable => vec![program("unreadable")],
            Kind::FileCapabilities => vec![program("capable")],
            Kind::OpenWithCapabilities => vec![program("capable"), "open".to_owned()],
            Kind::OtherNamespace => {
                vec![
                    "/usr/bin/unshare".to_owned(),
                    "-U".to_owned(),
                    program("program"),
                ]
            }
        }
    }

    /// `chroot` executes and does not fork, so that the child is the program in the end. Unlike `setpriv` it has no capabilities left when it does:
    /// with those of root a program that may not be read would be read.
    fn spawn(&self, uid: u32, words: &[String]) -> Running {
        let gid = if uid == 0 { 0 } else { GROUP };
        let mut child = Command::new("chroot")
            .args([&format!("--userspec={uid}:{gid}"), "--groups=", "/"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("chroot is installed");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Running {
            pid: child.id(),
            child,
            uid,
            lines,
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.other_proc).status();
    }
}

/// Standard output is closed a moment before the process has ended.
fn wait_for_zombie(pid: u32) {
    loop {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("not waited for");
        if stat.contains(") Z ") {
            return;
        }
        std::thread::yield_now();
    }
}
