//! Compressed sections of debug files.

use std::process::Command;

use crate::bench::{Bench, assert_named};
use crate::workbench::elf_of;

/// Whether `tool` says that it knows a kind of compression.
fn knows(tool: &str, option: &str) -> bool {
    let help = Command::new(tool).arg("--help").output();
    help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains(option))
}

#[test]
fn sections_that_objcopy_has_compressed_give_the_same_names() {
    let bench = Bench::new();
    let program = bench.program("program", &["-g"]);
    let before = bench.names(&program);
    let place = bench.by_build_id("debug", "program");
    bench.split("program", "whole.debug");
    bench.make_folder_of(&place);
    for kind in ["zlib", "zlib-gnu", "zstd"] {
        if !knows("objcopy", kind) {
            crate::support::skip(&format!("no objcopy that knows {kind}"));
            continue;
        }
        let option = format!("--compress-debug-sections={kind}");
        bench.run("objcopy", &[&option, "whole.debug", &place]);
        let (whole, packed) = (
            elf_of(&bench.path("whole.debug")),
            elf_of(&bench.path(&place)),
        );
        assert!(packed.file_size() < whole.file_size(), "{kind}");
        let section = |name: &str| whole.section(name).expect("readable");
        for name in [".debug_info", ".debug_abbrev", ".debug_line", ".debug_str"] {
            assert_eq!(
                packed.section(name).expect("readable"),
                section(name),
                "{kind}: {name}"
            );
        }
        let names = bench.names(&program);
        assert_named(&names);
        assert_eq!(names, before, "{kind}");
    }
}

#[test]
fn a_section_that_stands_for_more_than_is_believable_is_refused() {
    let bench = Bench::new();
    let zeros = std::fs::File::create(bench.path("zeros")).expect("made");
    zeros.set_len(64 << 20).expect("a sparse file");
    bench.program("program", &[]);
    for (kind, is_believable) in [("zlib", true), ("zstd", false)] {
        if !knows("objcopy", kind) {
            crate::support::skip(&format!("no objcopy that knows {kind}"));
            continue;
        }
        let add = "--add-section=.debug_info=zeros";
        let option = format!("--compress-debug-sections={kind}");
        bench.run("objcopy", &[add, "program", "large"]);
        bench.run("objcopy", &[&option, "large", "packed"]);
        let packed = elf_of(&bench.path("packed"));
        assert!(packed.file_size() < 1 << 20);
        assert_eq!(
            packed.section_size(".debug_info").expect("declared"),
            64 << 20
        );
        // 1000 times is what zlib can do, and what its declared size takes is bounded; more than 4096 times is nothing.
        assert_eq!(
            packed.section(".debug_info").is_ok(),
            is_believable,
            "{kind}"
        );
    }
}
