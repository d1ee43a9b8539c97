//! Debug files by build id and by `.gnu_debuglink`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::bench::{Bench, assert_bare, assert_named, on_host};
use crate::workbench::elf_of;

const NO_BUILD_ID: &[&str] = &["-g", "-Wl,--build-id=none"];

/// A stripped program in `bin` that links to `program.debug`, which is in the folder.
fn linked(bench: &Bench, flags: &[&str]) {
    bench.program("program", flags);
    bench.split("program", "program.debug");
    bench.run("objcopy", &["--add-gnu-debuglink=program.debug", "program"]);
    bench.make_folder_of("bin/program");
    fs::rename(bench.path("program"), bench.path("bin/program")).expect("moved");
}

#[track_caller]
fn check_refused(bench: &Bench, program: &str, reason: &str) {
    let program = bench.path(program);
    let search = bench.debug_files();
    let found = search.separate(&elf_of(&program), &on_host(&program));
    assert!(found.is_none());
    let notes = search.notes();
    assert!(notes.len() == 1 && notes[0].ends_with(reason), "{notes:?}");
    assert_bare(&bench.names(&program));
}

#[test]
fn a_stripped_program_has_the_names_of_the_unstripped_one() {
    let bench = Bench::new();
    let program = bench.program("program", &["-g"]);
    let before = bench.names(&program);
    bench.split("program", &bench.by_build_id("debug", "program"));
    assert_bare(&Bench::new().names(&program));
    let after = bench.names(&program);
    assert_named(&after);
    assert_eq!(after, before);
    assert_eq!(bench.debug_files().notes(), [""; 0]);
}

#[test]
fn a_debug_link_leads_beside_the_file_below_it_and_below_the_root() {
    let folder = |bench: &Bench| {
        let folder = bench.path("bin");
        folder
            .strip_prefix("/")
            .expect("absolute")
            .display()
            .to_string()
    };
    let bench = Bench::new();
    let below_root = format!("debug/{}/program.debug", folder(&bench));
    linked(&bench, NO_BUILD_ID);
    let program = bench.path("bin/program");
    assert_bare(&bench.names(&program));
    for place in ["bin/program.debug", "bin/.debug/program.debug", &below_root] {
        bench.make_folder_of(place);
        fs::copy(bench.path("program.debug"), bench.path(place)).expect("copied");
        let found = bench
            .debug_files()
            .separate(&elf_of(&program), &on_host(&program));
        assert_eq!(found.expect("found").origin, on_host(&bench.path(place)));
        assert_named(&bench.names(&program));
        fs::remove_file(bench.path(place)).expect("removed");
    }
}

#[test]
fn a_debug_file_with_another_checksum_is_left_out() {
    let bench = Bench::new();
    linked(&bench, NO_BUILD_ID);
    fs::rename(bench.path("program.debug"), bench.path("bin/program.debug")).expect("moved");
    let changed = fs::OpenOptions::new()
        .append(true)
        .open(bench.path("bin/program.debug"));
    changed.expect("opened").write_all(b"x").expect("written");
    check_refused(
        &bench,
        "bin/program",
        "has another checksum than .gnu_debuglink says",
    );
}

#[test]
fn a_debug_file_with_the_right_checksum_and_another_build_id_is_left_out() {
    let bench = Bench::new();
    bench.program(
        "other",
        &["-g", "-DOTHER", "-Wl,--build-id=0x0102030405060708"],
    );
    bench.split("other", "other.debug");
    bench.program("program", &["-g", "-s"]);
    bench.run("objcopy", &["--add-gnu-debuglink=other.debug", "program"]);
    check_refused(&bench, "program", "other.debug: is of another build");
}

#[test]
fn a_debug_file_of_another_build_in_its_place_is_left_out() {
    let bench = Bench::new();
    let program = bench.program("program", &["-g"]);
    let place = bench.by_build_id("debug", "program");
    bench.program("other", &["-g", "-Wl,--build-id=0x0102030405060708"]);
    bench.split("other", &place);
    bench.run("strip", &["program"]);
    check_refused(&bench, "program", "is of another build");
    assert!(program.exists());
}

#[test]
fn pipes_folders_devices_and_rubbish_are_no_debug_files() {
    let bench = Bench::new();
    bench.program("program", &["-g"]);
    bench.run("strip", &["program"]);
    let place = bench.path(&bench.by_build_id("debug", "program"));
    fs::create_dir_all(place.parent().expect("a folder")).expect("made");
    let check = |make: &dyn Fn(&Path), reason: &str| {
        make(&place);
        check_refused(&bench, "program", reason);
        fs::remove_file(&place).expect("removed");
    };
    let mode = nix::sys::stat::Mode::S_IRWXU;
    check(
        &|place| nix::unistd::mkfifo(place, mode).expect("made"),
        "is not a regular file",
    );
    check(
        &|place| symlink("/dev/zero", place).expect("linked"),
        "is not a regular file",
    );
    check(
        &|place| symlink("/", place).expect("linked"),
        "is not a regular file",
    );
    check(
        &|place| fs::write(place, "rubbish").expect("written"),
        "not an elf file",
    );
    check(
        &|place| symlink(place, place).expect("linked"),
        "(os error 40)",
    );
}

#[test]
fn a_link_by_build_id_that_leads_back_to_the_program_is_passed_over() {
    let bench = Bench::new();
    bench.program("program", &["-g"]);
    let place = bench.by_build_id("debug", "program");
    bench.make_folder_of(&place);
    symlink(bench.path("bin/program"), bench.path(&place)).expect("linked");
    linked(&bench, &["-g"]);
    assert_bare(&bench.names(&bench.path("bin/program")));
    fs::rename(bench.path("program.debug"), bench.path("bin/program.debug")).expect("moved");
    assert_named(&bench.names(&bench.path("bin/program")));
    assert_eq!(bench.debug_files().notes(), [""; 0]);
}
