//! What ends a run, and what of it is left.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::{Signal, kill};

use crate::folded::{parse, said};
use crate::ledger::{self, check_identity};
use crate::support::perfd;
use crate::targets::{Running, Target, crew, may_sample};

#[test]
fn a_signal_to_perfd_alone_ends_the_run_with_full_output_and_reaches_the_command() {
    if !may_sample() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let at = |name: &str| folder.path().join(name);
    for (signal, name, code) in [(Signal::SIGINT, "INT", 3), (Signal::SIGTERM, "TERM", 4)] {
        let script = format!(
            "trap 'echo got {name}; exit {code}' {name}; echo ready; i=0; while :; do i=$((i + 1)); done"
        );
        let mut recorded = Running::start(
            perfd()
                .args(["record", "-q", "--interval", "100ms", "-o"])
                .arg(at("x.folded"))
                .arg("-o")
                .arg(at("x.json"))
                .arg("-o")
                .arg(at("x.svg"))
                .args(["--", "sh", "-c", &script]),
        );
        assert_eq!(recorded.line(), "ready");
        recorded.signal(signal);
        assert_eq!(recorded.line(), format!("got {name}"));
        let (_, output) = recorded.finish();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        let text = std::fs::read_to_string(at("x.folded")).expect("written");
        parse(&text).expect("folded");
        check_identity(&ledger::read(&at("x.json")));
        let svg = std::fs::read_to_string(at("x.svg")).expect("written");
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}

#[test]
fn a_second_signal_ends_perfd_at_once() {
    if !may_sample() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let socket = folder.path().join("stacks");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let script = "trap '' INT; echo $$; while :; do :; done";
    let mut recorded = Running::start(
        perfd()
            .args(["record", "-q", "-o"])
            .arg(format!("unix:{}", socket.display()))
            .args(["--", "sh", "-c", script]),
    );
    let (mut stream, _) = listener.accept().expect("perfd connects");
    let command: i32 = recorded.line().parse().expect("a pid");
    recorded.signal(Signal::SIGINT);
    // The end of the stream says that the profile is written; the command stays, since it ignores the signal.
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("text");
    parse(&text).expect("folded");
    recorded.signal(Signal::SIGINT);
    let status = recorded.wait();
    let command = nix::unistd::Pid::from_raw(command);
    kill(command, Signal::SIGKILL).expect("the command is still there");
    assert_eq!(status.signal(), Some(libc::SIGINT));
}

#[test]
fn an_attach_ends_by_signal_with_full_output_and_leaves_the_target() {
    let Some(program) = crew() else { return };
    let json = program.folder().join("x.json");
    let mut target = Target::start(program.path());
    let mut attached = Running::start(
        perfd()
            .args(["attach", "--interval", "100ms", "-o", "-", "-o"])
            .arg(&json)
            .arg(target.pid()),
    );
    let first = attached.line();
    attached.signal(Signal::SIGINT);
    let (rest, output) = attached.finish();
    assert!(output.status.success(), "{}", said(&output));
    assert!(target.is_running());
    let weight: u64 = parse(&format!("{first}\n{rest}"))
        .expect("folded")
        .iter()
        .map(|stack| stack.samples)
        .sum();
    let document = ledger::read(&json);
    check_identity(&document);
    let account = ledger::event(&document, 0);
    assert_eq!(weight, ledger::number(account, "sampled_weight"));
    assert!(said(&output).contains("stacks   "), "{}", said(&output));
}

#[test]
fn an_attach_ends_when_its_last_target_has_ended() {
    let Some(program) = crew() else { return };
    let mut first = Target::start(program.path());
    let mut second = Target::start(program.path());
    let mut attached = Running::start(
        perfd()
            .args(["attach", "-q", "--interval", "100ms", "--pid"])
            .args([first.pid(), second.pid()]),
    );
    attached.line();
    first.tell_to_end();
    let gone = format!("program-{};", first.pid());
    drop(first);
    // Windows without the first one: the run goes on.
    let mut n_of_second = 0;
    while n_of_second < 20 {
        let line = attached.line();
        n_of_second = if line.starts_with(&gone) {
            0
        } else {
            n_of_second + 1
        };
    }
    let _ = second.input().write_all(b"\n");
    let (_, output) = attached.finish();
    assert!(output.status.success(), "{}", said(&output));
}
