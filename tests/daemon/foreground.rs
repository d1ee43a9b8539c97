//! A daemon without a service manager: its own socket, its own folders, one at a place.

use std::io::Read;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::own_daemon::client::{Client, PATIENCE};
use super::support::{copy_program, perfd, skip};

fn command(folder: &Path) -> Command {
    let metrics = folder.join("metrics.sock");
    command_with_metrics(folder, &format!("unix:{}", metrics.display()))
}

fn command_with_metrics(folder: &Path, place: &str) -> Command {
    let mut command = perfd();
    command
        .arg("daemon")
        .arg("--socket")
        .arg(folder.join("control.sock"))
        .arg("--state")
        .arg(folder.join("state"))
        .args(["--metrics", place])
        .env_remove("LISTEN_FDS")
        .env_remove("STATE_DIRECTORY")
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Starts one that says when it is ready.
fn started(folder: &Path) -> Child {
    let ready = UnixDatagram::bind(folder.join("ready")).expect("a socket");
    ready
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    let process = command(folder)
        .env("NOTIFY_SOCKET", folder.join("ready"))
        .spawn()
        .expect("the daemon starts");
    let mut message = [0; 4096];
    let n = ready.recv(&mut message).expect("it is ready");
    assert!(String::from_utf8_lossy(&message[..n]).contains("READY=1"));
    process
}

#[test]
fn it_makes_its_socket_and_takes_it_away_and_a_second_one_is_told_of_the_first() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut process = started(folder.path());
    let socket = folder.path().join("control.sock");
    let second = command(folder.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(73), "{said}");
    assert!(said.contains("another perfd listens there"), "{said}");

    let mut client = Client::connect(&socket).expect("a connection");
    let stats = client.done(json!({"do": "stats"}));
    assert_eq!(stats["targets"], 0);
    let metrics = folder.path().join("metrics.sock");
    let mut stream = std::os::unix::net::UnixStream::connect(metrics).expect("a connection");
    std::io::Write::write_all(&mut stream, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    assert!(
        text.contains("\nperfd_targets{state=\"running\"} 0\n"),
        "{text}"
    );

    // Whoever runs a daemon may end it.
    client.done(json!({"do": "shutdown"}));
    let status = process.wait().expect("its end");
    assert!(status.success(), "{status}");
    assert!(!socket.exists());
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used_for_state() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    std::fs::create_dir(&state).expect("made");
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).expect("set");
    let output = command(folder.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(73), "{said}");
    let own = nix::unistd::geteuid();
    assert!(
        said.contains(&format!("belongs to user {own} with mode 0777")) && said.contains("--state"),
        "{said}"
    );
    std::fs::remove_dir(&state).expect("removed");
    std::fs::write(&state, "").expect("written");
    let output = command(folder.path()).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(73), "{said}");
    assert!(said.contains("something that is no folder"), "{said}");
}

#[test]
fn a_port_that_is_in_use_is_told_with_a_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = taken.local_addr().expect("bound").to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let output = command_with_metrics(folder.path(), &place).output();
    let output = output.expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(73), "{said}");
    assert!(
        said.contains(&format!("listen on {place}")) && said.contains("another port"),
        "{said}"
    );
}

/// A process that does not outlive the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A user without rights.
const USER: u32 = 65534;

#[test]
fn without_rights_it_profiles_what_is_its_users_or_says_at_once_why_the_host_forbids_it() {
    use std::os::unix::fs::{PermissionsExt, chown};
    if !nix::unistd::Uid::effective().is_root() {
        return skip("to become a user without rights needs root");
    }
    let folder = tempfile::tempdir().expect("a folder");
    chown(folder.path(), Some(USER), Some(USER)).expect("root may");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
    let program = folder.path().join("perfd");
    copy_program(Path::new(perfd().get_program()), &program);
    let ready = UnixDatagram::bind(folder.path().join("ready")).expect("a socket");
    ready
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    std::fs::set_permissions(
        folder.path().join("ready"),
        std::fs::Permissions::from_mode(0o777),
    )
    .expect("set");
    let as_user = |command: &str| {
        let mut user = Command::new("setpriv");
        let id = USER.to_string();
        user.args(["--reuid", &id, "--regid", &id, "--clear-groups", command]);
        user
    };
    let mut command = as_user(program.to_str().expect("text"));
    command
        .arg("daemon")
        .arg("--socket")
        .arg(folder.path().join("control.sock"))
        .arg("--state")
        .arg(folder.path().join("state"))
        .env_remove("LISTEN_FDS")
        .env_remove("STATE_DIRECTORY")
        .env("NOTIFY_SOCKET", folder.path().join("ready"))
        .stdin(Stdio::null());
    let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").expect("a number");
    let level: i32 = level.trim().parse().expect("a number");
    if level > 0 {
        // Every engine samples whole CPUs. Who may not is told so by the daemon, and not by each attach.
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(77), "{said}");
        for part in [
            "a daemon samples whole CPUs",
            &format!("kernel.perf_event_paranoid is {level}"),
            "kernel.perf_event_paranoid=0",
            "CAP_PERFMON",
            "perfd attach",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!folder.path().join("control.sock").exists());
        return;
    }
    let mut process = Killed(command.spawn().expect("the daemon starts"));
    let mut message = [0; 4096];
    let n = ready.recv(&mut message).expect("it is ready");
    assert!(String::from_utf8_lossy(&message[..n]).contains("READY=1"));

    let work = ["sh", "-c", "while :; do :; done"];
    let own = Killed(as_user(work[0]).args(&work[1..]).spawn().expect("sh"));
    let others = Killed(
        Command::new("sleep")
            .arg("infinity")
            .spawn()
            .expect("sleep"),
    );
    let mut client = Client::connect(&folder.path().join("control.sock")).expect("a connection");
    // `setpriv` becomes the program in a moment.
    let is_own = || {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", own.0.id()));
        name.is_ok_and(|name| name == "sh\n")
    };
    while !is_own() {
        std::thread::yield_now();
    }
    let target = client.attach(own.0.id());
    client.done(json!({"do": "tail", "target": target, "format": "folded"}));
    while client.event(target)["window"]["samples"] == 0 {}
    let refused = client.ask(json!({"do": "attach", "target": {"pid": others.0.id()}}));
    assert_eq!(refused.expect_err("another's")["class"], "permission");
    client.done(json!({"do": "list"}));
    client.done(json!({"do": "shutdown"}));
    let status = process.0.wait().expect("its end");
    assert!(status.success(), "{status}");
}
