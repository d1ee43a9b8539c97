//! Limits of the daemon's own process: descriptors and locked memory.

use std::os::unix::net::UnixStream;

use serde_json::json;

use super::own_daemon::{Circumstances, Daemon, Keeper, accounts_add_up};

#[test]
fn a_daemon_without_descriptors_serves_those_that_it_has_and_then_the_next() {
    // As many as it takes to serve somebody, and fewer than there are to be clients.
    let circumstances = Circumstances {
        through: &["prlimit", "--nofile=96:96"],
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
    daemon.client().done(json!({"do": "list"}));
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
    let attach = json!({"do": "attach", "target": {"pid": std::process::id()}});
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
