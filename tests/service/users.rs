//! Who may profile whom, asked by the users themselves, in the service: what is proved by files of /proc has to hold in its sandbox too.

use serde_json::{Value, json};

use super::machine::Machine;

/// A client as it may be written by anybody: attaches to what it is told, with what it may open of a process, and prints the answer.
const ATTACH: &str = r#"
import json, os, socket, sys
target = json.loads(sys.argv[1])
files = []
try:
    files += [os.pidfd_open(target["pid"]), os.open(f"/proc/{target['pid']}/maps", os.O_RDONLY)]
except (KeyError, OSError):
    files = []
s = socket.socket(socket.AF_UNIX)
s.connect("/run/perfd/control.sock")
lines = s.makefile()
lines.readline()
socket.send_fds(s, [json.dumps({"do": "attach", "target": target}).encode() + b"\n"], files)
print(lines.readline())
"#;

/// Starts a program for a user; its number.
fn started(machine: &Machine, unit: &str, user: &str, program: &str) -> Value {
    machine.unit(
        unit,
        &format!("[Service]\nType=exec\nUser={user}\nExecStart={program} infinity\n"),
    );
    machine.ok(&["systemctl", "start", unit]);
    let pid: u32 = machine.property(unit, "MainPID").parse().expect("a pid");
    json!({ "pid": pid })
}

/// With a daemon that runs.
pub fn profile_what_the_kernel_lets_them_see_and_administrators_everything(machine: &Machine) {
    let alices = started(machine, "alices.service", "alice", "/bin/sleep");
    let bobs = started(machine, "bobs.service", "bob", "/bin/sleep");
    // A program that alice may run and not read: the kernel does not let her look into it, and neither may perfd.
    machine.ok(&[
        "install",
        "-m",
        "711",
        "/bin/sleep",
        "/usr/local/bin/unreadable",
    ]);
    let closed = started(
        machine,
        "closed.service",
        "alice",
        "/usr/local/bin/unreadable",
    );
    let unit = json!({"unit": "alices.service"});
    let host = json!({"host": true});
    let gone = json!({"pid": 4_000_000});
    for (user, target, expected) in [
        ("alice", &alices, "ok"),
        ("alice", &bobs, "permission"),
        ("alice", &closed, "permission"),
        ("alice", &unit, "permission"),
        ("alice", &host, "permission"),
        ("bob", &bobs, "ok"),
        ("bob", &alices, "permission"),
        ("bob", &closed, "permission"),
        // An administrator by her group, and root.
        ("carol", &alices, "ok"),
        ("carol", &closed, "ok"),
        ("carol", &unit, "ok"),
        ("carol", &host, "ok"),
        ("root", &bobs, "ok"),
        ("root", &gone, "no-such-target"),
    ] {
        let said = machine.run_as(user, &["python3", "-c", ATTACH, &target.to_string()]);
        let answer: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|_| panic!("{said:#?}\n{}", machine.journal()));
        let result = answer["error"]["class"].as_str();
        let result = result.unwrap_or(if answer["ok"].is_object() {
            "ok"
        } else {
            "nothing"
        });
        assert_eq!(result, expected, "{user}, {target}: {answer}");
    }
}
