//! Limits of the daemon's own process: descriptors, locked memory, and time that it or its parser does not get.

use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

use super::own_daemon::client::{Client, PATIENCE};
use super::own_daemon::{Circumstances, Daemon, Keeper, accounts_add_up};
use super::programs::Steps;

#[test]
fn a_daemon_without_descriptors_serves_those_that_it_has_and_then_the_next() {
    // As many as it takes to serve somebody, and fewer than there are to be clients.
    let circumstances = Circumstances {
        through: &["prlimit", "--nofile=110:110"],
        config: "[limits]\nclients = 1000\nclients_per_user = 1000\n",
    };
    let Some(daemon) = Daemon::start(&circumstances) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let waiting: Vec<_> = (0..120)
        .map(|_| UnixStream::connect(daemon.socket()).expect("there is room in the queue"))
        .collect();
    while keeper.next_stats()["clients"]["accept_paused"] == 0 {}
    drop(waiting);
    keeper.finds_all_as_it_was();
    // Some of those that have left may still stand in the queue.
    let until = Instant::now() + PATIENCE;
    let mut next = loop {
        match Client::connect(&daemon.socket()) {
            Ok(client) => break client,
            Err(farewell) => assert!(
                farewell["class"] == "limit" && Instant::now() < until,
                "{farewell}"
            ),
        }
    };
    next.done(json!({"do": "list"}));
    drop(next);
    daemon.end();
}

#[test]
fn a_daemon_that_may_lock_no_memory_samples_into_smaller_rings_or_says_why_not() {
    let through = [
        "setpriv",
        "--bounding-set",
        "-ipc_lock,-sys_admin",
        "--",
        "prlimit",
        "--memlock=0:0",
    ];
    let Some(daemon) = Daemon::start(&Circumstances {
        through: &through,
        ..Default::default()
    }) else {
        return;
    };
    let mut client = daemon.client();
    let mut steps = Steps::of("int main(void) { next_step(); for (;;) work(1000000); }");
    steps.go();
    let attach = json!({"do": "attach", "target": {"pid": steps.pid()}});
    match client.ask(attach) {
        Ok(attached) => {
            let target = attached["target"].as_u64().expect("a number");
            client.done(json!({"do": "tail", "target": target, "format": "folded"}));
            while client.event(target)["window"]["samples"] == 0 {}
        }
        // Other profilers of this user may have taken all that the kernel allows beyond the limit.
        Err(error) => assert_eq!(error["class"], "permission", "{error}"),
    }
    drop(client);
    accounts_add_up(&daemon.client().done(json!({"do": "stats"})));
    daemon.end();
}

/// The hard limit of descriptors of a running daemon; it may be raised again.
fn limit_open_files(daemon: &Daemon, soft: u64) {
    let done = Command::new("prlimit")
        .args(["--pid", &daemon.pid().to_string()])
        .arg(format!("--nofile={soft}:"))
        .status();
    assert!(done.expect("prlimit").success());
}

#[test]
fn where_no_descriptor_is_left_for_a_target_its_client_is_told_and_others_go_on() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut client = daemon.client();
    let steps = Steps::of("int main(void) { for (;;) next_step(); }");
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    // With the engine that there is, and with one of its own.
    for (frequency, most) in [(19, 12), (23, 100)] {
        let attach =
            json!({"do": "attach", "target": {"pid": steps.pid()}, "frequency": frequency});
        let (mut refused, mut done) = (0, 0);
        for left in (0..=most).step_by(most / 12) {
            let stats = keeper.next_stats();
            limit_open_files(
                &daemon,
                stats["open_files"].as_u64().expect("files") + left as u64,
            );
            match client.in_the_end(attach.clone()) {
                // What needs a descriptor and is of less use is given up, and that is said.
                Ok(attached) => {
                    client.done(json!({"do": "detach", "target": attached["target"]}));
                    done += 1;
                }
                Err(error) => {
                    let message = error["message"].as_str().expect("text").to_lowercase();
                    assert!(
                        message.contains("too many open files"),
                        "{left} left: {error}"
                    );
                    refused += 1;
                }
            }
            keeper.next_stats();
            limit_open_files(&daemon, hard);
        }
        assert!(
            refused > 0 && done > 0,
            "{frequency} Hz: {refused} refused, {done} done"
        );
    }
    drop((client, steps));
    keeper.finds_all_as_it_was();
    daemon.end();
}

/// The daemon's parser, if it has one now.
fn parser_of(daemon: &Daemon) -> Option<Pid> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it lives");
    let children = tasks.flatten().flat_map(|task| {
        let listed = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        let pids = listed.split_ascii_whitespace().map(str::parse);
        pids.flatten().collect::<Vec<i32>>()
    });
    let is_parser = |pid: &i32| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        command
            .split(|byte| *byte == 0)
            .any(|word| word == b"parse")
    };
    children.into_iter().find(is_parser).map(Pid::from_raw)
}

#[test]
fn a_parser_that_stands_still_or_dies_keeps_nobody_from_an_answer() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut client = daemon.client();
    let mut steps = Steps::of("int main(void) { for (;;) { next_step(); work(100000000); } }");
    let target = client.attach(steps.pid());
    client.done(json!({"do": "tail", "target": target, "format": "folded"}));
    for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
        let parser = loop {
            steps.go();
            steps.has_done_it();
            client.event(target);
            if let Some(parser) = parser_of(&daemon) {
                break parser;
            }
        };
        kill(parser, signal).expect("it lives");
        steps.go();
        steps.has_done_it();
        for _ in 0..20 {
            let asked = client.in_the_end(json!({"do": "stats"}));
            accounts_add_up(&asked.expect("figures"));
            client.in_the_end(json!({"do": "list"})).expect("a list");
        }
        if signal == Signal::SIGSTOP {
            kill(parser, Signal::SIGCONT).expect("it lives");
        }
        steps.go();
        steps.has_done_it();
        while client.event(target)["window"]["samples"] == 0 {}
    }
    drop((client, steps));
    keeper.finds_all_as_it_was();
    daemon.end();
}

#[test]
fn a_daemon_that_was_stopped_goes_on_and_accounts_for_what_was_sampled_meanwhile() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut client = daemon.client();
    let mut steps = Steps::of("int main(void) { for (;;) { next_step(); work(300000000); } }");
    let attach = json!({"do": "attach", "target": {"pid": steps.pid()}, "frequency": 997});
    let target = client.done(attach)["target"].as_u64().expect("a number");
    client.done(json!({"do": "tail", "target": target, "format": "folded"}));
    for _ in 0..3 {
        daemon.signal(Signal::SIGSTOP);
        steps.go();
        steps.has_done_it();
        daemon.signal(Signal::SIGCONT);
        while client.event(target)["window"]["samples"] == 0 {}
    }
    drop((client, steps));
    keeper.finds_all_as_it_was();
    daemon.end();
}
