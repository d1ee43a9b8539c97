//! A process that does as it is told.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use perfd::model::Pid;
use perfd::sys::pidfd::PidFd;

use crate::support::{Program, compile_c};

/// Reads lines and answers each with a line: `spin MS` is busy for so much CPU time in `busy`; `kernel MS` the same in system calls; `fork`
/// answers with the number of a child that goes on in the parent's place, which waits for it; `exec PATH` becomes that program, with the same
/// input and output; `storm N` makes N children one after the other, each of which is busy for a moment; `threads N` makes N threads that wait for
/// ever; `second` ends the first thread, and another one goes on; `hurry N` makes N children that do nothing, as fast as it can; `child` answers with the number of a child that has been busy for a moment and has ended; `impostor PID PATH`
/// gives that number to a program of another user, which is busy for a moment, and `squatter PID PATH` to one that stays until `release`.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
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

static void *wait_for_ever(void *nothing) {
    for (;;) pause();
    return nothing;
}

static void threads(long n) {
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 1 << 15);
    for (; n > 0; n--) if (pthread_create(&thread, &small, wait_for_ever, 0)) abort();
}

static pid_t squatter;

/* Gives the number of a process that has ended to another program of another user. */
static int give_number(long pid, char *path, char *how) {
    for (int attempt = 0; attempt < 50; attempt++) {
        int next = open("/proc/sys/kernel/ns_last_pid", O_WRONLY);
        if (next < 0 || dprintf(next, "%ld", pid - 1) < 0) abort();
        close(next);
        pid_t child = fork();
        if (child == 0) {
            if (getpid() != pid) _exit(0);
            if (setgid(65534) || setuid(65534)) abort();
            execl(path, path, how, (char *)0);
            abort();
        }
        if (child == pid && *how == 'l') squatter = child;
        else waitpid(child, 0, 0);
        if (child == pid) return 1;
    }
    return 0;
}

static void serve(void);

static void *serve_behind(void *first) {
    pthread_join((pthread_t)first, 0);
    printf("done\n");
    fflush(stdout);
    serve();
    return 0;
}

static void serve(void) {
    char line[4096];
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "spin ", 5)) busy(atol(line + 5));
        if (!strncmp(line, "kernel ", 7)) calls(atol(line + 7));
        if (!strncmp(line, "exec ", 5)) {
            execl(line + 5, line + 5, (char *)0);
            perror(line);
            exit(1);
        }
        if (!strncmp(line, "storm ", 6)) {
            for (long n = atol(line + 6); n > 0; n--) {
                pid_t child = fork();
                if (child == 0) { for (int i = 0; i < 6; i++) turn(); _exit(0); }
                waitpid(child, 0, 0);
            }
        }
        if (!strncmp(line, "impostor ", 9)) {
            char *path = strchr(line + 9, ' ') + 1;
            printf("%s\n", give_number(atol(line + 9), path, "brief") ? "it is" : "it is not");
            fflush(stdout);
            continue;
        }
        if (!strncmp(line, "squatter ", 9)) {
            char *path = strchr(line + 9, ' ') + 1;
            printf("%s\n", give_number(atol(line + 9), path, "long") ? "it is" : "it is not");
            fflush(stdout);
            continue;
        }
        if (!strcmp(line, "release")) { kill(squatter, SIGKILL); waitpid(squatter, 0, 0); }
        if (!strncmp(line, "hurry ", 6)) {
            for (long n = atol(line + 6); n > 0; n--) {
                pid_t child = vfork();
                if (child == 0) _exit(0);
                waitpid(child, 0, 0);
            }
        }
        if (!strcmp(line, "second")) {
            pthread_t second;
            if (pthread_create(&second, 0, serve_behind, (void *)pthread_self())) abort();
            pthread_exit(0);
        }
        if (!strncmp(line, "threads ", 8)) threads(atol(line + 8));
        if (!strcmp(line, "child")) {
            pid_t child = fork();
            if (child == 0) { for (int i = 0; i < 6; i++) turn(); _exit(0); }
            waitpid(child, 0, 0);
            printf("%d\n", child);
        } else if (!strcmp(line, "fork")) {
            pid_t child = fork();
            if (child) {
                waitpid(child, 0, 0);
                exit(0);
            }
            printf("%d\n", getpid());
        } else {
            printf("done\n");
        }
        fflush(stdout);
    }
    exit(0);
}

int main(int argc, char **argv) {
    if (argc > 1 && *argv[1] == 'b') { busy(2); return 0; }
    if (argc > 1) for (;;) pause();
    setvbuf(stdin, 0, _IONBF, 0);
    printf("ready\n");
    fflush(stdout);
    serve();
}
"#;

/// The program, compiled once; every user may run it.
pub fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| compiled(&[]))
}

/// The same, which is busy in a function of another name, and has these permissions.
pub fn other_program(busy: &str, mode: u32) -> Program {
    let program = compiled(&[&format!("-Dbusy={busy}")]);
    let mode = Permissions::from_mode(mode);
    std::fs::set_permissions(program.path(), mode).expect("it is ours");
    program
}

fn compiled(flags: &[&str]) -> Program {
    let flags = [&["-O1", "-fno-optimize-sibling-calls"], flags].concat();
    let program = compile_c(SOURCE, &flags);
    let open = Permissions::from_mode(0o755);
    std::fs::set_permissions(program.folder(), open).expect("it is ours");
    program
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

    /// One that runs this file.
    pub fn running(path: &Path) -> Worker {
        Worker::spawn(&mut Command::new(path))
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

    /// Becomes another program that does as it is told.
    pub fn exec(&mut self, program: &Program) {
        self.exec_file(program.path());
    }

    /// The same of a file.
    pub fn exec_file(&mut self, path: &Path) {
        assert_eq!(self.tell(&format!("exec {}", path.display())), "ready");
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
