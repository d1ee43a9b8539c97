//! Targets that come and go: found again, left by their client, refused, ended with the daemon.

use std::path::Path;

use serde_json::{Value, json};

use super::own_daemon::{Circumstances, Daemon, accounts_add_up};
use super::support::{compile_c, copy_program};
use super::{WORKER, Worker, is_running, listed, logged};

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).map_or(0, |entries| entries.count())
}

#[test]
fn a_configured_target_is_found_again_and_goes_on_counting_its_windows() {
    let config = "[[target]]\nname = \"mine\"\ncomm = \"perfd-found\"\nfrequency = 997\n";
    let Some(daemon) = Daemon::start(&Circumstances {
        config,
        ..Circumstances::default()
    }) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let named = program.folder().join("perfd-found");
    copy_program(program.path(), &named);
    let mut client = daemon.client();
    let waiting = listed(&mut client, "mine", |target| target["state"] == "waiting");
    assert_eq!(waiting["owner"], Value::Null);

    let mut worker = Worker::start(&named);
    let running = listed(&mut client, "mine", is_running);
    worker.work('1');
    // A second one of the name joins the same target.
    let mut second = Worker::start(&named);
    second.work('2');
    worker.end();
    second.end();
    let between = listed(&mut client, "mine", |target| target["state"] == "waiting");
    assert_eq!(between["target"], running["target"]);
    assert!(between["samples"].as_u64() > Some(0), "{between}");

    let mut again = Worker::start(&named);
    let running = listed(&mut client, "mine", is_running);
    assert_eq!(running["target"], between["target"]);
    again.work('1');
    let is_ahead = |target: &Value| target["sequence"].as_u64() > between["sequence"].as_u64();
    listed(&mut client, "mine", is_ahead);
    let windows = daemon.state().join("windows/mine");
    again.end();
    listed(&mut client, "mine", |target| target["state"] == "waiting");
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    logged(&daemon, "ended after");
    assert!(files(&windows) > 0, "{}", daemon.log());
    // An engine that fails gets its targets back, and would go unnoticed above.
    assert!(!daemon.log().contains("failed"), "{}", daemon.log());
    daemon.end_of_process();
}

#[test]
fn a_target_ends_with_its_client_unless_it_is_kept() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let worker = Worker::start(program.path());
    let mut keeper = daemon.client();
    let mut leaving = daemon.client();
    let attach = |name: &str, keep: bool| {
        let target = json!({"pid": worker.pid()});
        json!({"do": "attach", "target": target, "name": name, "keep": keep})
    };
    let left = leaving.done(attach("left", false))["target"]
        .as_u64()
        .expect("a number");
    leaving.done(attach("kept", true));
    keeper.done(json!({"do": "tail", "target": left, "format": "json"}));
    drop(leaving);
    let end = loop {
        let event = keeper.event(left);
        if let Some(end) = event.get("end") {
            break end.clone();
        }
    };
    assert_eq!(end["reason"], "owner-left");
    let list = keeper.done(json!({"do": "list"}));
    let names: Vec<&Value> = list["targets"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|target| &target["name"])
        .collect();
    assert_eq!(names, ["kept"]);
    accounts_add_up(&keeper.done(json!({"do": "stats"})));
    daemon.end();
}

#[test]
fn a_configured_target_that_cannot_be_sampled_says_why_in_the_list() {
    let Some(daemon) = Daemon::start(&Circumstances {
        config: "[[target]]\nhost = true\nevents = [\"sched:perfd_no_such\"]\n",
        ..Circumstances::default()
    }) else {
        return;
    };
    let mut client = daemon.client();
    let target = listed(&mut client, "host", |target| target["why"].is_string());
    assert_eq!(target["state"], "waiting");
    let why = target["why"].as_str().expect("a text");
    assert!(why.contains("perfd_no_such"), "{why}");
    daemon.end();
}

