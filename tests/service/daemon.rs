//! The daemon as systemd runs it: what it holds, what it finds out about another user's process, and how it is stopped, reloaded and watched.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::machine::Machine;
use super::outside;
use super::own_daemon::client::Client;
use super::program::{self, NAMES};
use super::users;

const CONFIG: &str = "window = \"200ms\"\n";

/// A machine with a running daemon, and alice's program as program.service.
fn running() -> Option<Machine> {
    let machine = Machine::with_perfd()?;
    program::start(&machine, "program.service", "program");
    machine.write("/etc/perfd/perfd.toml", CONFIG);
    machine.ok(&["systemctl", "enable", "--now", "perfd.service"]);
    Some(machine)
}

fn program(machine: &Machine) -> u32 {
    program::pid(machine, "program.service")
}

#[test]
fn under_systemd_it_does_what_it_does_elsewhere() {
    let Some(machine) = running() else {
        return;
    };
    it_holds_five_capabilities_and_says_what_it_does(&machine);
    it_names_what_another_users_process_does(&machine);
    outside::with_its_filters_bpf_names_what_another_users_process_does(&machine);
    it_names_what_a_unit_does(&machine);
    users::profile_what_the_kernel_lets_them_see_and_administrators_everything(&machine);
    a_reload_takes_all_of_a_configuration_or_nothing(&machine);
    stopped_it_gives_the_last_windows_and_says_why_there_are_no_more(&machine);
}

/// Attaches to a target and tails it, in folded stacks.
fn tailed(client: &mut Client, target: Value) -> u64 {
    let attached = client.done(json!({"do": "attach", "target": target}));
    let target = attached["target"].as_u64().expect("a number");
    client.done(json!({"do": "tail", "target": target, "format": "folded"}));
    target
}

/// Waits until all of `names` have been in windows of a target.
fn names_come(machine: &Machine, client: &mut Client, target: u64, names: &[&str]) {
    let mut missing = names.to_vec();
    let mut seen = String::new();
    for _ in 0..200 {
        let event = client.event(target);
        let folded = event["window"]["folded"]
            .as_str()
            .unwrap_or_else(|| panic!("{event}\n{}", machine.journal()));
        missing.retain(|name| !folded.contains(name));
        if missing.is_empty() {
            return;
        }
        seen += folded;
    }
    panic!("no {missing:?}: {seen}\n{}", machine.journal());
}

fn it_holds_five_capabilities_and_says_what_it_does(machine: &Machine) {
    let pid = machine.property("perfd.service", "MainPID");
    let status = machine.ok(&["cat", &format!("/proc/{pid}/status")]);
    let fields: BTreeMap<_, _> = status
        .lines()
        .filter_map(|line| line.split_once(":\t"))
        .collect();
    // CAP_DAC_READ_SEARCH 2, CAP_SYS_PTRACE 19, CAP_PERFMON 38, CAP_BPF 39, CAP_CHECKPOINT_RESTORE 40.
    let five = format!(
        "{:016x}",
        (1_u64 << 2) | (1 << 19) | (1 << 38) | (1 << 39) | (1 << 40)
    );
    for set in ["CapPrm", "CapBnd", "CapAmb", "CapEff"] {
        assert_eq!(fields[set], five, "{set}");
    }
    assert_eq!((fields["NoNewPrivs"], fields["Seccomp"]), ("1", "2"));
    assert_ne!(fields["Uid"].split('\t').next(), Some("0"));
    let shown = machine.ok(&[
        "systemctl",
        "status",
        "--no-pager",
        "perfd.service",
        "perfd.socket",
    ]);
    assert!(shown.contains("Active: active (running)"), "{shown}");
    assert!(shown.contains("Status: \""), "{shown}");
    assert_eq!(machine.property("perfd.service", "NRestarts"), "0");
}

fn it_names_what_another_users_process_does(machine: &Machine) {
    let targets = [
        json!({"pid": program(machine)}),
        json!({"comm": "program"}),
        json!({"host": true}),
    ];
    for what in targets {
        let mut client = machine.client();
        let target = tailed(&mut client, what);
        names_come(machine, &mut client, target, &NAMES);
    }
}

