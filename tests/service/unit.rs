//! The unit files, before anything is started: how exposed the service is, and what a package gets.

use std::fs;
use std::process::Command;

use super::machine::{Said, here};
use super::support::skip;

/// The exposure that `systemd-analyze security` may find at most, in tenths. Its version 252 finds 16.
const EXPOSURE: &str = "--threshold=16";

const CAPABILITIES: [&str; 5] = [
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    "CAP_DAC_READ_SEARCH",
    "CAP_PERFMON",
    "CAP_SYS_PTRACE",
];

#[test]
fn the_service_is_exposed_as_little_as_is_promised() {
    let unit = here("systemd/perfd.service");
    let analysed = Command::new("systemd-analyze")
        .args(["security", "--offline=true", EXPOSURE, "--no-pager"])
        .arg(&unit)
        .output();
    let Ok(analysed) = analysed else {
        return skip("systemd-analyze is not installed");
    };
    let said = Said::from(analysed);
    assert_eq!(said.code, 0, "{said:#?}");
    assert!(
        said.stdout.contains("exposure level for perfd.service"),
        "{said:#?}"
    );
}

#[test]
fn what_is_granted_bounds_what_can_be_gained() {
    let unit = fs::read_to_string(here("systemd/perfd.service")).expect("the unit");
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        let mut granted: Vec<_> = unit
            .lines()
            .filter_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .flat_map(str::split_whitespace)
            .collect();
        granted.sort_unstable();
        assert_eq!(granted, CAPABILITIES, "{key}");
    }
}

#[test]
fn a_package_gets_the_files_with_its_own_prefix_and_nothing_is_started() {
    let root = tempfile::tempdir().expect("a folder");
    let installed = Command::new(here("systemd/install"))
        .arg(env!("CARGO_BIN_EXE_perfd"))
        .env("DESTDIR", root.path())
        .env("PREFIX", "/usr")
        .output();
    let said = Said::from(installed.expect("a shell"));
    assert_eq!((said.code, said.stdout + &said.stderr), (0, String::new()));
    let read = |path: &str| fs::read_to_string(root.path().join(path)).expect(path);
    let unit = read("usr/lib/systemd/system/perfd.service");
    assert!(
        unit.contains("\nExecStart=/usr/bin/perfd daemon\n"),
        "{unit}"
    );
    assert!(!unit.contains("/usr/local"), "{unit}");
    for (installed, shipped) in [
        (
            "usr/lib/systemd/system/perfd.socket",
            "systemd/perfd.socket",
        ),
        (
            "usr/lib/systemd/system/perfd-metrics.socket",
            "systemd/perfd-metrics.socket",
        ),
        ("usr/lib/sysusers.d/perfd.conf", "systemd/perfd.sysusers"),
        ("usr/lib/tmpfiles.d/perfd.conf", "systemd/perfd.tmpfiles"),
    ] {
        let shipped = fs::read_to_string(here(shipped)).expect(shipped);
        assert_eq!(read(installed), shipped, "{installed}");
    }
}
