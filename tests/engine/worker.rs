//! A process that does as it is told.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use perfd::model::Pid;
use perfd::sys::pidfd::PidFd;

use crate::support::{Program, compile_c};

/// Reads lines and answers each with a line: `spin MS` is busy for so much CPU time in `busy`; `kernel MS` the same in system calls; `fork`
/// answers with the number of a child that goes on in the parent's place, which waits for it; `exec PATH` becomes that program, with the same
/// input and output; `storm N` makes N children one after the other, each of which is busy for a moment.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OWN __attribute__((noinline, noclone))

static long used_ms(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

OWN void turn(void) { for (volatile int i = 0; i < 50000; i++) ; }

OWN void busy(long ms) {
    for (long end = used_ms() + ms; used_ms() < end;) turn();
}

OWN void calls(long ms) {
    static char page[1 << 16];
    int zero = open("/dev/zero", O_RDONLY);
    for (long end = used_ms() + ms; used_ms() < end;)
        for (int i = 0; i < 100; i++) if (read(zero, page, sizeof page) < 0) abort();
    close(zero);
}

int main(int argc, char **argv) {
    char line[4096];
    setvbuf(stdin, 0, _IONBF, 0);
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "spin ", 5)) busy(atol(line + 5));
        if (!strncmp(line, "kernel ", 7)) calls(atol(line + 7));
        if (!strncmp(line, "exec ", 5)) {
            execl(line + 5, line + 5, (char *)0);
            perror(line);
            return 1;
        }
        if (!strncmp(line, "storm ", 6)) {
            for (long n = atol(line + 6); n > 0; n--) {
                pid_t child = fork();
                if (child == 0) { turn(); turn(); _exit(0); }
                waitpid(child, 0, 0);
            }
        }
        if (!strcmp(line, "fork")) {
            pid_t child = fork();
            if (child) {
                waitpid(child, 0, 0);
                return 0;
            }
            printf("%d\n", getpid());
        } else {
            printf("done\n");
        }
        fflush(stdout);
    }
    return 0;
}
"#;

/// The program, compiled once.
pub fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| compile_c(SOURCE, &["-O1", "-fno-optimize-sibling-calls"]))
}

/// The process. It ends with the test.
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Worker {
    /// One of this user's.
    pub fn start() -> Worker {
        Worker::spawn(&mut Command::new(program().path()))
    }

    /// One of another user's.
    pub fn of_user(uid: u32, gid: u32) -> Worker {
        let mut command = Command::new(program().path());
        // Dropping root this way leaves it no other groups.
        command.uid(uid).gid(gid);
        Worker::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Worker {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the worker");
        let mut worker = Worker {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().expect("piped above")),
            child,
        };
        assert_eq!(worker.answer(), "ready");
        worker
    }

    pub fn pid(&self) -> Pid {
        Pid(self.child.id())
    }

    pub fn pidfd(&self) -> PidFd {
        PidFd::open(self.pid()).expect("it runs")
    }

    /// Tells it something, and waits for its answer.
    pub fn tell(&mut self, line: &str) -> String {
        let input = self.input.as_mut().expect("not ended");
        writeln!(input, "{line}").expect("it reads");
        self.answer()
    }

    /// Is busy for so many milliseconds of CPU time.
    pub fn spin(&mut self, ms: u32) {
        assert_eq!(self.tell(&format!("spin {ms}")), "done");
    }

    /// Ends it.
    pub fn end(&mut self) {
        drop(self.input.take());
        self.child.wait().expect("it is ours");
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it writes");
        line.trim_end().to_owned()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}
