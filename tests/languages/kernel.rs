//! Names of kernel frames, against `/proc/kallsyms`, for those who may read it and for those who may not.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::Uid;

use crate::support::{perfd, skip};

/// A command that is in the kernel most of the time.
const COMMAND: [&str; 4] = ["dd", "if=/dev/zero", "of=/dev/null", "count=400000"];

#[test]
fn kernel_frames_have_names_of_kallsyms() {
    let known: BTreeSet<String> = fs::read_to_string("/proc/kallsyms")
        .expect("readable")
        .lines()
        .filter(|line| !line.starts_with("0000000000000000"))
        .filter_map(|line| Some(line.split_whitespace().nth(2)?.to_owned()))
        .collect();
    if known.is_empty() {
        return skip("the kernel hides its symbols");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("out.folded");
    let run = perfd()
        .args(["record", "-q", "-e", "cpu-clock", "-F", "4000", "-o"])
        .arg(&output)
        .arg("--")
        .args(COMMAND)
        .output()
        .expect("perfd runs");
    if matches!(run.status.code(), Some(69 | 77)) {
        return skip(&String::from_utf8_lossy(&run.stderr));
    }
    let folded = fs::read_to_string(&output).expect("written");
    let frames = folded
        .lines()
        .filter_map(|line| Some(line.rsplit_once(' ')?.0))
        .flat_map(|stack| stack.split(';'))
        .filter_map(|frame| frame.strip_suffix("_[k]"));
    let names: BTreeSet<&str> = frames.collect();
    assert!(names.len() > 3, "{folded}");
    for name in names {
        assert!(known.contains(name), "{name} is not in /proc/kallsyms");
    }
}

#[test]
fn who_may_not_see_kernel_addresses_gets_none_in_any_output() {
    let restrict = fs::read_to_string("/proc/sys/kernel/kptr_restrict").unwrap_or_default();
    let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
    if !Uid::effective().is_root() {
        return skip("not root, so that rights cannot be given up in parts");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let outputs = ["folded", "samples", "json", "functions", "svg"];
    // All rights but the one to see addresses.
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-syslog", "--inh-caps=-syslog"]);
    command.arg(env!("CARGO_BIN_EXE_perfd"));
    command.args(["record", "-q", "-e", "cpu-clock", "-F", "4000"]);
    for format in outputs {
        command
            .arg("-o")
            .arg(folder.path().join(format!("out.{format}")));
    }
    let run = command.arg("--").args(COMMAND).process_group(0).output();
    let run = run.expect("setpriv starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(
        run.status.success(),
        "{said}, kptr_restrict {restrict}, perf_event_paranoid {paranoid}"
    );
    let text = |format: &str| {
        let path = folder.path().join(format!("out.{format}"));
        String::from_utf8_lossy(&fs::read(path).expect("written")).into_owned()
    };
    let folded = text("folded");
    let is_hidden = folded.contains("[kernel]_[k]");
    // With kptr_restrict 0 and perf_event_paranoid 1 or less everybody may see them.
    if !is_hidden {
        assert_eq!(restrict.trim(), "0", "{folded}");
        return;
    }
    for format in outputs {
        assert!(!text(format).contains("ffffffff8"), "{format}");
    }
    assert!(!folded.contains("entry_SYSCALL"), "{folded}");
}
