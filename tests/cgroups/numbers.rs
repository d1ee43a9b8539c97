//! A process that gets the number of a target which has ended: none of its samples are the target's.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use perfd::model::{Hz, MonoNs, Pid, Rate};
use perfd::sampler::Reach;
use perfd::sys::{self, Start};

use crate::bench::{Bench, Seen};
use crate::support::{Program, compile_c};
use crate::tree::{cgroups, cgroups_and_bpf};

/// Times that a number is used again.
const ROUNDS: usize = 10;
/// Samples of a target to wait for.
const ENOUGH: usize = 5;
/// How long the impostor runs, on the CPU, in ms: dozens of samples.
const RUNS_FOR: u32 = 60;

/// `f`: forks a child that spins, and says its number. `k N`: ends it, and waits for it. `r N`: forks another one that has the same
/// number, lets it run for RUNS_FOR ms on the CPU, and says so. Neither execs: the code is the same, at the same place.
const SAME_NUMBER: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

__attribute__((noipa)) static void spin(void) {
    for (volatile int i = 0; i < 10000; i++) {}
}

static void end(int pid) {
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static int spins(void) {
    int pid = fork();
    if (pid == 0) {
        /* With the test, too, if that fails. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) spin();
    }
    if (pid < 0) exit(1);
    return pid;
}

static void set_last(int last) {
    FILE *file = fopen("/proc/sys/kernel/ns_last_pid", "w");
    if (!file || fprintf(file, "%d", last) < 0 || fclose(file)) exit(2);
}

int main(int argc, char **argv) {
    char what;
    int number;
    while (scanf(" %c %d", &what, &number) == 2) {
        if (what == 'f') {
            int pid = spins();
            printf("%d\n", pid);
        } else if (what == 'k') {
            end(number);
            printf("0\n");
        } else {
            int pid = 0;
            /* Others of the host fork too. */
            for (int tries = 0; tries < 10000 && pid != number; tries++) {
                if (pid) end(pid);
                set_last(number - 1);
                pid = spins();
            }
            if (pid != number) return 4;
            clockid_t clock;
            struct timespec ran = {0};
            if (clock_getcpuclockid(pid, &clock)) return 5;
            while (ran.tv_sec * 1000 + ran.tv_nsec / 1000000 < atoi(argv[1])) clock_gettime(clock, &ran);
            printf("%d\n", pid);
        }
        fflush(stdout);
    }
    return 0;
}
"#;

struct Forker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Forker {
    fn start(program: &Program) -> Forker {
        let mut child = Command::new(program.path())
            .arg(RUNS_FOR.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        Forker {
            input: child.stdin.take().expect("piped"),
            output: BufReader::new(child.stdout.take().expect("piped")),
            child,
        }
    }

    fn tell(&mut self, what: char, number: u32) -> Pid {
        writeln!(self.input, "{what} {number}").expect("it reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it answers");
        Pid(line
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{what} {number}: {line:?}")))
    }
}

impl Drop for Forker {
    fn drop(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }
}

/// Samples that are taken for the target's, though they are of a time when it had ended.
fn of_impostor(seen: &[Seen], pid: Pid, ended: MonoNs) -> usize {
    let samples = seen.iter().filter(|sample| sample.pid == pid);
    samples
        .filter(|sample| sample.time > ended && (sample.in_kernel || sample.is_known))
        .count()
}

fn of_target(seen: &[Seen], pid: Pid) -> usize {
    seen.iter().filter(|sample| sample.pid == pid).count()
}

#[test]
fn the_kernels_walk_takes_no_sample_of_a_process_that_has_got_the_number_of_a_target() {
    let Some(cgroups) = cgroups_and_bpf() else {
        return;
    };
    let program = compile_c(SAME_NUMBER, &["-O1"]);
    let mut forker = Forker::start(&program);
    let mut bench = Bench::with_bpf(&cgroups);
    for round in 0..ROUNDS {
        let pid = forker.tell('f', 0);
        bench.seen.clear();
        bench.add_process(pid);
        while of_target(&bench.seen, pid) < ENOUGH {
            bench.take_of_known();
        }
        // Nothing is read from here on until the impostor has run: perfd still believes in the target.
        forker.tell('k', pid.0);
        let ended = sys::now();
        bench.seen.clear();
        assert_eq!(forker.tell('r', pid.0), pid);
        let outcomes = bench
            .sampling
            .outcomes()
            .expect("readable")
            .expect("with BPF");
        bench.take_of_known();
        assert_eq!(
            of_impostor(&bench.seen, pid, ended),
            0,
            "round {round}: {:?}",
            bench.seen
        );
        // And what it does later is not the target's either.
        assert!(bench.processes.space(pid).is_none());
        let left = outcomes[0].left_to_ring;
        assert!(left > 0, "it has run: {outcomes:?}");
        forker.tell('k', pid.0);
    }
}

#[test]
fn events_on_threads_take_no_sample_of_a_process_that_has_got_the_number_of_a_target() {
    let Some(cgroups) = cgroups() else {
        return;
    };
    let program = compile_c(SAME_NUMBER, &["-O1"]);
    let mut forker = Forker::start(&program);
    for round in 0..ROUNDS {
        let pid = forker.tell('f', 0);
        let rate = Rate::Frequency(Hz(997));
        let mut bench = Bench::of_event(&cgroups, "cpu-clock:u", rate, Reach::Threads);
        let thread = Some((pid, pid.main_thread()));
        let sampling = &mut bench.sampling;
        sampling
            .open_side_band(thread, Start::Enabled)
            .expect("root may");
        sampling.open(thread, Start::Enabled).expect("root may");
        bench.add_process(pid);
        while of_target(&bench.seen, pid) < ENOUGH {
            bench.take_of_known();
        }
        forker.tell('k', pid.0);
        let ended = sys::now();
        bench.seen.clear();
        assert_eq!(forker.tell('r', pid.0), pid);
        bench.take_of_known();
        assert_eq!(
            of_impostor(&bench.seen, pid, ended),
            0,
            "round {round}: {:?}",
            bench.seen
        );
        assert!(bench.processes.space(pid).is_none());
        forker.tell('k', pid.0);
    }
}