fn it_names_what_a_unit_does(machine: &Machine) {
    for what in [
        json!({"unit": "program.service"}),
        json!({"cgroup": "system.slice/program.service"}),
    ] {
        let mut client = machine.client();
        let target = tailed(&mut client, what);
        names_come(machine, &mut client, target, &NAMES);
    }
}

#[test]
fn a_daemon_that_stands_still_is_restarted_and_finds_its_configured_targets_again() {
    let Some(machine) = running() else {
        return;
    };
    machine.write(
        "/etc/perfd/perfd.toml",
        &format!("{CONFIG}[[target]]\ncomm = \"program\"\n"),
    );
    machine.unit(
        "perfd.service.d/watchdog.conf",
        "[Service]\nWatchdogSec=1\n",
    );
    machine.ok(&["systemctl", "restart", "perfd.service"]);
    let pid = machine.property("perfd.service", "MainPID");
    machine.ok(&["kill", "-STOP", &pid]);
    // The socket is systemd's: what connects meanwhile is served by the next daemon.
    let mut client = machine.client();
    let target = configured(&mut client);
    client.done(json!({"do": "tail", "target": target, "format": "folded"}));
    names_come(&machine, &mut client, target, &NAMES);
    assert_eq!(machine.property("perfd.service", "NRestarts"), "1");
    let journal = machine.journal();
    assert!(journal.contains("Watchdog timeout"), "{journal}");
}

/// The number of the one configured target.
fn configured(client: &mut Client) -> u64 {
    let listed = client.done(json!({"do": "list"}));
    let targets = listed["targets"].as_array().expect("targets");
    let mut configured = targets.iter().filter(|target| target["owner"].is_null());
    let target = configured.next().unwrap_or_else(|| panic!("{listed}"));
    target["target"].as_u64().expect("a number")
}

fn a_reload_takes_all_of_a_configuration_or_nothing(machine: &Machine) {
    let mut client = machine.client();
    let clock = tailed(&mut client, json!({"pid": program(machine)}));
    let good = format!("{CONFIG}[[target]]\nname = \"configured\"\ncomm = \"program\"\n");
    for (config, why) in [
        (
            format!("{good}frequency = 0\n"),
            "frequency = 0: not a number",
        ),
        (format!("{good}colour = \"red\"\n"), "unknown key `colour`"),
        ("[[".to_owned(), "line 1: [[: "),
    ] {
        machine.write("/etc/perfd/perfd.toml", &config);
        let reloaded = machine.run(&["systemctl", "reload", "perfd.service"]);
        assert_ne!(reloaded.code, 0, "{config}: {reloaded:?}");
        while !machine.journal_of_perfd().contains(why) {
            client.event(clock);
        }
        let listed = client.done(json!({"do": "list"}));
        assert_eq!(
            listed["targets"].as_array().map(Vec::len),
            Some(1),
            "{listed}"
        );
    }
    machine.write("/etc/perfd/perfd.toml", &good);
    machine.ok(&["systemctl", "reload", "perfd.service"]);
    while client.done(json!({"do": "list"}))["targets"]
        .as_array()
        .map(Vec::len)
        != Some(2)
    {
        client.event(clock);
    }
    assert_eq!(machine.property("perfd.service", "NRestarts"), "0");
}

fn stopped_it_gives_the_last_windows_and_says_why_there_are_no_more(machine: &Machine) {
    let mut client = machine.client();
    let target = tailed(&mut client, json!({"pid": program(machine)}));
    client.event(target);
    // Of the host there are large programs to be named, which may take longer than TimeoutStopSec=: nobody who stops a service waits for that.
    let mut other = machine.client();
    let host = tailed(&mut other, json!({"host": true}));
    other.event(host);
    machine.ok(&["systemctl", "stop", "perfd.socket"]);
    loop {
        let event = client.event(target);
        if let Some(end) = event.get("end") {
            assert_eq!(end["reason"], "stopping");
            break;
        }
    }
    while let Some(line) = client.line() {
        assert!(line.get("window").is_none(), "behind the end: {line}");
    }
    assert_eq!(machine.property("perfd.service", "Result"), "success");
    assert_eq!(machine.property("perfd.service", "ExecMainStatus"), "0");
    assert_eq!(
        machine
            .run(&["systemctl", "is-active", "perfd.service"])
            .stdout,
        "inactive\n"
    );
}
