//! The programs that are profiled, and perfd beside them.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};

use crate::folded::{forbidden, said};
use crate::support::{Program, compile_c, perfd, skip};

/// A process of two threads and a child, which are busy in `in_main`, `in_thread` and `in_child`: each for so many
/// milliseconds of CPU time, or without an argument until standard input ends. First it prints the numbers of its thread and
/// its child.
const CREW: &str = r#"
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OWN __attribute__((noinline, noclone))

static long budget_ms;

OWN void spin(void) { for (volatile int i = 0; i < 50000; i++) ; }

static int has_more_to_do(void) {
    if (budget_ms == 0) {
        struct pollfd input = {.fd = 0};
        input.events = POLLIN;
        return poll(&input, 1, 0) == 0;
    }
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000 < budget_ms;
}

#define WORK(name) OWN void name(void) { while (has_more_to_do()) spin(); }
WORK(in_main) WORK(in_thread) WORK(in_child)

static pthread_barrier_t started;

static void *thread(void *tid) {
    *(int *)tid = gettid();
    pthread_barrier_wait(&started);
    in_thread();
    return 0;
}

int main(int argc, char **argv) {
    budget_ms = argc > 1 ? atol(argv[1]) : 0;
    pid_t child = fork();
    if (child == 0) {
        in_child();
        _exit(0);
    }
    pthread_t other;
    int tid;
    pthread_barrier_init(&started, 0, 2);
    pthread_create(&other, 0, thread, &tid);
    pthread_barrier_wait(&started);
    printf("%d %d\n", tid, child);
    fflush(stdout);
    in_main();
    pthread_join(other, 0);
    waitpid(child, 0, 0);
    return 0;
}
"#;

/// The crew, compiled; `None`, and said, if perfd may not sample here.
pub fn crew() -> Option<Program> {
    may_sample().then(|| compile_c(CREW, &["-O1", "-fno-optimize-sibling-calls"]))
}

/// Whether perfd may sample here at all; said if not.
pub fn may_sample() -> bool {
    let reason = forbidden(&mut perfd());
    if let Some(reason) = &reason {
        skip(reason);
    }
    reason.is_none()
}

/// A running program that ends when its standard input does.
pub struct Target {
    child: Child,
    input: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Target {
    pub fn start(program: &Path) -> Target {
        Target::of(&mut Command::new(program))
    }

    pub fn of(command: &mut Command) -> Target {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let output = child.stdout.take().expect("piped");
        Target {
            input: child.stdin.take(),
            lines: BufReader::new(output).lines(),
            child,
        }
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// What it prints next.
    pub fn line(&mut self) -> String {
        self.lines.next().expect("it prints").expect("text")
    }

    /// The standard input.
    pub fn input(&mut self) -> &mut ChildStdin {
        self.input.as_mut().expect("not told to end yet")
    }

    pub fn tell_to_end(&mut self) {
        self.input = None;
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        self.tell_to_end();
        if std::thread::panicking() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// perfd while it runs, with its standard output as lines.
pub struct Running {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
}

impl Running {
    pub fn start(command: &mut Command) -> Running {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("perfd runs");
        let output = child.stdout.take().expect("piped");
        Running {
            child,
            lines: Some(BufReader::new(output).lines()),
        }
    }

    /// The next line of its standard output, if there is one.
    pub fn next_line(&mut self) -> Option<std::io::Result<String>> {
        self.lines.as_mut().expect("still read").next()
    }

    /// The next line of its standard output; without one, what it said instead is the failure.
    pub fn line(&mut self) -> String {
        match self.next_line() {
            Some(line) => line.expect("text"),
            None => {
                let mut said = String::new();
                if let Some(mut stderr) = self.child.stderr.take() {
                    let _ = std::io::Read::read_to_string(&mut stderr, &mut said);
                }
                panic!("perfd wrote no more lines: {said}")
            }
        }
    }

    /// How it ended, whoever still holds its standard output and error.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    /// Stops reading.
    pub fn hang_up(&mut self) {
        self.lines = None;
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it is there");
    }

    /// The rest of its standard output, and how it ended.
    pub fn finish(mut self) -> (String, Output) {
        let mut rest = String::new();
        for line in self.lines.take().into_iter().flatten() {
            rest.push_str(&line.expect("text"));
            rest.push('\n');
        }
        let output = self.child.wait_with_output().expect("our child");
        (rest, output)
    }
}

/// Runs perfd to its end, which must be a good one, and returns its standard output.
pub fn output_of(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().expect("perfd runs");
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("folded text is UTF-8")
}

/// `perfd attach` on a target until the first stacks are seen; then the target is told to end. Returns all of standard output.
pub fn attach_until_seen(flags: &[&str], targets: &mut [Target]) -> String {
    let mut attached = Running::start(
        perfd()
            .args(["attach", "-q", "--interval", "100ms", "-o", "-"])
            .args(flags),
    );
    let first = attached.line();
    targets.iter_mut().for_each(Target::tell_to_end);
    let (rest, output) = attached.finish();
    assert!(output.status.success(), "{}", said(&output));
    format!("{first}\n{rest}")
}
