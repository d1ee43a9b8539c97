//! Debug information that is in part in other files: names, inlined calls and lines are those of the whole file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use perfd::symbolize::{Config, Inline, Resolver, Shown, Srcline};

use crate::support::skip;
use crate::workbench::{C, Workbench, code_of, elf_of, frame, module_of, shown};

/// All chains of names with their lines.
fn chains(program: &Path) -> BTreeSet<String> {
    let with_lines = Shown {
        srcline: Srcline::Show,
        ..Shown::default()
    };
    let mut resolver = Resolver::new(Config {
        inline: Inline::Show,
        shown: with_lines,
        ..Config::default()
    });
    let module = module_of(program);
    code_of(&elf_of(program))
        .into_iter()
        .map(|offset| shown(&resolver.name(&module, frame(offset))))
        .filter(|chain| !chain.contains("+0x"))
        .collect()
}

fn run(folder: &Path, command: &str, args: &[&str]) -> bool {
    let status = Command::new(command)
        .args(args)
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}

/// Compiles the program in two steps, as build systems do; `None` if this compiler does not know an option.
fn build(bench: &Workbench, compiler: &str, options: &[&str]) -> Option<PathBuf> {
    let folder = bench.path("");
    std::fs::write(bench.path("program.c"), C).expect("written");
    let mut compile = vec!["-O2", "-c", "program.c"];
    compile.extend(options);
    let is_built =
        run(&folder, compiler, &compile) && run(&folder, compiler, &["-o", "program", "program.o"]);
    is_built.then(|| bench.path("program"))
}

const EXPECTED: [&str; 3] = ["outer (program.c:7)", "middle (program.c:6)_[i]", "leaf ("];

fn check(whole: &BTreeSet<String>, parted: &BTreeSet<String>, what: &str) {
    for part in EXPECTED {
        assert!(
            whole.iter().any(|chain| chain.contains(part)),
            "no {part} in {whole:#?}"
        );
    }
    assert_eq!(parted, whole, "{what}");
}

#[test]
fn a_split_unit_is_read_from_its_own_file_and_from_a_package() {
    // gcc's packer does not know DWARF 5, and that of LLVM not what gcc makes of it.
    for (compiler, dwarf, packer) in [
        (
            "gcc",
            "-gdwarf-4",
            &["dwp", "-o", "program.dwp", "program.dwo"][..],
        ),
        (
            "clang-14",
            "-gdwarf-5",
            &["llvm-dwp-14", "-o", "program.dwp", "program.dwo"],
        ),
    ] {
        let (one, two) = (Workbench::new(), Workbench::new());
        let Some(whole) = build(&one, compiler, &[dwarf]) else {
            skip(&format!("no {compiler}"));
            continue;
        };
        let whole = chains(&whole);
        let split =
            build(&two, compiler, &[dwarf, "-gsplit-dwarf"]).expect("it compiled the other");
        check(&whole, &chains(&split), &format!("{compiler} {dwarf}"));
        if !run(&two.path(""), packer[0], &packer[1..]) {
            skip(&format!("no {}", packer[0]));
            continue;
        }
        std::fs::remove_file(two.path("program.dwo")).expect("there");
        check(&whole, &chains(&split), packer[0]);
        // Without its unit the program is named from its symbols.
        std::fs::remove_file(two.path("program.dwp")).expect("there");
        let alone = chains(&split);
        assert!(alone.contains("leaf") || alone.iter().any(|chain| chain.starts_with("leaf")));
        assert!(
            alone.iter().all(|chain| !chain.contains("_[i]")),
            "{alone:#?}"
        );
    }
}

#[test]
fn what_dwz_has_moved_to_a_common_file_is_read_there() {
    for dwarf in ["-gdwarf-4", "-gdwarf-5"] {
        let bench = Workbench::new();
        let whole = bench.compile_c(&["-O2", dwarf]);
        let expected = chains(&whole);
        let folder = bench.path("");
        for name in ["one", "two"] {
            std::fs::copy(&whole, bench.path(name)).expect("copied");
        }
        if !run(
            &folder,
            "dwz",
            &["-m", "common", "-M", "common", "one", "two"],
        ) {
            return skip("no dwz");
        }
        let moved = elf_of(&bench.path("one"));
        assert!(moved.alternate_link().expect("readable").is_some());
        check(&expected, &chains(&bench.path("one")), dwarf);
        std::fs::remove_file(bench.path("common")).expect("there");
        // What is not there has no name; what is has the right one.
        let rest = chains(&bench.path("one"));
        assert!(
            rest.iter().any(|chain| chain.starts_with("outer")),
            "{rest:#?}"
        );
    }
}
