//! The daemon as systemd runs it: what it holds, what it finds out about another user's process, and how it is stopped, reloaded and watched.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::machine::Machine;
use super::own_daemon::client::Client;
use super::support::compile_c;

/// Runs code that it has made, and asks the kernel for much: by turns.
const PROGRAM: &str = r#"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

__attribute__((noinline)) static void compiled(void) {
    for (volatile int n = 0; n < 10000000; n++) {}
}

int main(void) {
    /* mov eax, 10000000; again: dec eax; jnz again; ret */
    static const unsigned char loop[] = {0xb8, 0x80, 0x96, 0x98, 0x00, 0xff, 0xc8, 0x75, 0xfc, 0xc3};
    void *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED) return 1;
    memcpy(code, loop, sizeof loop);
    char path[64];
    static char bytes[1 << 20];
    snprintf(path, sizeof path, "/tmp/perf-%d.map", getpid());
    FILE *map = fopen(path, "w");
    if (!map) return 1;
    fprintf(map, "%lx %zx made_at_run_time\n", (unsigned long)code, sizeof loop);
    fclose(map);
    int zeros = open("/dev/zero", O_RDONLY);
    for (;;) {
        compiled();
        ((void (*)(void))code)();
        for (int n = 0; n < 100; n++) if (read(zeros, bytes, sizeof bytes) <= 0) return 1;
    }
}
"#;

/// It runs for alice, out of a folder that nobody else may enter, with a /tmp of its own.
const UNIT: &str = "
[Service]
Type=exec
User=alice
PrivateTmp=yes
ExecStart=/home/alice/hidden/program
";

const CONFIG: &str = "window = \"200ms\"\n";

/// A machine with a running daemon, and alice's program as program.service.
fn running() -> Option<Machine> {
    let machine = Machine::with_perfd()?;
    machine.share(compile_c(PROGRAM, &["-O1"]).path(), "program");
    machine.ok(&[
        "install",
        "-d",
        "-m",
        "700",
        "-o",
        "alice",
        "/home/alice/hidden",
    ]);
    machine.ok(&[
        "install",
        "-o",
        "alice",
        "-m",
        "700",
        "/shared/program",
        "/home/alice/hidden/program",
    ]);
    machine.unit("program.service", UNIT);
    machine.ok(&["systemctl", "start", "program.service"]);
    machine.write("/etc/perfd/perfd.toml", CONFIG);
    machine.ok(&["systemctl", "enable", "--now", "perfd.service"]);
    Some(machine)
}

fn program(machine: &Machine) -> u32 {
    machine
        .property("program.service", "MainPID")
        .parse()
        .expect("a pid")
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

const NAMES: [&str; 3] = [";main;compiled", "made_at_run_time", "read_zero"];

#[test]
fn it_holds_five_capabilities_and_says_what_it_does() {
    let Some(machine) = running() else {
        return;
    };
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

#[test]
fn it_names_what_another_users_process_does() {
    let Some(machine) = running() else {
        return;
    };
    let targets = [
        json!({"pid": program(&machine)}),
        json!({"comm": "program"}),
        json!({"host": true}),
    ];
    for what in targets {
        let mut client = machine.client();
        let target = tailed(&mut client, what);
        names_come(&machine, &mut client, target, &NAMES);
    }
}

#[test]
fn it_names_what_a_unit_does() {
    let Some(machine) = running() else {
        return;
    };
    for what in [
        json!({"unit": "program.service"}),
        json!({"cgroup": "system.slice/program.service"}),
    ] {
        let mut client = machine.client();
        let target = tailed(&mut client, what);
        names_come(&machine, &mut client, target, &NAMES);
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

#[test]
fn a_reload_takes_all_of_a_configuration_or_nothing() {
    let Some(machine) = running() else {
        return;
    };
    let mut client = machine.client();
    let clock = tailed(&mut client, json!({"pid": program(&machine)}));
    let good = format!("{CONFIG}[[target]]\nname = \"configured\"\ncomm = \"program\"\n");
    for config in [
        format!("{good}frequency = 0\n"),
        format!("{good}colour = \"red\"\n"),
        "[[".to_owned(),
    ] {
        let n_before = machine.journal_of_perfd().lines().count();
        machine.write("/etc/perfd/perfd.toml", &config);
        machine.run(&["systemctl", "reload", "perfd.service"]);
        while machine.journal_of_perfd().lines().count() == n_before {
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

#[test]
fn stopped_it_gives_the_last_windows_and_says_why_there_are_no_more() {
    let Some(machine) = running() else {
        return;
    };
    let mut client = machine.client();
    let target = tailed(&mut client, json!({"pid": program(&machine)}));
    client.event(target);
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