#[test]
fn what_cannot_be_is_refused_and_the_answer_says_why() {
    let Some(daemon) = Daemon::start(&Circumstances {
        config: "[limits]\ntargets = 1\nengines = 1\n",
        ..Circumstances::default()
    }) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let worker = Worker::start(program.path());
    let mut client = daemon.client();
    let mut refused = |request: Value, class: &str, part: &str| {
        let error = client.ask(request.clone()).expect_err("refused");
        assert_eq!(error["class"], class, "{request}: {error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| message.contains(part)),
            "{request}: {error}"
        );
    };
    let attach = |target: Value| json!({"do": "attach", "target": target});
    refused(
        attach(json!({"comm": "perfd-no-such"})),
        "no-such-target",
        "no process has this name",
    );
    refused(
        attach(json!({"cgroup": "perfd/no/such"})),
        "no-such-target",
        "no such cgroup",
    );
    refused(
        attach(json!({"unit": "perfd-no-such.service"})),
        "no-such-target",
        "no such cgroup",
    );
    refused(
        attach(json!({"container": "0123456789abcdef"})),
        "no-such-target",
        "no such cgroup",
    );
    refused(attach(json!({"container": "zz"})), "usage", "hexadecimal");
    refused(
        attach(json!({"pid": 2_147_483_000})),
        "no-such-target",
        "no process",
    );
    let unknown = json!({"do": "attach", "target": {"pid": worker.pid()}, "events": ["cycels"]});
    refused(unknown, "usage", "cycels");
    refused(
        json!({"do": "detach", "target": 99}),
        "no-such-target",
        "no target 99",
    );
    refused(
        json!({"do": "mark", "target": 99, "phase": "x"}),
        "no-such-target",
        "no target 99",
    );

    let target = client.attach(worker.pid());
    let mut refused = |request: Value, class: &str, part: &str| {
        let error = client.ask(request.clone()).expect_err("refused");
        assert_eq!(error["class"], class, "{request}: {error}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|message| message.contains(part)),
            "{request}: {error}"
        );
    };
    refused(
        attach(json!({"pid": worker.pid()})),
        "limit",
        "limits.targets is 1",
    );
    refused(
        json!({"do": "tail", "target": target, "format": "folded", "show": "branches"}),
        "usage",
        "not one of the events",
    );
    daemon.end();
}

#[test]
fn when_the_daemon_ends_who_tails_has_all_windows_and_hears_of_it() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let mut worker = Worker::start(program.path());
    let mut client = daemon.client();
    let attach = json!({"do": "attach", "target": {"pid": worker.pid()}, "frequency": 997});
    let target = client.done(attach)["target"].as_u64().expect("a number");
    client.done(json!({"do": "tail", "target": target, "format": "folded"}));
    worker.work('1');
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let mut samples = 0;
    let end = loop {
        let event = client.event(target);
        match event.get("window") {
            Some(window) => samples += window["samples"].as_u64().expect("a number"),
            None => break event["end"].clone(),
        }
    };
    assert_eq!(end["reason"], "stopping");
    assert!(samples > 0, "{}", daemon.log());
    while let Some(line) = client.line() {
        assert_eq!(line["farewell"]["class"], "stopping", "{line}");
    }
    daemon.end_of_process();
}

#[test]
fn an_administrator_ends_the_daemon() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut client = daemon.client();
    client.done(json!({"do": "shutdown"}));
    logged(&daemon, "stopping: asked by user 0");
    daemon.end_of_process();
}

#[test]
fn a_configured_target_whose_engine_cannot_be_is_told_once_and_tried_again() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let limit = |soft: u64| {
        let done = std::process::Command::new("prlimit")
            .args(["--pid", &daemon.pid().to_string()])
            .arg(format!("--nofile={soft}:"))
            .status();
        assert!(done.expect("prlimit").success());
    };
    let program = compile_c(WORKER, &["-O1"]);
    let mut worker = Worker::start(program.path());
    let mut client = daemon.client();
    let (_, hard) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
        .expect("a limit");
    let open = client.done(json!({"do": "stats"}))["open_files"].as_u64();
    // Enough to read the configuration, and too few for an engine.
    limit(open.expect("files") + 4);
    daemon.configure(&format!(
        "[[target]]\nname = \"mine\"\npid = {}\nfrequency = 997\n",
        worker.pid()
    ));
    daemon.signal(nix::sys::signal::Signal::SIGHUP);
    let said = logged(&daemon, "mine: waits: ").to_lowercase();
    assert!(said.contains("too many open files"), "{said}");
    listed(&mut client, "mine", |target| target["state"] == "waiting");
    limit(hard);
    listed(&mut client, "mine", is_running);
    worker.work('1');
    listed(&mut client, "mine", |target| {
        target["samples"].as_u64() > Some(0)
    });
    let log = daemon.log();
    assert_eq!(log.matches("mine: waits: ").count(), 1, "{log}");
    accounts_add_up(&client.in_the_end(json!({"do": "stats"})).expect("figures"));
    worker.end();
    daemon.end();
}

#[test]
fn a_target_that_was_detached_is_listed_no_more_and_its_name_is_free() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1"]);
    let worker = Worker::start(program.path());
    let mut client = daemon.client();
    let attach = json!({"do": "attach", "target": {"pid": worker.pid()}, "name": "bench"});
    let mut last = 0;
    // No more requests at once than a client may make.
    for _ in 0..2 {
        let target = client.done(attach.clone())["target"].as_u64();
        let target = target.expect("a number");
        assert!(target > last);
        last = target;
        let listed = client.done(json!({"do": "list"}));
        let targets = listed["targets"].as_array().expect("targets");
        assert_eq!(targets.len(), 1, "{listed}");
        assert_eq!(targets[0]["target"], target, "{listed}");
        client.done(json!({"do": "detach", "target": target}));
        let listed = client.done(json!({"do": "list"}));
        assert_eq!(listed["targets"], json!([]), "{listed}");
    }
    daemon.end();
}
