//! Programs whose ELF file is damaged but runs: their frames lose their names, and nothing else happens.

use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::bench::{Bench, Ended, run, spinning};
use super::support::Program;

/// Runs a copy of a computing program whose bytes `damage` has changed.
fn run_damaged(damage: impl FnOnce(&Program, &mut [u8])) -> Ended {
    let program = spinning();
    let mut bytes = std::fs::read(program.path()).expect("readable");
    damage(&program, &mut bytes);
    let bench = Bench::new();
    std::fs::write(bench.file("damaged"), bytes).expect("written");
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bench.file("damaged"), executable).expect("the file is ours");
    let args = [
        "record",
        "-e",
        "cpu-clock:u",
        "-o",
        "-",
        "--",
        "./damaged",
        "40000000",
    ];
    let ended = run(&mut bench.perfd(&args));
    ended.says(0, &["delivered "]);
    ended.has_stacks();
    for line in ended.stdout.lines() {
        assert!(line.starts_with("damaged;"), "{ended:#?}");
    }
    ended
}

/// Where a section lies in the file.
fn section(program: &Program, name: &str) -> Range<usize> {
    let output = Command::new("readelf")
        .arg("-SW")
        .arg(program.path())
        .output();
    let output = output.expect("binutils are there with cc");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut fields = text
        .lines()
        .find_map(|line| line.split_once(&format!(" {name} ")))
        .unwrap_or_else(|| panic!("no {name} in\n{text}"))
        .1
        .split_whitespace()
        .skip(2)
        .map(|field| usize::from_str_radix(field, 16).expect("hexadecimal"));
    let offset = fields.next().expect("a column");
    offset..offset + fields.next().expect("a column")
}

/// The C library's function below `main`: `__libc_start_main`, and with its debug file installed `__libc_start_main_impl`.
const ENTRY: &str = ";__libc_start_main";

const FILLS: [fn(&mut [u8]); 4] = [
    |bytes| bytes.fill(0),
    |bytes| bytes.fill(0xff),
    |bytes| bytes.iter_mut().for_each(|byte| *byte = !*byte),
    |bytes| {
        bytes
            .iter_mut()
            .zip(0_u32..)
            .for_each(|(byte, n)| *byte ^= n.wrapping_mul(0x9e37_79b9).to_le_bytes()[3])
    },
];

#[test]
fn damaged_symbols_and_debug_information_cost_names_alone() {
    for fill in FILLS {
        for names in [
            &[".debug_info"][..],
            &[".debug_abbrev"],
            &[".debug_line"],
            &[".symtab"],
            &[".strtab"],
            &[".debug_info", ".debug_line", ".symtab", ".strtab"],
        ] {
            let ended = run_damaged(|program, bytes| {
                for name in names {
                    fill(&mut bytes[section(program, name)]);
                }
            });
            assert!(ended.stdout.contains(ENTRY), "{names:?}: {ended:#?}");
            // Of what the C compiler itself links in, before and behind `main`, there are no rows: a sample there has one frame.
            let is_cut = |line: &str| line.contains("[truncated") && line.matches(';').count() > 2;
            assert!(!ended.stdout.lines().any(is_cut), "{names:?}: {ended:#?}");
        }
    }
}

#[test]
fn without_any_name_a_frame_is_its_module_and_offset() {
    let ended = run_damaged(|program, bytes| {
        for name in [".debug_info", ".symtab"] {
            bytes[section(program, name)].fill(0);
        }
    });
    assert!(ended.stdout.contains(";damaged+0x"), "{ended:#?}");
    assert!(!ended.stdout.contains("spin "), "{ended:#?}");
}

#[test]
fn damaged_unwind_information_truncates_stacks_and_says_so() {
    for fill in FILLS {
        check_marked(&run_damaged(|program, bytes| {
            fill(&mut bytes[section(program, ".eh_frame")]);
        }));
    }
}

#[test]
fn sections_that_cannot_be_found_truncate_stacks_and_say_so() {
    for fill in FILLS {
        check_marked(&run_damaged(|program, bytes| {
            fill(&mut bytes[section(program, ".shstrtab")]);
        }));
    }
    // Of the ELF header: e_shoff, e_shentsize, e_shnum, e_shstrndx.
    for (field, value) in [
        (0x28..0x30, 0xff),
        (0x28..0x30, 0),
        (0x28..0x29, 0x03),
        (0x3a..0x3c, 0xff),
        (0x3c..0x3e, 0xff),
        (0x3c..0x3e, 0),
        (0x3e..0x40, 0xff),
    ] {
        check_marked(&run_damaged(|_, bytes| bytes[field.clone()].fill(value)));
    }
}

/// A stack through the damaged program is whole or marked.
#[track_caller]
fn check_marked(ended: &Ended) {
    for line in ended.stdout.lines() {
        let is_whole = line.contains(ENTRY);
        let is_marked = line.starts_with("damaged;[truncated: ");
        // In the loader, before the program itself: its own `_start`, where its debug information is installed.
        let is_early = line.starts_with("damaged;ld-linux")
            || line.starts_with("damaged;_dl")
            || line.starts_with("damaged;_start;_dl_start");
        assert!(is_whole || is_marked || is_early, "{line}");
    }
}
