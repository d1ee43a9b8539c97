//! Targets that are not there, have ended, end at once, or do not run.

use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};

use super::bench::{Bench, Held, run, spinning};
use super::support::compile_c;

#[test]
fn a_number_that_no_process_has_is_refused() {
    let bench = Bench::new();
    for args in [
        &["attach", "999999999"][..],
        &["attach", "2147483647"],
        &["attach", "--tree", "999999999"],
        &["stat", "-p", "999999999"],
    ] {
        let pid = args.last().expect("not empty");
        let cause = format!("no such process: {pid}");
        run(&mut bench.perfd(args)).refuses(66, &[&cause, "try: ps -e"]);
    }
    let mut ended = Command::new("true").spawn().expect("true starts");
    ended.wait().expect("it ends");
    let pid = ended.id().to_string();
    run(&mut bench.perfd(&["attach", &pid])).refuses(66, &["no such process"]);
    run(&mut bench.perfd(&["attach", "-t", &pid])).refuses(66, &["no such thread", "try: ps -eL"]);
}

#[test]
fn a_zombie_is_refused() {
    let zombie = Held::start(&mut Command::new("true"));
    let until_dead = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(zombie.unix_pid()), until_dead).expect("it ends");
    let bench = Bench::new();
    for args in [["attach"].as_slice(), &["attach", "-t"], &["stat", "-p"]] {
        let pid = zombie.pid();
        let args = [args, &[pid.as_str()]].concat();
        let cause = format!("process {pid} is a zombie");
        let remedy = format!("ps -o ppid= -p {pid}");
        run(&mut bench.perfd(&args)).refuses(66, &[&cause, &remedy]);
    }
}

#[test]
fn a_process_whose_main_thread_has_ended_is_no_zombie() {
    let program = compile_c(
        "#include <pthread.h>
        #include <stdio.h>
        #include <unistd.h>
        volatile unsigned long n;
        static void *works(void *main_thread) {
            pthread_join(*(pthread_t *)main_thread, 0);
            puts(\"alone\"); fflush(stdout);
            for (;;) n++;
        }
        int main(void) {
            static pthread_t self; pthread_t worker;
            self = pthread_self();
            pthread_create(&worker, 0, works, &self);
            pthread_exit(0);
        }",
        &["-O1"],
    );
    let mut target = Held::start(Command::new(program.path()).stdout(Stdio::piped()));
    assert_eq!(target.line(), "alone\n");
    let bench = Bench::new();
    let pid = target.pid();
    let ended = run(&mut bench.perfd(&["attach", "-e", "cpu-clock", "-d", "0.3", &pid]));
    ended.says(0, &[]);
    ended.has_stacks();
    run(&mut bench.perfd(&["attach", "-t", &pid])).refuses(66, &["no such thread"]);
}

#[test]
fn the_number_of_a_thread_is_not_that_of_a_process() {
    let (to_thread, in_thread) = std::sync::mpsc::sync_channel::<()>(0);
    let (to_test, in_test) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::spawn(move || {
        to_test.send(nix::unistd::gettid()).expect("the test waits");
        let _ = in_thread.recv();
    });
    let tid = in_test.recv().expect("the thread runs").to_string();
    let bench = Bench::new();
    for command in [&["attach"][..], &["stat", "-p"]] {
        let args = [command, &[tid.as_str()]].concat();
        let cause = format!("{tid} is a thread of process {}", std::process::id());
        let remedy = format!("try: perfd attach -t {tid}");
        run(&mut bench.perfd(&args)).refuses(66, &[&cause, &remedy]);
    }
    drop(to_thread);
    thread.join().expect("it ends");
}

#[test]
fn a_target_that_ends_while_perfd_attaches_is_not_there_or_has_ended() {
    let bench = Bench::new();
    for _ in 0..10 {
        // Reaped by nobody but this test, so that the number stays its own.
        let mut target = Command::new("true").spawn().expect("true starts");
        let ended = run(&mut bench.perfd(&["attach", &target.id().to_string()]));
        match ended.code {
            Some(0) => (),
            _ => ended.refuses(66, &[]),
        }
        target.wait().expect("it ends");
    }
}

#[test]
fn the_end_of_the_target_ends_the_run_well() {
    let program = spinning();
    let target = Held::start(&mut Command::new(program.path()));
    let bench = Bench::new();
    let mut perfd = bench.perfd(&["attach", "--interval", "20ms", &target.pid()]);
    let perfd = perfd.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut perfd = Held::start(perfd);
    assert!(perfd.line().starts_with("program;"));
    drop(target);
    assert_eq!(perfd.0.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_stopped_target_gives_no_samples_and_stays_stopped() {
    let program = spinning();
    let target = Held::start(&mut Command::new(program.path()));
    kill(target.unix_pid(), Signal::SIGSTOP).expect("it is ours");
    let until_stopped = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(target.unix_pid()), until_stopped).expect("it stops");
    let bench = Bench::new();
    let pid = target.pid();
    let ended = run(&mut bench.perfd(&["attach", "-e", "cpu-clock", "-d", "0.2", &pid]));
    ended.says(0, &["delivered 0", "no samples: "]);
    assert_eq!(ended.stdout, "");
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    assert!(stat.contains(") T "), "{stat}");
}
