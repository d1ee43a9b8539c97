//! Files that are made to cost much, and children that hang: they cost names of those files, and nothing else.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use perfd::model::Unnamed;
use perfd::parser::{Begin, Facts, Limits};
use perfd::symbolize::Config;

use crate::bench::{begin, is_failed, module_of, name_all, names, places, status, tables};
use crate::made::{CODE, file_of, section};
use crate::support::compile_c;

/// With so little memory that a program with much debug information is too large for it: what a child takes that has named `good`, and
/// a little more.
pub fn small(good: &Path) -> Begin {
    let begin = begin(Config::default());
    let mut in_child = names(&begin);
    name_all(&mut in_child, 1, good, &places(good, 100));
    let child = in_child.child().expect("it lives");
    let size = status(child, "VmPeak:");
    let kib = size
        .strip_suffix("kB")
        .and_then(|size| size.trim().parse().ok());
    let kib: u64 = kib.expect("a number");
    Begin {
        limits: Limits {
            memory: (kib << 10) + (2 << 20),
            ..begin.limits
        },
        tally: Arc::default(),
        ..begin
    }
}

/// A section that says that it is compressed, and larger than any memory.
fn bomb(folder: &Path) -> PathBuf {
    let path = folder.join("bomb");
    let mut compressed = b"ZLIB".to_vec();
    compressed.extend((1_u64 << 40).to_be_bytes());
    compressed.extend([0x78, 0x9c, 3, 0]);
    fs::write(&path, file_of(&[section(".zdebug_info", &compressed)])).expect("written");
    path
}

#[test]
fn a_bomb_costs_its_own_names_and_the_child_lives_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let bomb = bomb(folder.path());
    let good = compile_c("int main(void) { return 0; }", &["-O1"]);
    let begin = begin(Config::default());
    let mut in_child = names(&begin);
    let of_bomb = name_all(&mut in_child, 1, &bomb, &[CODE]);
    assert!(of_bomb[0][0].unnamed.is_some());
    let of_good = name_all(&mut in_child, 2, good.path(), &places(good.path(), 100));
    assert!(of_good.iter().any(|names| &*names[0].text == "main"));
    assert_eq!(begin.tally.facts().started, 1);
}

#[test]
fn a_file_that_kills_its_child_is_tried_twice_and_others_are_named() {
    let large = std::env::current_exe().expect("ourselves");
    let good = compile_c("int main(void) { return 0; }", &["-O1"]);
    let (of_large, of_good) = (places(&large, 200), places(good.path(), 100));
    let begin = small(good.path());
    let mut in_child = names(&begin);
    for round in 0..3 {
        let failed = name_all(&mut in_child, 1, &large, &of_large);
        assert!(failed.iter().all(|names| is_failed(names)), "{round}");
        let named = name_all(&mut in_child, 2, good.path(), &of_good);
        assert!(named.iter().any(|names| &*names[0].text == "main"));
    }
    let facts = begin.tally.facts();
    assert_eq!((facts.died, facts.blamed), (2, 1), "{facts:?}");
    assert_eq!((facts.started, facts.refused), (3, 0), "{facts:?}");
    let notes = in_child.notes();
    assert!(notes[0].contains("died: 2"), "{notes:?}");
    assert!(notes[1].contains(&*large.to_string_lossy()), "{notes:?}");
}

#[test]
fn what_is_no_elf_file_is_not_even_handed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    fs::write(&secret, "a password").expect("written");
    let begin = begin(Config::default());
    let mut in_child = names(&begin);
    let named = name_all(&mut in_child, 1, &secret, &[0]);
    assert_eq!(named[0][0].unnamed, Some(Unnamed::FileCorrupt));
    assert!(tables(&begin).table(&module_of(&secret)).is_none());
    assert_eq!(begin.tally.facts(), Facts::default());
}

#[test]
fn a_child_that_hangs_is_replaced() {
    let good = compile_c("int main(void) { return 0; }", &["-O1"]);
    let places = places(good.path(), 100);
    let mut begin = begin(Config::default());
    begin.limits.time = Duration::from_secs(2);
    let mut in_child = names(&begin);
    let first = name_all(&mut in_child, 1, good.path(), &places);
    let child = in_child.child().expect("it lives");
    let child = nix::unistd::Pid::from_raw(i32::try_from(child.0).expect("a pid"));
    kill(child, Signal::SIGSTOP).expect("ours");
    let again = name_all(&mut in_child, 1, good.path(), &places);
    assert_eq!(again, first);
    let facts = begin.tally.facts();
    assert_eq!(
        (facts.timed_out, facts.started, facts.blamed),
        (1, 2, 0),
        "{facts:?}"
    );
}

#[test]
fn a_program_that_is_no_parser_costs_names_alone_and_is_not_started_for_ever() {
    let good = compile_c("int main(void) { return 0; }", &["-O1"]);
    for program in ["/nonexistent", "/bin/true"] {
        let mut begin = begin(Config::default());
        begin.limits.program = PathBuf::from(program);
        let mut in_child = names(&begin);
        let places = places(good.path(), 2000);
        let named = name_all(&mut in_child, 1, good.path(), &places);
        assert!(named.iter().all(|names| is_failed(names)), "{program}");
        let facts = begin.tally.facts();
        assert!(
            facts.refused > 0 && facts.started < 20,
            "{program}: {facts:?}"
        );
        assert_eq!(facts.blamed, 0, "{program}: {facts:?}");
    }
}
