//! Files at the foreseeable name that are not the runtime's own: no names, one note, no waiting.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use crate::program::{Run, Spinning, compile, may_sample, run};
use crate::support::skip;

const LINE: &str = "10000000 100 planted\n";

/// Attaches to a process for which `plant` has put something into the place of its map.
fn attach(plant: impl FnOnce(&Path, &Path)) -> Run {
    let program = compile();
    let target = Spinning::start(Command::new(program.path()).args(["none", "spin"]));
    plant(&target.map(), program.folder());
    let pid = target.pid.to_string();
    run(program.folder(), &["attach", "-d", "0.5"], &[&pid])
}

fn check(reason: &str, plant: impl FnOnce(&Path, &Path)) {
    let run = attach(plant);
    assert!(
        run.weight(|frame| frame == "[anon]") > 0,
        "{reason}: {:?}",
        run.stacks
    );
    assert_eq!(run.weight(|frame| frame.contains("planted")), 0, "{reason}");
    assert_eq!(
        run.said.matches("the perf map of pid").count(),
        1,
        "{}",
        run.said
    );
    assert!(
        run.said.contains(reason) && !run.said.contains("planted"),
        "{}",
        run.said
    );
    let refused = &run.document["ledger"]["jit_files_refused"];
    assert_eq!(refused.as_array().map(Vec::len), Some(1), "{refused}");
    assert!(
        refused[0]["reason"]
            .as_str()
            .expect("text")
            .contains(reason),
        "{refused}"
    );
    let unnamed = run.document["ledger"]["stacks"]["unnamed"].to_string();
    assert!(unnamed.contains("jit_file_refused"), "{unnamed}");
}

#[test]
fn a_fifo_a_link_a_device_and_a_folder_are_refused() {
    if !may_sample() {
        return;
    }
    check("not a regular file", |map, _| {
        nix::unistd::mkfifo(map, nix::sys::stat::Mode::S_IRWXU).expect("made");
    });
    check("symbolic link", |map, folder| {
        fs::write(folder.join("real"), LINE).expect("written");
        symlink(folder.join("real"), map).expect("made");
    });
    check("symbolic link", |map, _| {
        symlink("/dev/zero", map).expect("made")
    });
    let folder_is_removed = |map: &Path| fs::remove_dir(map).expect("empty");
    let mut planted = None;
    check("not a regular file", |map, _| {
        fs::create_dir(map).expect("made");
        planted = Some(map.to_owned());
    });
    folder_is_removed(&planted.expect("planted"));
}

#[test]
fn a_file_that_others_may_have_written_is_refused() {
    if !may_sample() {
        return;
    }
    for mode in [0o660, 0o606] {
        check("others than its owner may write it", |map, _| {
            fs::write(map, LINE).expect("written");
            fs::set_permissions(map, Permissions::from_mode(mode)).expect("set");
        });
    }
    check("more than one name", |map, folder| {
        fs::write(map, LINE).expect("written");
        fs::hard_link(map, folder.join("kept")).expect("on the same file system");
    });
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !may_sample() {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can give a file away");
    }
    check("belongs neither to the user", |map, _| {
        fs::write(map, LINE).expect("written");
        chown(map, Some(12345), Some(12345)).expect("root may");
    });
}

#[test]
fn a_file_without_end_and_one_of_an_earlier_process_are_refused() {
    if !may_sample() {
        return;
    }
    check("too large", |map, _| {
        let file = File::create(map).expect("made");
        file.set_len(100 << 30).expect("a hole");
    });
    check("older than the process", |map, _| {
        fs::write(map, LINE).expect("written");
        let file = File::options().write(true).open(map).expect("opened");
        file.set_modified(std::time::UNIX_EPOCH).expect("set");
    });
}

#[test]
fn the_processs_own_map_is_read_and_what_is_no_line_in_it_passed_over() {
    if !may_sample() {
        return;
    }
    let run = attach(|map, _| {
        let junk = [
            b"\0\xff\n\nx y z\nffffffffffffffff ffff over\n".as_slice(),
            &[0xaa; 9000],
            b"\n",
        ];
        fs::write(map, [&junk.concat(), LINE.as_bytes()].concat()).expect("written");
    });
    let named = run.weight(|frame| frame == "planted_[j]");
    assert!(
        named > 0 && run.weight(|frame| frame == "[anon]") == 0,
        "{:?}",
        run.stacks
    );
    assert!(!run.said.contains("is not read"), "{}", run.said);
}
