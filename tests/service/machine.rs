//! A machine inside this one, with systemd as its first process (`tests/service/boot`), and perfd installed in it as docs/DAEMON.md says.
//!
//! It is there when `boot` returns, and gone with all that ran in it when the value is dropped.

use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::own_daemon::client::{Client, PATIENCE};
use super::support::skip;

/// The machine, as long as this value lives.
pub struct Machine {
    boot: Child,
    /// Its first process, as it is numbered here.
    init: Pid,
    cgroup: PathBuf,
    /// What both machines see: there, /shared.
    shared: tempfile::TempDir,
}

/// What a command in the machine said.
#[derive(Debug)]
pub struct Said {
    /// 0 for success; −1 if a signal has ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Machine {
    /// Starts one and waits until it is up; `None`, and a word why, where that cannot be done.
    pub fn boot() -> Option<Machine> {
        if let Some(reason) = forbidden() {
            skip(&reason);
            return None;
        }
        let shared = tempfile::tempdir().expect("a temporary folder");
        let ready = UnixDatagram::bind(shared.path().join("ready")).expect("a socket");
        ready
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        let cgroup = new_cgroup().expect("a cgroup of cgroup v2");
        let mut boot = Command::new(here("tests/service/boot"))
            .args([shared.path(), &cgroup])
            .env("NOTIFY_SOCKET", shared.path().join("ready"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(shared.path().join("boot.log")).expect("a file of the folder"))
            .spawn()
            .expect("boot starts");
        if let Err(error) = wait_for_ready(&ready) {
            let _ = boot.kill();
            let _ = boot.wait();
            let _ = remove_cgroup(&cgroup);
            let log = fs::read_to_string(shared.path().join("boot.log")).unwrap_or_default();
            panic!("the machine is not up after {PATIENCE:?}: {error}\n{log}");
        }
        let init = only_child(boot.id());
        Some(Machine {
            boot,
            init,
            cgroup,
            shared,
        })
    }

    /// A machine with a journal, the users alice and bob, and a checkout of perfd as /shared, in which it is built.
    pub fn with_checkout() -> Option<Machine> {
        let machine = Machine::boot()?;
        // The kernel's log and its audit records are the outer machine's.
        machine.write(
            "/etc/systemd/journald.conf.d/test.conf",
            "[Journal]\nReadKMsg=no\nAudit=no\nStorage=volatile\n",
        );
        machine.ok(&["systemctl", "start", "systemd-journald.service"]);
        for folder in ["systemd", "target/release"] {
            fs::create_dir_all(machine.shared(folder)).expect("a folder of the folder");
        }
        let perfd = Path::new(env!("CARGO_BIN_EXE_perfd"));
        machine.share(perfd, "target/release/perfd");
        for file in [
            "install",
            "perfd.service",
            "perfd.socket",
            "perfd-metrics.socket",
            "perfd.sysusers",
            "perfd.tmpfiles",
        ] {
            let file = format!("systemd/{file}");
            machine.share(&here(&file), &file);
        }
        for user in ["alice", "bob"] {
            machine.ok(&["useradd", "--create-home", user]);
        }
        Some(machine)
    }

    /// A machine with perfd installed, and a third user, carol, who is an administrator of perfd.
    pub fn with_perfd() -> Option<Machine> {
        let machine = Machine::with_checkout()?;
        machine.ok(&["/shared/systemd/install"]);
        machine.ok(&["useradd", "--create-home", "-G", "perfd-admin", "carol"]);
        Some(machine)
    }

    /// A command in the machine, run by root.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args(["--all", "--target", &self.init.to_string(), "--"])
            .args(words)
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("SYSTEMD_PAGER", "cat")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null());
        command
    }

    /// Runs one and gives what it said.
    pub fn run(&self, words: &[&str]) -> Said {
        Said::from(self.command(words).output().expect("nsenter starts"))
    }

    /// Runs one that must succeed; its standard output.
    pub fn ok(&self, words: &[&str]) -> String {
        let said = self.run(words);
        assert_eq!(said.code, 0, "{words:?}: {said:#?}\n{}", self.journal());
        said.stdout
    }

    /// Runs one as a user, with the groups that they have.
    pub fn run_as(&self, user: &str, words: &[&str]) -> Said {
        Said::from(
            self.command_as(user, words)
                .output()
                .expect("nsenter starts"),
        )
    }

    /// A command in the machine, run by a user.
    pub fn command_as(&self, user: &str, words: &[&str]) -> Command {
        let be = [
            "setpriv",
            "--reuid",
            user,
            "--regid",
            user,
            "--init-groups",
            "--reset-env",
            "--",
        ];
        self.command(&[&be[..], words].concat())
    }

    /// Puts a file of this machine into /shared.
    pub fn share(&self, from: &Path, name: &str) {
        super::support::copy_program(from, &self.shared.path().join(name));
    }

    /// A file of /shared.
    pub fn shared(&self, name: &str) -> PathBuf {
        self.shared.path().join(name)
    }

    /// Writes a file of the machine, with its folder.
    pub fn write(&self, path: &str, text: &str) {
        fs::write(self.shared("written"), text).expect("a file of the folder");
        self.ok(&["install", "-D", "-m", "644", "/shared/written", path]);
    }

    /// Writes a command that everybody may run.
    pub fn script(&self, name: &str, line: &str) {
        let path = format!("/usr/local/bin/{name}");
        self.write(&path, &format!("#!/bin/sh\n{line}\n"));
        self.ok(&["chmod", "755", &path]);
    }

    /// Writes a unit, and has systemd read its files again.
    pub fn unit(&self, name: &str, text: &str) {
        self.write(&format!("/etc/systemd/system/{name}"), text);
        self.ok(&["systemctl", "daemon-reload"]);
    }

    /// A property of a unit, as `systemctl show` gives it.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.ok(&["systemctl", "show", "--value", "-p", name, unit]);
        shown.trim().to_owned()
    }

    /// The main process of a service, as it is numbered outside.
    pub fn outer_pid(&self, service: &str) -> u32 {
        let inner = self.property(service, "MainPID");
        let path = self.cgroup.join("system.slice").join(service);
        let listed = fs::read_to_string(path.join("cgroup.procs")).expect("its processes");
        let is_main = |pid: &&str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let mut lines = status.lines();
            let numbers = lines.find(|line| line.starts_with("NSpid:"));
            numbers.and_then(|numbers| numbers.split_whitespace().next_back()) == Some(&*inner)
        };
        let main = listed.lines().find(is_main).expect("it runs");
        main.parse().expect("a pid")
    }

    /// A client of the daemon: root, to which nothing is refused.
    pub fn client(&self) -> Client {
        let root = PathBuf::from(format!("/proc/{}/root", self.init));
        let client = Client::connect(&root.join("run/perfd/control.sock"));
        client.unwrap_or_else(|error| panic!("no connection: {error}\n{}", self.journal()))
    }

    /// What the daemon has said.
    pub fn journal_of_perfd(&self) -> String {
        self.ok(&["journalctl", "--no-pager", "-q", "-o", "cat", "-t", "perfd"])
    }

    /// The last lines of the journal, for the message of a test that fails.
    pub fn journal(&self) -> String {
        self.run(&["journalctl", "--no-pager", "-q", "-n", "60"])
            .stdout
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The kernel ends all processes of the machine before the first one is gone, and unshare waits for that one.
        let _ = kill(self.init, Signal::SIGKILL);
        let _ = self.boot.wait();
        if let Err(error) = remove_cgroup(&self.cgroup) {
            // A second panic, in a test that fails already, would hide the first.
            assert!(
                std::thread::panicking(),
                "{}: {error}",
                self.cgroup.display()
            );
        }
    }
}

