//! What the tests of bad input share: a folder to run in, what came out, processes that are held, other users.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::support::{self, Program, compile_c, skip};

/// A folder in which perfd is run, and which shows what it and its command have left there.
pub struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Bench { folder }
    }

    /// Here perfd runs.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// perfd with its arguments, to be run here.
    pub fn perfd(&self, args: &[&str]) -> Command {
        self.at_home(support::perfd(), args)
    }

    /// perfd started through another program, as `prlimit --nofile=40 perfd …`.
    pub fn through(&self, starter: &[&str], args: &[&str]) -> Command {
        let mut command = Command::new(starter[0]);
        command.args(&starter[1..]);
        command.arg(support::perfd().get_program());
        self.at_home(command, args)
    }

    fn at_home(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .args(args)
            .current_dir(self.path())
            .env("TMPDIR", self.path())
            .stdin(Stdio::null());
        command
    }

    /// perfd as a user who is nobody else here and in no other test; `None` where the tests run without the right to it.
    ///
    /// A user's rings share one limit, so that tests of the same user would disturb each other.
    pub fn stranger(&self, starter: &[&str], args: &[&str]) -> Option<Command> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !nix::unistd::geteuid().is_root() {
            skip("becoming another user needs root");
            return None;
        }
        let uid = 200_000 + std::process::id() * 64 + NEXT.fetch_add(1, Ordering::Relaxed);
        // The build folder may be closed to others.
        let copy = self.path().join("perfd");
        if !copy.exists() {
            support::copy_program(support::perfd().get_program().as_ref(), &copy);
            let open = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(self.path(), open).expect("the folder is opened");
        }
        let mut command = match starter {
            [] => Command::new(&copy),
            [program, flags @ ..] => {
                let mut command = Command::new(program);
                command.args(flags).arg(&copy);
                command
            }
        };
        command.uid(uid).gid(uid);
        Some(self.at_home(command, args))
    }

    /// What is there beside the copied perfd, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path()).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("readable").file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name != "perfd")
            .collect();
        names.sort();
        names
    }

    /// A file's text.
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).expect(name)
    }

    /// The path of a file that is to be made here.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }
}

/// How perfd ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: Output) -> Ended {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let ended = Ended {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
        ended
    }

    /// It ended with this code, and each part stands in what it said.
    #[track_caller]
    pub fn says(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for part in parts {
            assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        }
    }

    /// It ended with this code, one message with its remedies and nothing else.
    #[track_caller]
    pub fn refuses(&self, code: i32, parts: &[&str]) {
        self.says(code, parts);
        assert_eq!(self.stdout, "", "{self:#?}");
        let mut lines = self.stderr.lines();
        let first = lines.next().unwrap_or_default();
        assert!(first.starts_with("perfd: "), "{self:#?}");
        assert!(lines.all(|line| line.starts_with("  ")), "{self:#?}");
    }

    /// Standard output is folded stacks, of which there are some.
    #[track_caller]
    pub fn has_stacks(&self) {
        let is_folded = |line: &str| {
            { line.rsplit_once(' ') }.is_some_and(|(_, weight)| weight.parse::<u64>().is_ok())
        };
        assert!(!self.stdout.is_empty(), "{self:#?}");
        assert!(self.stdout.lines().all(is_folded), "{self:#?}");
    }
}

/// Runs it to its end.
pub fn run(command: &mut Command) -> Ended {
    Ended::of(command.output().expect("it starts"))
}

/// A process that is killed when the test is over.
pub struct Held(pub Child);

impl Held {
    pub fn start(command: &mut Command) -> Held {
        Held(command.spawn().expect("it starts"))
    }

    /// A process that waits for its end.
    pub fn idle() -> Held {
        Held::start(Command::new("cat").stdin(Stdio::piped()))
    }

    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }

    pub fn unix_pid(&self) -> nix::unistd::Pid {
        nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).expect("a pid"))
    }

    /// Waits for the next line on its standard output.
    pub fn line(&mut self) -> String {
        let stdout = self.0.stdout.take().expect("piped");
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        stdout.read_line(&mut line).expect("text");
        self.0.stdout = Some(stdout.into_inner());
        line
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A program that computes: so many rounds if it is given a number, else for ever.
pub fn spinning() -> Program {
    compile_c(
        "#include <stdlib.h>
        volatile unsigned long n;
        __attribute__((noinline)) void spin(unsigned long rounds) {
            for (unsigned long i = 0; i < rounds; i++) n++;
        }
        int main(int argc, char **argv) {
            spin(argc > 1 ? strtoul(argv[1], 0, 10) : -1UL);
            return 0;
        }",
        &["-O1", "-fomit-frame-pointer"],
    )
}

/// Rounds of [`spinning`] that take some 100 ms.
pub const ROUNDS: &str = "400000000";

/// The path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("plain names")
}

/// `kernel.perf_event_paranoid`.
pub fn paranoid() -> i32 {
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").expect("readable");
    level.trim().parse().expect("a number")
}
