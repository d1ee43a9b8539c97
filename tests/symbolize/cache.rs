//! The cache of names on disk: it says what the file says, whatever happened to it, and of no other file.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use perfd::symbolize::{CacheFolder, Config, Resolver};

use crate::workbench::{Workbench, code_of, elf_of, frame, module_of, shown};

/// A program with enough debug information to be worth a file, whose functions' names begin with `prefix`.
fn large_program(bench: &Workbench, prefix: &str, build_id: &str) -> PathBuf {
    let mut source = String::new();
    for number in 0..9000 {
        writeln!(
            source,
            "int {prefix}_{number}(int x) {{ int y = x * {number}; return y; }}"
        )
        .expect("a string");
    }
    source.push_str("int main(void) { return 0; }\n");
    let build_id = format!("-Wl,--build-id=0x{build_id}");
    bench
        .try_compile("cc", (&format!("{prefix}.c"), &source), &["-g", &build_id])
        .expect("a C compiler")
}

/// The names of some of a program's code, with what is in the cache.
fn names(program: &Path, folder: &Path) -> Vec<String> {
    let mut resolver = Resolver::new(Config {
        cache: Some(CacheFolder::open(folder).expect("ours")),
        ..Config::default()
    });
    let module = module_of(program);
    let names = code_of(&elf_of(program))
        .into_iter()
        .step_by(211)
        .map(|offset| shown(&resolver.name(&module, frame(offset))))
        .collect();
    resolver.finish();
    names
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("there");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("read").path()).collect();
    files.sort();
    files
}

#[test]
fn what_one_run_has_learnt_the_next_one_knows() {
    let bench = Workbench::new();
    let program = large_program(&bench, "known", "0123456789abcdef0123456789abcdef01234567");
    let folder = bench.path("cache");
    let first = names(&program, &folder);
    let n_known = first.iter().filter(|name| name.starts_with("known_"));
    assert!(n_known.count() > 500);
    let kept = files(&folder);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(names(&program, &folder), first);
    assert_eq!(files(&folder), kept, "nothing new was learnt");
}

#[test]
fn a_damaged_cache_costs_time_and_no_names() {
    let bench = Workbench::new();
    let program = large_program(&bench, "damaged", "11223344556677881122334455667788");
    let folder = bench.path("cache");
    let right = names(&program, &folder);
    let path = files(&folder).remove(0);
    let whole = fs::read(&path).expect("read");
    let mut cut_or_changed: Vec<Vec<u8>> = (0..4)
        .map(|quarter| whole[..whole.len() * quarter / 4].to_vec())
        .collect();
    for place in (0..whole.len()).step_by(whole.len() / 12 + 1) {
        let mut changed = whole.clone();
        changed[place] ^= 0x55;
        cut_or_changed.push(changed);
    }
    for bytes in cut_or_changed {
        for file in files(&folder) {
            fs::remove_file(file).expect("removed");
        }
        fs::write(&path, &bytes).expect("written");
        assert_eq!(names(&program, &folder), right);
    }
}

#[test]
fn a_file_that_claims_another_files_build_id_gets_its_own_names() {
    let bench = Workbench::new();
    let build_id = "deadbeefdeadbeefdeadbeefdeadbeefdeadbeef";
    let good = large_program(&bench, "good", build_id);
    let forged = large_program(&bench, "forged", build_id);
    let folder = bench.path("cache");
    let of_forged = names(&forged, &folder);
    let of_good = names(&good, &folder);
    assert!(of_forged.iter().any(|name| name.starts_with("forged_")));
    assert!(of_good.iter().any(|name| name.starts_with("good_")));
    for (program, prefix) in [(&forged, "good_"), (&good, "forged_")] {
        let names = names(program, &folder);
        assert!(names.iter().all(|name| !name.starts_with(prefix)));
    }
}

#[test]
fn two_runs_at_a_time_do_not_disturb_each_other() {
    let bench = Workbench::new();
    let program = large_program(&bench, "both", "aabbccddeeff00112233445566778899");
    let folder = bench.path("cache");
    let open = || {
        Resolver::new(Config {
            cache: Some(CacheFolder::open(&folder).expect("ours")),
            ..Config::default()
        })
    };
    let (mut one, mut two) = (open(), open());
    let module = module_of(&program);
    for offset in code_of(&elf_of(&program)).into_iter().step_by(211) {
        let names = one.name(&module, frame(offset));
        assert_eq!(two.name(&module, frame(offset)), names);
    }
    one.finish();
    two.finish();
    assert_eq!(files(&folder).len(), 2);
    let alone = names(&program, &bench.path("other"));
    assert_eq!(names(&program, &folder), alone);
    assert_eq!(files(&folder).len(), 2, "all that was asked for was there");
}

#[test]
fn a_folder_that_others_could_write_to_is_not_used() {
    let bench = Workbench::new();
    let folder = bench.path("cache");
    fs::create_dir(&folder).expect("made");
    let mode = |mode| fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).expect("ours");
    for (bits, is_usable) in [(0o700, true), (0o755, true), (0o770, false), (0o702, false)] {
        mode(bits);
        assert_eq!(CacheFolder::open(&folder).is_ok(), is_usable, "{bits:o}");
    }
    mode(0o700);
    let link = bench.path("link");
    symlink(&folder, &link).expect("made");
    assert!(CacheFolder::open(&link).is_err());
    if nix::unistd::geteuid().is_root() {
        chown(&folder, Some(65534), None).expect("root may");
        assert!(CacheFolder::open(&folder).is_err());
    }
}
