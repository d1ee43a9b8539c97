//! Processes with more threads than perfd may have open files: they are attached to all the same, and counted whole or not at all.

use std::process::Command;

use crate::held::{Held, Windows, spec};
use crate::targets::on_each_backend;
use crate::worker::Worker;

/// Set in the process that may have few open files.
const MARK: &str = "PERFD_TEST_FEW_FILES";

/// Does the body in a process of its own that has few open files.
fn with_few_files(test: &str, body: impl Fn()) {
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 1000; exec \"$0\" --exact --nocapture \"$1\"",
        ])
        .arg(std::env::current_exe().expect("ourselves"))
        .arg(test)
        .env(MARK, "1")
        .output()
        .expect("sh starts");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

fn is_counted(windows: &Windows) -> bool {
    let counted: Vec<bool> = windows
        .0
        .iter()
        .map(|profile| !profile.processes.is_empty())
        .collect();
    assert!(counted.iter().all(|is| *is == counted[0]), "{counted:?}");
    counted[0]
}

#[test]
fn a_process_is_counted_whole_or_not_at_all() {
    with_few_files("threads::a_process_is_counted_whole_or_not_at_all", || {
        on_each_backend(|backend| {
            let mut held = Held::start(spec(backend));
            let (mut few, mut many) = (Worker::start(), Worker::start());
            few.tell("threads 20");
            many.tell("threads 300");
            let (of_few, of_many) = (held.attach(&few), held.attach(&many));
            let about_counts = |notes: &[String]| {
                let mut notes = notes.iter();
                notes.any(|note| note.starts_with("nothing is counted in pid"))
            };
            assert!(
                !about_counts(held.notes(of_few)),
                "{:?}",
                held.notes(of_few)
            );
            assert!(
                about_counts(held.notes(of_many)),
                "{:?}",
                held.notes(of_many)
            );
            few.spin(60);
            many.spin(60);
            let (of_few, of_many) = (held.detach(of_few), held.detach(of_many));
            assert!(of_few.through("busy") > 15 && of_many.through("busy") > 15);
            assert!(is_counted(&of_few) && !is_counted(&of_many));
            for profile in &of_many.0 {
                assert!(about_counts(&profile.run.notes));
                assert_eq!(profile.ledger.events[0].expected, None);
                assert_eq!(profile.ledger.events[0].counted_weight, None);
            }
            held.finish();
        });
    });
}
