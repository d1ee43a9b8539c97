//! Where windows go: files that clients have passed, and the daemon's own.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::own_daemon::{Circumstances, Daemon};
use super::support::{compile_c, perfd};
use super::{WORKER, Worker, until};

/// Windows that nobody waits for.
const LONG: &str = "window = \"1h\"\n[files]\nwindow = \"1h\"\ntargets = \"all\"\n";

fn long() -> Circumstances<'static> {
    Circumstances {
        config: LONG,
        ..Circumstances::default()
    }
}

#[test]
fn a_refused_attach_leaves_a_file_as_it_was_and_one_that_is_taken_is_written_anew() {
    let Some(daemon) = Daemon::start(&long()) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stacks.folded");
    let before = "an older profile 1\n".repeat(1000);
    fs::write(&file, &before).expect("written");
    let content = |path: &Path| fs::read_to_string(path).expect("it is there");
    let ctl = |args: &[&str]| {
        let run = perfd()
            .args(["ctl", "--socket"])
            .arg(daemon.socket())
            .args(args)
            .output();
        run.expect("perfd starts")
    };
    let output = file.to_str().expect("text");
    let refused = ctl(&["attach", "--comm", "perfd-no-such", "-o", output]);
    assert_eq!(refused.status.code(), Some(66), "{refused:?}");
    assert_eq!(content(&file), before);

    let program = compile_c(WORKER, &["-O1"]);
    let mut worker = Worker::start(program.path());
    let pid = worker.pid().to_string();
    let taken = ctl(&["attach", &pid, "--name", "mine", "-F", "499", "-o", output]);
    assert!(taken.status.success(), "{taken:?}");
    worker.work('1');
    assert!(ctl(&["detach", "mine"]).status.success());
    let text = until(|| {
        let text = content(&file);
        match text != before && !text.is_empty() {
            true => Ok(text),
            false => Err("nothing is written".to_owned()),
        }
    });
    assert!(text.contains(";first "), "{text}");
    assert!(!text.contains("older"), "{text}");

    // A snapshot that is shorter than what was there.
    fs::write(&file, &before).expect("written");
    let taken = ctl(&["attach", &pid, "--name", "again"]);
    assert!(taken.status.success(), "{taken:?}");
    let snapshot = ctl(&["snapshot", "again", "-o", output]);
    assert!(snapshot.status.success(), "{snapshot:?}");
    assert!(!content(&file).contains("older"));
    daemon.end();
}

#[test]
fn the_last_window_of_a_target_that_is_detached_is_in_its_files() {
    let Some(daemon) = Daemon::start(&long()) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let mut worker = Worker::start(program.path());
    let mut client = daemon.client();
    // The window and the end of the target come close behind each other.
    for name in ["one", "two", "three", "four", "five"] {
        let attach = json!({"do": "attach", "target": {"pid": worker.pid()}, "name": name});
        let target = client.done(attach)["target"].as_u64().expect("a number");
        client.done(json!({"do": "tail", "target": target, "format": "folded"}));
        worker.work('1');
        client.done(json!({"do": "detach", "target": target}));
        while client.event(target).get("end").is_none() {}
    }
    for name in ["one", "two", "three", "four", "five"] {
        let folder = daemon.state().join("windows").join(name);
        until(|| {
            let files = fs::read_dir(&folder).map_or(0, |files| files.count());
            let is_there = (files == 1).then_some(());
            is_there.ok_or_else(|| format!("{files} files in {}", folder.display()))
        });
    }
    daemon.end();
}
