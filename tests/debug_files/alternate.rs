//! What `dwz -m` takes out of several debug files and puts into one.

use std::fs;
use std::os::unix::fs::symlink;

use perfd::debug_files::DebugFile;

use crate::bench::{Bench, on_host};
use crate::workbench::elf_of;

/// Two debug files with a common part in `common/dwz`, which they name by `path`; `None` without dwz.
fn dwz(bench: &Bench, path: &str) -> Option<()> {
    for name in ["one", "two"] {
        bench.program(name, &["-g"]);
        bench.split(name, &format!("{name}.debug"));
    }
    bench.make_folder_of("common/dwz");
    bench.run(
        "dwz",
        &["-m", "common/dwz", "-M", path, "one.debug", "two.debug"],
    )?;
    assert!(
        elf_of(&bench.path("one.debug"))
            .alternate_link()
            .expect("readable")
            .is_some()
    );
    Some(())
}

fn found(bench: &Bench, debug_file: &str) -> Option<DebugFile> {
    let path = fs::canonicalize(bench.path(debug_file)).expect("there");
    bench
        .debug_files()
        .alternate(&elf_of(&path), &on_host(&path))
}

#[test]
fn the_common_part_is_found_by_an_absolute_path() {
    let bench = Bench::new();
    let path = bench.path("common/dwz");
    let Some(()) = dwz(&bench, path.to_str().expect("text")) else {
        return;
    };
    for name in ["one.debug", "two.debug"] {
        let found = found(&bench, name).expect("found");
        assert_eq!(found.origin, on_host(&path));
        assert!(found.elf.has_debug_info());
    }
}

#[test]
fn a_relative_path_starts_where_the_debug_file_really_lies() {
    let bench = Bench::new();
    let Some(()) = dwz(&bench, "common/dwz") else {
        return;
    };
    // As Fedora has it: the name by build id is a link to the file beside which the path begins.
    let place = bench.by_build_id("debug", "one");
    bench.make_folder_of(&place);
    symlink("../../../one.debug", bench.path(&place)).expect("linked");
    let program = bench.path("one");
    let search = bench.debug_files();
    let separate = search
        .separate(&elf_of(&program), &on_host(&program))
        .expect("found");
    let common = search
        .alternate(&separate.elf, &separate.origin)
        .expect("found");
    assert_eq!(common.origin, on_host(&bench.path("common/dwz")));
}

#[test]
fn the_common_part_is_found_by_its_build_id() {
    let bench = Bench::new();
    let Some(()) = dwz(&bench, "/no/such/file") else {
        return;
    };
    assert!(found(&bench, "one.debug").is_none());
    let place = bench.by_build_id("debug", "common/dwz");
    bench.make_folder_of(&place);
    fs::rename(bench.path("common/dwz"), bench.path(&place)).expect("moved");
    assert_eq!(
        found(&bench, "one.debug").expect("found").origin,
        on_host(&bench.path(&place))
    );
}

#[test]
fn a_common_part_of_another_build_is_left_out() {
    let bench = Bench::new();
    let Some(()) = dwz(&bench, "common/dwz") else {
        return;
    };
    bench.program("common/dwz", &["-g"]);
    assert!(found(&bench, "one.debug").is_none());
}
