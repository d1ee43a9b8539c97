//! `.gnu_debugdata`, which distributions of Fedora's family put into all their files.

use std::fs;

use perfd::debug_files::{MiniError, mini};

use crate::bench::{Bench, assert_bare, has};
use crate::workbench::elf_of;

/// A stripped program with `content` in its section, compressed by `xz` with these options.
fn with_section(bench: &Bench, content: &str, options: &[&str]) -> Option<()> {
    let words = [&["--keep", "--force"], options, &[content]].concat();
    bench.run("xz", &words)?;
    let section = format!("--add-section=.gnu_debugdata={content}.xz");
    bench.run("objcopy", &[&section, "stripped", "program"])?;
    Some(())
}

/// `stripped`, and `mini`, a file with its symbols.
fn symbols(bench: &Bench) {
    bench.program("stripped", &["-g"]);
    bench.split("stripped", "mini");
    bench.run("strip", &["--strip-debug", "mini"]);
}

#[test]
fn symbols_in_the_file_itself_name_what_was_stripped() {
    let bench = Bench::new();
    symbols(&bench);
    for options in [
        &[][..],
        &["-9e"],
        &["--check=crc32"],
        &["--check=sha256"],
        &["--check=none"],
        &["--x86", "--lzma2"],
        &["--block-size=512"],
    ] {
        let Some(()) = with_section(&bench, "mini", options) else {
            return;
        };
        let names = bench.names(&bench.path("program"));
        for wanted in ["main", "hidden", "outer", "puts@plt"] {
            assert!(
                has(&names, wanted),
                "{options:?}: no {wanted} in {names:#?}"
            );
        }
    }
}

#[test]
fn a_stream_that_stands_for_more_than_is_believable_is_given_up() {
    let bench = Bench::new();
    bench.program("stripped", &["-s"]);
    let zeros = fs::File::create(bench.path("zeros")).expect("made");
    zeros.set_len(64 << 20).expect("a sparse file");
    let Some(()) = with_section(&bench, "zeros", &["-1"]) else {
        return;
    };
    let program = bench.path("program");
    let error = mini(&elf_of(&program)).err().expect("refused");
    let compressed = fs::metadata(bench.path("zeros.xz")).expect("there").len();
    let limit = (16 << 20) + 64 * compressed;
    assert!(limit < 32 << 20, "{limit}");
    assert!(
        matches!(error, MiniError::TooLarge(size) if size == limit),
        "{error}"
    );
    assert_bare(&bench.names(&program));
}

#[test]
fn a_stream_that_wants_a_dictionary_of_a_gigabyte_is_given_up() {
    let bench = Bench::new();
    symbols(&bench);
    let mut stream = Vec::new();
    let Some(()) = with_section(&bench, "mini", &["--check=crc32"]) else {
        return;
    };
    stream.extend(fs::read(bench.path("mini.xz")).expect("readable"));
    // The block header behind the 12 bytes of the stream header: size, flags, filter 0x21, one byte of properties.
    let header = &mut stream[12..];
    assert_eq!(header[2..4], [0x21, 1]);
    header[4] = 36;
    let end = (usize::from(header[0]) + 1) * 4 - 4;
    let crc = crc32fast::hash(&header[..end]);
    header[end..end + 4].copy_from_slice(&crc.to_le_bytes());
    fs::write(bench.path("large.xz"), stream).expect("written");
    bench.run(
        "objcopy",
        &[
            "--add-section=.gnu_debugdata=large.xz",
            "stripped",
            "program",
        ],
    );
    let error = mini(&elf_of(&bench.path("program")))
        .err()
        .expect("refused");
    let MiniError::Xz(source) = error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::OutOfMemory, "{source}");
    assert_bare(&bench.names(&bench.path("program")));
}

#[test]
fn a_damaged_stream_is_an_error_and_the_file_has_its_other_names() {
    let bench = Bench::new();
    symbols(&bench);
    let Some(()) = with_section(&bench, "mini", &[]) else {
        return;
    };
    let whole = fs::read(bench.path("mini.xz")).expect("readable");
    let check = |damaged: &[u8]| {
        fs::write(bench.path("damaged.xz"), damaged).expect("written");
        bench.run(
            "objcopy",
            &[
                "--add-section=.gnu_debugdata=damaged.xz",
                "stripped",
                "program",
            ],
        );
        assert!(mini(&elf_of(&bench.path("program"))).is_err());
    };
    for cut in (1..whole.len()).step_by(97) {
        check(&whole[..cut]);
    }
    // Every byte of the stream is under some checksum.
    for at in (0..whole.len()).step_by(89) {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        check(&damaged);
    }
    assert_bare(&bench.names(&bench.path("program")));
}
