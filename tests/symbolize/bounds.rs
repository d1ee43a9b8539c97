//! Memory, and modules that have no file to ask.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use perfd::model::{Frame, Module, ModuleId, ModuleKind, NameKind, Pid, Unnamed};
use perfd::procfs::kallsyms::Source;
use perfd::symbolize::{Config, Inline, Resolver};

use crate::workbench::{Workbench, assert_has, code_of, elf_of, frame, module_of, resolver, shown};

#[test]
fn memory_stays_within_its_budget_and_names_stay_right() {
    let bench = Workbench::new();
    let programs = [
        bench.compile_c(&["-O2", "-gdwarf-4"]),
        bench.compile_c(&["-O2", "-gdwarf-5"]),
        bench.compile_c(&["-O2", "-g", "-fno-inline"]),
    ];
    let offsets = code_of(&elf_of(&programs[0]));
    let mut one = resolver(Inline::Show);
    for offset in offsets.iter().step_by(3) {
        one.name(&module_of(&programs[0]), frame(*offset));
    }
    let memory_budget = one.memory() * 2;
    let mut resolver = Resolver::new(Config {
        memory_budget,
        ..Config::default()
    });
    let mut chains = BTreeSet::new();
    for offset in offsets.iter().step_by(3) {
        for (index, program) in programs.iter().enumerate() {
            let frame = Frame {
                module: ModuleId(u32::try_from(index).expect("three")),
                ..frame(*offset)
            };
            chains.insert(shown(&resolver.name(&module_of(program), frame)));
            assert!(resolver.memory() <= memory_budget);
        }
    }
    assert_has(&chains, &["outer;middle_[i];innermost_[i]", "main"]);

    let mut tight = Resolver::new(Config {
        memory_budget: 1000,
        ..Config::default()
    });
    let names: BTreeSet<String> = offsets
        .iter()
        .map(|offset| shown(&tight.name(&module_of(&programs[0]), frame(*offset))))
        .collect();
    assert_has(&names, &["outer", "main"]);
}

#[test]
fn what_has_no_file_is_named_by_its_kind() {
    let proc_root = tempfile::tempdir().expect("a directory");
    let hidden = "0000000000000000 T _stext\n";
    fs::write(proc_root.path().join("kallsyms"), hidden).expect("written");
    let mut resolver = Resolver::new(Config {
        proc_root: proc_root.path().to_owned(),
        kallsyms: Source::Under(proc_root.path().to_owned()),
        ..Config::default()
    });
    let mut check = |kind: ModuleKind, path: &str, expected: (&str, NameKind, Unnamed)| {
        let module = Module {
            kind,
            path: PathBuf::from(path),
            seen_in: None,
        };
        let names = resolver.name(&module, frame(0x7f00_1234_5678));
        let got = (&*names[0].text, names[0].kind, names[0].unnamed);
        assert_eq!(got, (expected.0, expected.1, Some(expected.2)));
    };
    check(
        ModuleKind::Kernel,
        "[kernel]",
        ("[kernel]", NameKind::Kernel, Unnamed::KernelHidden),
    );
    check(
        ModuleKind::Anonymous {
            pid: Pid(1),
            epoch: 0,
        },
        "[anon]",
        ("[anon]", NameKind::User, Unnamed::Anonymous),
    );
    check(
        ModuleKind::File { dev: 1, inode: 1 },
        "/no/such/file.so",
        (
            "file.so+0x7f0012345678",
            NameKind::User,
            Unnamed::FileUnreadable,
        ),
    );
}

#[test]
fn a_file_that_was_replaced_gives_no_names() {
    let bench = Workbench::new();
    let program = bench.compile_c(&["-O2", "-g"]);
    let module = module_of(&program);
    let copy = bench.path("copy");
    fs::copy(&program, &copy).expect("copied");
    fs::rename(&copy, &program).expect("replaced");
    let names = resolver(Inline::Show).name(&module, frame(0x1040));
    assert_eq!(names[0].unnamed, Some(Unnamed::FileChanged));
    let name = program.file_name().expect("named").to_string_lossy();
    assert_eq!(&*names[0].text, format!("[stale:{name}]"));
}

#[test]
fn functions_of_the_vdso_have_their_names() {
    let module = Module {
        kind: ModuleKind::Vdso,
        path: PathBuf::from("[vdso]"),
        seen_in: None,
    };
    let mut resolver = resolver(Inline::Show);
    let names: BTreeSet<String> = (0..0x4000)
        .map(|offset| shown(&resolver.name(&module, frame(offset))))
        .collect();
    assert!(
        names.iter().any(|name| name.contains("clock_gettime")),
        "{names:#?}"
    );
}
