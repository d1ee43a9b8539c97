//! The metrics socket, in both its forms: who may read it, and that it needs no network of the daemon's.

use std::fs;

use super::machine::{Machine, Said, here};

/// Asks for metrics by TCP.
const BY_TCP: &str =
    r#"exec 3<>/dev/tcp/127.0.0.1/9464; printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3; cat <&3"#;

/// Asks for metrics at the unix socket.
const BY_UNIX: &str = r#"
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/perfd/metrics.sock")
s.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
while data := s.recv(65536):
    sys.stdout.write(data.decode())
"#;

fn is_metrics(said: &Said) -> bool {
    said.code == 0 && said.stdout.starts_with("HTTP/1.") && said.stdout.contains("\n# TYPE perfd_")
}

#[test]
fn metrics_are_for_administrators_and_by_tcp_for_all() {
    let Some(machine) = Machine::with_perfd() else {
        return;
    };
    administrators_read_them_and_others_do_not(&machine);
    by_tcp_they_come_from_a_daemon_that_has_no_network(&machine);
}

fn administrators_read_them_and_others_do_not(machine: &Machine) {
    machine.ok(&["systemctl", "enable", "--now", "perfd-metrics.socket"]);
    // The first who asks starts the daemon.
    for user in ["root", "carol"] {
        let said = machine.run_as(user, &["python3", "-c", BY_UNIX]);
        assert!(
            is_metrics(&said),
            "{user}: {said:#?}\n{}",
            machine.journal()
        );
    }
    let said = machine.run_as("alice", &["python3", "-c", BY_UNIX]);
    assert!(said.stderr.contains("PermissionError"), "{said:#?}");
    assert_eq!(machine.property("perfd.service", "ActiveState"), "active");
}

fn by_tcp_they_come_from_a_daemon_that_has_no_network(machine: &Machine) {
    let page = fs::read_to_string(here("docs/DAEMON.md")).expect("the page");
    let (_, rest) = page.split_once("```ini\n").expect("what is edited");
    let (edited, _) = rest.split_once("```").expect("its end");
    machine.unit("perfd-metrics.socket.d/override.conf", edited);
    // systemd opens no socket for a service that runs.
    machine.ok(&["systemctl", "stop", "perfd.service"]);
    machine.ok(&["systemctl", "restart", "perfd-metrics.socket"]);
    let said = machine.run_as("alice", &["bash", "-c", BY_TCP]);
    assert!(is_metrics(&said), "{said:#?}\n{}", machine.journal());
    let pid = machine.property("perfd.service", "MainPID");
    let own = machine.ok(&["readlink", &format!("/proc/{pid}/ns/net")]);
    assert_ne!(own, machine.ok(&["readlink", "/proc/self/ns/net"]));
}
