//! Cgroups of one test, and programs in them.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use perfd::model::{Cgroup, Pid};
use perfd::procfs::SysRoots;
use perfd::procfs::cgroups::{Cgroups, uncounted};

use crate::support::{backend_forbidden, skip};

/// Spins until it is killed; says a byte first, when it runs.
pub const SPINS: &str = r#"
#include <unistd.h>

__attribute__((noipa)) static void spin(void) {
    for (volatile int i = 0; i < 10000; i++) {}
}

int main(void) {
    if (write(1, "x", 1) != 1) return 1;
    for (;;) spin();
}
"#;

/// The mounted tree; `None`, and the test is skipped, where there is none that this test may change, or that the kernel does not count in.
pub fn cgroups() -> Option<Cgroups> {
    let roots = SysRoots::default();
    let found = Cgroups::find(&roots).map_err(|error| error.to_string());
    let usable = found.and_then(|cgroups| match uncounted(&roots) {
        Some(reason) => Err(reason),
        None if !nix::unistd::geteuid().is_root() => Err("cgroups are made by root".to_owned()),
        None => Ok(cgroups),
    });
    usable.map_err(|reason| skip(&reason)).ok()
}

/// The same where BPF is permitted.
pub fn cgroups_and_bpf() -> Option<Cgroups> {
    if !cfg!(target_arch = "x86_64") {
        skip("the kernel's walk is for x86-64");
        return None;
    }
    if let Some(reason) = backend_forbidden("bpf") {
        skip(&reason);
        return None;
    }
    cgroups()
}

/// A cgroup that goes away with what runs in it.
pub struct Made<'a> {
    cgroups: &'a Cgroups,
    /// Below the mount.
    pub path: PathBuf,
}

impl<'a> Made<'a> {
    /// One of a name that nobody else has, below the root.
    pub fn new(cgroups: &'a Cgroups) -> Made<'a> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("perfd-test-{}-{number}", std::process::id());
        Made::at(cgroups, PathBuf::from(name))
    }

    /// One in it.
    pub fn inner(&self, name: &str) -> Made<'a> {
        Made::at(self.cgroups, self.path.join(name))
    }

    fn at(cgroups: &'a Cgroups, path: PathBuf) -> Made<'a> {
        fs::create_dir(cgroups.mount().join(&path)).expect("root may");
        Made { cgroups, path }
    }

    /// What it is, and its directory.
    pub fn open(&self) -> (Cgroup, fs::File) {
        self.cgroups.open(&self.path).expect("just made")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.cgroups.mount().join(&self.path).join(name)
    }

    /// Moves a process into it.
    pub fn take(&self, pid: Pid) {
        fs::write(self.file("cgroup.procs"), pid.to_string()).expect("moved");
    }

    /// A command that runs a program in it, from its first instruction on.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(self.file("cgroup.procs"))
            .arg(program);
        command
    }
}

impl Drop for Made<'_> {
    fn drop(&mut self) {
        let directory = self.cgroups.mount().join(&self.path);
        // Busy until the kernel is done with what was killed in it.
        while let Err(error) = fs::remove_dir(&directory) {
            if error.kind() != io::ErrorKind::ResourceBusy {
                return;
            }
            for pid in self.cgroups.processes(&self.path).unwrap_or_default() {
                let _ = nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(pid.0.cast_signed()),
                    nix::sys::signal::Signal::SIGKILL,
                );
            }
            std::thread::yield_now();
        }
    }
}

/// A program that runs until it is dropped.
pub struct Running(Child);

impl Running {
    /// Starts [`SPINS`], and waits until it runs.
    pub fn start(mut command: Command) -> Running {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let said = child.stdout.as_mut().expect("piped");
        said.read_exact(&mut [0]).expect("it says that it runs");
        Running(child)
    }

    pub fn pid(&self) -> Pid {
        Pid(self.0.id())
    }

    /// Sends it a byte, where it has an input.
    pub fn go_on(&mut self) {
        let input = self.0.stdin.as_mut().expect("piped");
        input.write_all(b"x").expect("it reads");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().expect("our child");
        self.0.wait().expect("our child");
    }
}
