//! A program in a chroot in a mount namespace of its own, whose files perfd's own tree does not have.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use perfd::debug_files::{Config, DebugFile, DebugFiles, Origin};
use perfd::model::Pid;

use crate::bench::{Bench, has, names, seen_by};
use crate::stale::{Running, by_path};
use crate::support::skip;
use crate::workbench::elf_of;

/// `files` becomes the root of the program.
const ENTER: &str =
    "mount -t tmpfs none root && cp -a files/. root/ && exec chroot root /bin/program wait";

/// What is to be in the root of the program: itself, stripped. Its debug file is in the folder of the test.
fn prepared() -> Bench {
    let bench = Bench::new();
    for folder in ["root", "files/bin", "files/store"] {
        fs::create_dir_all(bench.path(folder)).expect("made");
    }
    bench.program("files/bin/program", &["-g", "-static"]);
    bench
}

/// `None`, and said, if perfd may not make such a root.
fn start(bench: &Bench) -> Option<Running> {
    let can_mount = Command::new("unshare").args(["--mount", "true"]).output();
    if !can_mount.is_ok_and(|output| output.status.success()) {
        skip("mount namespaces cannot be made");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", ENTER]);
    Some(Running::of(command.current_dir(bench.path(""))))
}

fn find(running: &Running, bench: &Bench) -> Option<DebugFile> {
    let program = elf_of(&bench.path("files/bin/program"));
    let search = DebugFiles::new(Path::new("/proc"), Config::default());
    search.separate(&program, &seen_by(running.pid().0, "/bin/program"))
}

#[test]
fn debug_files_are_found_in_the_root_of_the_program() {
    let bench = prepared();
    let place = bench.by_build_id("files/usr/lib/debug", "files/bin/program");
    bench.split("files/bin/program", "files/store/program.debug");
    bench.make_folder_of(&place);
    // In the host's tree this leads nowhere.
    symlink("/store/program.debug", bench.path(&place)).expect("linked");
    let Some(running) = start(&bench) else {
        return;
    };
    assert!(!bench.path("root/bin/program").exists());
    let found = find(&running, &bench).expect("found");
    let expected = Origin {
        path: "/store/program.debug".into(),
        pid: Some(Pid(running.pid().0)),
    };
    assert_eq!(found.origin, expected);
    let module = running.module(&bench.path("root/bin/program"));
    let elf = elf_of(&bench.path("files/bin/program"));
    for module in [module.clone(), by_path(module)] {
        let names = names(&module, &elf, Config::default());
        for wanted in ["main", "hidden", "outer;inlined_[i]"] {
            assert!(has(&names, wanted), "no {wanted}");
        }
    }
}

#[test]
fn a_link_in_the_root_of_the_program_does_not_lead_to_a_file_of_the_host() {
    let bench = prepared();
    let place = bench.by_build_id("files/usr/lib/debug", "files/bin/program");
    bench.split("files/bin/program", "outside.debug");
    bench.make_folder_of(&place);
    let outside = bench.path("outside.debug");
    let up = format!("{}{}", "../".repeat(20), outside.display());
    for target in [outside.to_str().expect("text"), &up] {
        symlink(target, bench.path(&place)).expect("linked");
        let Some(running) = start(&bench) else {
            return;
        };
        assert!(find(&running, &bench).is_none());
        fs::remove_file(bench.path(&place)).expect("removed");
    }
    // The very file, where it may lie.
    fs::copy(&outside, bench.path(&place)).expect("copied");
    assert!(start(&bench).is_some_and(|running| find(&running, &bench).is_some()));
}
