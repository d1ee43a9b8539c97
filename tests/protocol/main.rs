//! The clients that `docs/PROTOCOL.md` shows, as they stand there, against the daemon's loop of connections and a registry that is made up.

mod registry;
#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Output, Stdio};

use registry::{AttachedTo, Registry};

/// The code of the page that stands behind a mark, until its fence closes.
fn shown(mark: &str) -> String {
    let page = std::fs::read_to_string("docs/PROTOCOL.md").expect("the page");
    let behind = page
        .split_once(&format!("<!-- {mark} -->\n```"))
        .unwrap_or_else(|| panic!("no {mark}"))
        .1;
    let (_language, behind) = behind.split_once('\n').expect("a fence");
    behind.split_once("\n```").expect("its end").0.to_owned()
}

/// The same with the socket of this test.
fn at(registry: &Registry, code: &str) -> String {
    let socket = registry.socket().display().to_string();
    assert!(code.contains("/run/perfd/control.sock"), "{code}");
    code.replace("/run/perfd/control.sock", &socket)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn of(pid: u32, frequency: Option<u64>) -> AttachedTo {
    AttachedTo { pid, frequency }
}

#[test]
fn the_lines_for_socat_are_answered() {
    if Command::new("socat").arg("-V").output().is_err() {
        return support::skip("socat is not installed");
    }
    let registry = Registry::start();
    let lines = at(&registry, &shown("socat"));
    let commands: Vec<&str> = lines.lines().collect();
    assert_eq!(commands.len(), 3);
    let outputs = commands.iter().map(|command| {
        let run = Command::new("sh").args(["-c", command]).output();
        text(&run.expect("sh starts"))
    });
    let outputs: Vec<String> = outputs.collect();
    for output in &outputs {
        assert!(output.starts_with("{\"perfd\":"), "{output}");
    }
    assert!(
        outputs[0].contains("{\"ok\":{\"targets\":["),
        "{}",
        outputs[0]
    );
    assert!(outputs[1].contains("\"uptime_ns\""), "{}", outputs[1]);
    assert!(
        outputs[2].contains("{\"window\":{\"target\":7,\"from\":0"),
        "{}",
        outputs[2]
    );
    assert!(
        outputs[2].contains("{\"end\":{\"target\":7"),
        "{}",
        outputs[2]
    );
}

#[test]
fn ten_lines_of_python_attach_and_follow() {
    let registry = Registry::start();
    let code = at(&registry, &shown("python"));
    assert!(code.lines().count() <= 11, "{code}");
    let mut target = Command::new("cat")
        .stdin(Stdio::piped())
        .spawn()
        .expect("cat starts");
    let ran = Command::new("python3")
        .args(["-c", &code, &target.id().to_string()])
        .output()
        .expect("python3 starts");
    drop(target.stdin.take());
    target.wait().expect("it ends");
    assert_eq!(text(&ran), "comm;f 10\ncomm;f 10\n");
    // The right descriptors came with it.
    assert_eq!(registry.attached(), [of(target.id(), None)]);
}

#[test]
fn perfd_ctl_asks_the_same() {
    let registry = Registry::start();
    let ctl = |args: &[&str]| {
        let run = support::perfd()
            .arg("ctl")
            .args(args)
            .arg("--socket")
            .arg(registry.socket())
            .output();
        run.expect("perfd starts")
    };
    let own = std::process::id().to_string();
    assert_eq!(
        text(&ctl(&["attach", &own, "--name", "bench", "-F", "99"])),
        "7\n"
    );
    assert_eq!(registry.attached(), [of(std::process::id(), Some(99))]);
    assert_eq!(
        text(&ctl(&["attach", &own, "--json"])),
        "{\"target\":7,\"name\":\"bench\",\"events\":[\"cpu-clock\"],\"notes\":[]}\n"
    );
    let list = text(&ctl(&["list"]));
    assert!(
        list.lines().count() == 2 && list.contains("bench"),
        "{list}"
    );
    assert!(text(&ctl(&["stats"])).starts_with("perfd "));
    assert_eq!(text(&ctl(&["tail", "bench"])), "comm;f 10\ncomm;f 10\n");
    let events = text(&ctl(&["tail", "7", "--json"]));
    assert_eq!(events.lines().count(), 3, "{events}");
    assert_eq!(text(&ctl(&["mark", "bench", "warm-up"])), "");
    assert_eq!(text(&ctl(&["mark", "7", "--json"])), "{\"sequence\":2}\n");
    assert_eq!(text(&ctl(&["snapshot", "bench"])), "comm;f 20\n");
    assert_eq!(text(&ctl(&["detach", "bench"])), "");
    for (args, code, said) in [
        (&["tail", "other"][..], 66, "no target is called \"other\""),
        (&["detach", "8"], 66, "no target 8"),
        (&["attach", "--host"], 77, "only administrators"),
        (&["attach", "999999999"], 66, "attach pid 999999999"),
        (&["attach"], 64, "required"),
        (&["shutdown"], 77, "only administrators"),
    ] {
        let output = ctl(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{args:?}: {stderr}");
    }
    let nobody = support::perfd()
        .args(["ctl", "list", "--socket", "/nowhere/control.sock"])
        .output()
        .expect("perfd starts");
    assert_eq!(nobody.status.code(), Some(69), "{nobody:?}");
}

#[test]
fn attach_by_the_daemon_writes_what_attach_writes() {
    let registry = Registry::start();
    let folder = tempfile::tempdir().expect("a folder");
    let own = std::process::id().to_string();
    let attach = |flags: &[&str]| {
        let run = support::perfd()
            .args(["attach", &own])
            .arg(format!("--daemon={}", registry.socket().display()))
            .args(flags)
            .current_dir(folder.path())
            .output();
        run.expect("perfd starts")
    };
    assert_eq!(text(&attach(&["-q"])), "comm;f 20\n");
    assert_eq!(registry.attached(), [of(std::process::id(), Some(997))]);
    attach(&["-q", "-F", "99"]);
    assert_eq!(registry.attached(), [of(std::process::id(), Some(99))]);
    let output = attach(&["-o", "out.json", "-o", "out.folded"]);
    assert_eq!(text(&output), "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("profile  out.json"), "{said}");
    let folded = std::fs::read_to_string(folder.path().join("out.folded")).expect("written");
    assert_eq!(folded, "comm;f 20\n");
    let json = std::fs::read_to_string(folder.path().join("out.json")).expect("written");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["type"], "run");
    assert_eq!(json["ledger"]["events"][0]["event"], "cpu-clock");
    // What the daemon decides is not silently left out.
    let refused = attach(&["--jit"]);
    assert_eq!(refused.status.code(), Some(64), "{refused:?}");
}

#[test]
fn a_reader_that_has_gone_ends_a_tail_quietly() {
    let registry = Registry::start();
    let mut tail = support::perfd()
        .args(["ctl", "tail", "7", "--socket"])
        .arg(registry.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("perfd starts");
    drop(tail.stdout.take());
    let output = tail.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