impl From<Output> for Said {
    fn from(output: Output) -> Said {
        Said {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A file of this package.
pub fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Why there can be no machine here, if so.
fn forbidden() -> Option<String> {
    if !Uid::effective().is_root() {
        return Some("a machine with a systemd of its own needs root".to_owned());
    }
    if !Path::new("/lib/systemd/systemd").exists() {
        return Some("systemd is not installed".to_owned());
    }
    if cgroup_mount().is_none() {
        return Some("there is no cgroup v2".to_owned());
    }
    let namespaces = [
        "--mount", "--pid", "--fork", "--ipc", "--uts", "--cgroup", "--net", "true",
    ];
    let tried = Command::new("unshare").args(namespaces).output();
    match tried {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(format!(
            "no namespaces: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

fn wait_for_ready(socket: &UnixDatagram) -> io::Result<()> {
    let mut message = [0; 4096];
    loop {
        let n = socket.recv(&mut message)?;
        let text = String::from_utf8_lossy(&message[..n]);
        if text.lines().any(|line| line == "READY=1") {
            return Ok(());
        }
    }
}

fn only_child(parent: u32) -> Pid {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let children = fs::read_to_string(&path).expect("the children of a process");
    let child = children
        .split_whitespace()
        .next()
        .expect("unshare has forked");
    Pid::from_raw(child.parse().expect("a pid"))
}

/// Where cgroup v2 is mounted.
fn cgroup_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mut lines = mounts
        .lines()
        .map(|line| line.split(' ').collect::<Vec<_>>());
    let line = lines.find(|words| words.get(2) == Some(&"cgroup2"))?;
    Some(PathBuf::from(line[1]))
}

/// A cgroup of this machine alone. What a test left that was killed is taken away on the way.
fn new_cgroup() -> io::Result<PathBuf> {
    static MACHINES: AtomicUsize = AtomicUsize::new(0);
    const PREFIX: &str = "perfd-machine-";
    let mount = cgroup_mount().expect("looked for before");
    for entry in fs::read_dir(&mount)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let of = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if of.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let _ = remove_cgroup(&entry.path());
        }
    }
    let n = MACHINES.fetch_add(1, Ordering::Relaxed);
    let path = mount.join(format!("{PREFIX}{}-{n}", std::process::id()));
    fs::create_dir(&path)?;
    Ok(path)
}

/// Removes a cgroup and those in it, in which no process is any more.
fn remove_cgroup(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten() {
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
