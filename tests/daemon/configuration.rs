//! The configuration: printed, checked, and read again while the daemon runs.

use nix::sys::signal::Signal;
use serde_json::json;

use super::own_daemon::{Circumstances, Daemon};
use super::support::perfd;
use super::{listed, logged};

#[test]
fn a_reload_takes_all_of_a_file_or_nothing() {
    let before = "[[target]]\nname = \"stays\"\ncomm = \"perfd-stays\"\n[[target]]\nname = \"goes\"\ncomm = \"perfd-goes\"\n";
    let Some(daemon) = Daemon::start(&Circumstances {
        config: before,
        ..Circumstances::default()
    }) else {
        return;
    };
    let mut client = daemon.client();
    let stays = listed(&mut client, "stays", |_| true)["target"].clone();
    // The target would be right, the key behind it is not.
    daemon.configure("[[target]]\nname = \"new\"\ncomm = \"perfd-new\"\n[limits]\ntargest = 3\n");
    daemon.signal(Signal::SIGHUP);
    let line = logged(&daemon, "not reloaded");
    assert!(line.contains("targest") && line.contains("line "), "{line}");
    let list = client.done(json!({"do": "list"}));
    assert_eq!(
        list["targets"].as_array().expect("a list").len(),
        2,
        "{list}"
    );

    daemon.configure("[[target]]\nname = \"stays\"\ncomm = \"perfd-stays\"\n[[target]]\nname = \"new\"\ncomm = \"perfd-new\"\n[limits]\nclients = 40\n");
    daemon.signal(Signal::SIGHUP);
    logged(&daemon, "of configured targets 1 go on, 1 end, 1 begin");
    let same = listed(&mut client, "stays", |_| true);
    assert_eq!(same["target"], stays);
    listed(&mut client, "new", |_| true);
    let list = client.done(json!({"do": "list"}));
    assert_eq!(
        list["targets"].as_array().expect("a list").len(),
        2,
        "{list}"
    );
    daemon.end();
}

#[test]
fn the_printed_configuration_is_right_and_a_wrong_one_is_told_with_its_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("perfd.toml");
    let printed = perfd().arg("config").output().expect("perfd runs");
    assert!(printed.status.success());
    std::fs::write(&path, &printed.stdout).expect("written");
    let check = || {
        perfd()
            .args(["config", "--check"])
            .arg(&path)
            .output()
            .expect("perfd runs")
    };
    let checked = check();
    assert!(
        checked.status.success() && checked.stdout.is_empty(),
        "{checked:?}"
    );
    std::fs::write(&path, "frequency = 19\nwindow = \"soon\"\n").expect("written");
    let checked = check();
    assert_eq!(checked.status.code(), Some(78));
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(
        said.contains("line 2: window = \"soon\": not a time"),
        "{said}"
    );

    // What is right and not there on this host is told, and no error.
    std::fs::write(
        &path,
        "admin_group = \"perfd-no-such\"\nfrequency = 1000000\n[[target]]\nhost = true\nevents = [\"sched:no_such\"]\nfrequency = 19\n",
    )
    .expect("written");
    let checked = check();
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
    for part in [
        "admin_group \"perfd-no-such\": this host has no such group",
        "target \"host\": sample sched:no_such",
        "at 1000000 Hz: the kernel allows ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
