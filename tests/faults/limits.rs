//! Limits of perfd's own process: descriptors and locked memory.

use std::process::{Command, Stdio};

use super::bench::{Bench, Held, ROUNDS, paranoid, run, spinning};
use super::support::{Program, compile_c, copy_program, skip};

/// Thirty threads beside the first, all waiting; says so.
fn threads() -> Program {
    compile_c(
        "#include <pthread.h>
        #include <stdio.h>
        #include <unistd.h>
        static void *waits(void *unused) { for (;;) pause(); return unused; }
        int main(void) {
            pthread_t thread;
            for (int n = 0; n < 30; n++) pthread_create(&thread, 0, waits, 0);
            puts(\"ready\"); fflush(stdout);
            waits(0);
        }",
        &[],
    )
}

#[test]
fn a_soft_limit_of_open_files_is_raised_in_silence() {
    let program = threads();
    let mut target = Held::start(Command::new(program.path()).stdout(Stdio::piped()));
    assert_eq!(target.line(), "ready\n");
    let bench = Bench::new();
    let pid = target.pid();
    let attach = ["attach", "-e", "cpu-clock", "-d", "0.1", &pid];
    let ended = run(&mut bench.through(&["prlimit", "--nofile=64:4096"], &attach));
    ended.says(0, &["delivered 0"]);
    assert!(!ended.stderr.contains("open files"), "{ended:#?}");
}

#[test]
fn a_hard_limit_of_open_files_is_named_where_it_does_not_suffice() {
    let program = threads();
    let mut target = Held::start(Command::new(program.path()).stdout(Stdio::piped()));
    assert_eq!(target.line(), "ready\n");
    let bench = Bench::new();
    let pid = target.pid();
    for args in [&["attach", &pid][..], &["stat", "-p", &pid]] {
        let ended = run(&mut bench.through(&["prlimit", "--nofile=40:40"], args));
        let value = "the hard limit of open files (ulimit -Hn) is 40";
        // The file that is one too many is an event or another one: that depends on how many perfd inherited.
        ended.refuses(71, &["oo many open files", value, "ulimit -n "]);
    }
    let args = ["record", "--", "touch", "marker"];
    for limit in 4..11 {
        let limit = format!("--nofile={limit}:{limit}");
        let ended = run(&mut bench.through(&["prlimit", &limit], &args));
        ended.refuses(71, &["oo many open files", "ulimit -n "]);
        assert!(bench.files().is_empty(), "{:?}", bench.files());
    }
}

#[test]
fn the_command_keeps_the_limit_that_perfd_was_started_with() {
    let bench = Bench::new();
    let args = ["record", "-e", "cpu-clock", "--", "sh", "-c", "ulimit -n"];
    let ended = run(&mut bench.through(&["prlimit", "--nofile=64:4096"], &args));
    assert_eq!(ended.stdout, "64\n", "{ended:#?}");
}

#[test]
fn rings_that_the_locked_memory_limit_forbids_are_shrunk_and_the_limit_named() {
    let program = spinning();
    let bench = Bench::new();
    copy_program(program.path(), &bench.file("spinning"));
    let args = ["record", "-e", "cpu-clock", "-m", "65536", "-o", "-"];
    let args = [&args[..], &["--", "./spinning", ROUNDS]].concat();
    let Some(mut perfd) = bench.stranger(&["prlimit", "--memlock=0"], &args) else {
        return;
    };
    if !(0..=2).contains(&paranoid()) {
        return skip("kernel.perf_event_paranoid lifts the limit, or forbids all events");
    }
    let ended = run(&mut perfd);
    ended.says(0, &["pages per CPU instead of 65536", "ulimit -l is 0"]);
    ended.has_stacks();
}
