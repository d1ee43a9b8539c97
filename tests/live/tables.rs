//! Unwind tables: shared by files that have the same, and by no others; and what happens when they have no room.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use perfd::bpf::{CountEach, KernelWalk, Python, Room, TableLoader};
use perfd::model::{CallGraph, Module, ModuleId, ModuleKind, Rate};
use perfd::procfs::SysRoots;
use perfd::session::progress::Status;
use perfd::session::tables::Tables;
use perfd::session::{Backend, EventChoice, JitReporting, Labels, Observer, Spec, Target as Whom};
use perfd::sink::{Format, Measure, SinkSpec};
use perfd::symbolize::Config;
use perfd::sys::Waker;
use perfd::unwind::{RowSource, Rows};
use rustc_hash::FxHashSet;
use serde_json::Value;

use crate::folded::{Stack, parse, said};
use crate::ledger::{self, check_identity, number};
use crate::support::{BACKENDS, Program, backend_forbidden, compile_c, perfd, skip};
use crate::targets::{Running, Target, may_sample};

/// Loads the library that is named, and is busy in it until standard input ends, or so many times.
const LOADS: &str = r#"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    void *library = dlopen(argv[1], RTLD_NOW);
    void (*work)(long) = library ? (void (*)(long))dlsym(library, "work") : 0;
    if (!work) return 1;
    puts("ready");
    fflush(stdout);
    work(argc > 2 ? atol(argv[2]) : 0);
    return 0;
}
"#;

/// The frames below the leaf keep `ROOM` bytes, which only unwind rows tell.
const LIBRARY: &str = r#"
#include <poll.h>
#include <string.h>

#define OWN __attribute__((noipa))
OWN void leaf(void) { for (volatile int i = 0; i < 20000; i++) ; }
OWN void inner(void) { volatile char room[ROOM]; room[0] = 1; leaf(); room[1] = room[0]; }
OWN void outer(void) { volatile char room[ROOM + 64]; room[0] = 1; inner(); room[1] = room[0]; }
OWN void work(long n) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    if (n) while (n--) outer();
    else while (poll(&input, 1, 0) == 0) outer();
    __asm__ volatile("");
}
"#;

/// Compiles the library with frames of another size, under a build id that its caller chooses.
fn library(folder: &Path, name: &str, room: u32) -> PathBuf {
    let source = folder.join("library.c");
    std::fs::write(&source, LIBRARY).expect("written");
    let path = folder.join(name);
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-fomit-frame-pointer"])
        .args([
            "-Wl,--build-id=0x5ca1ab1e5ca1ab1e",
            &format!("-DROOM={room}"),
        ])
        .arg("-o")
        .args([&path, &source])
        .status();
    assert!(status.expect("cc runs").success());
    path
}

/// Stacks that were taken in the library, or at its edge; all of them must be whole.
fn check_stacks(stacks: &[Stack], of: &str) -> u64 {
    let mut n_samples = 0;
    for stack in stacks.iter().filter(|stack| stack.comm == of) {
        if !stack.frames.iter().any(|frame| frame == "leaf") {
            continue;
        }
        assert_eq!(stack.truncated, None, "{stack:?}");
        let calls = ["main", "work", "outer", "inner", "leaf"];
        let main = stack.frames.iter().position(|frame| frame == "main");
        let below = &stack.frames[main.expect("whole")..];
        assert!(below.len() >= calls.len(), "{stack:?}");
        assert_eq!(below[..calls.len()], calls, "{stack:?}");
        n_samples += stack.samples;
    }
    n_samples
}

/// The files whose code the processes have mapped, and the vDSO.
fn modules(targets: &[Target]) -> BTreeSet<String> {
    let maps = targets.iter().map(|target| {
        let maps = format!("/proc/{}/maps", target.pid());
        std::fs::read_to_string(maps).expect("it runs")
    });
    let lines = maps.collect::<String>();
    let code = lines.lines().filter(|line| line.contains(" r-xp "));
    let names = code.filter_map(|line| line.split_ascii_whitespace().nth(5));
    names.map(str::to_owned).collect()
}

#[test]
fn equal_libraries_have_one_table_and_a_build_id_does_not_make_them_equal() {
    if !may_sample() {
        return;
    }
    let program = compile_c(LOADS, &["-O1", "-ldl"]);
    let original = library(program.folder(), "original.so", 64);
    let copy = program.folder().join("copy.so");
    std::fs::copy(&original, &copy).expect("copied");
    let impostor = library(program.folder(), "impostor.so", 640);
    for backend in BACKENDS {
        if let Some(reason) = backend_forbidden(backend) {
            return skip(&reason);
        }
        check_sharing(&program, backend, &[&original, &copy, &impostor]);
    }
}

fn check_sharing(program: &Program, backend: &str, libraries: &[&Path]) {
    let mut targets: Vec<Target> = libraries
        .iter()
        .map(|library| Target::of(Command::new(program.path()).arg(library)))
        .collect();
    for target in &mut targets {
        assert_eq!(target.line(), "ready");
    }
    let at = |name: &str| program.folder().join(name);
    let pids: Vec<String> = targets.iter().map(Target::pid).collect();
    let comm = |pid: &String| format!("program-{pid}");
    let mut attached = Running::start(
        perfd()
            .args(["attach", "-q", "--backend", backend, "-e", "cpu-clock:u"])
            .args(["--pid", "--unit", "samples"])
            .args(["--interval", "100ms", "-o", "jsonl:-", "-o"])
            .arg(at("x.folded"))
            .arg("-o")
            .arg(at("x.json"))
            .arg(pids.join(",")),
    );
    let stacks = || {
        let text = std::fs::read_to_string(at("x.folded")).expect("text");
        parse(&text).expect("folded")
    };
    let is_seen = |pid: &String| check_stacks(&stacks(), &comm(pid)) > 0;
    loop {
        attached.line();
        if pids.iter().all(is_seen) {
            break;
        }
    }
    let modules = modules(&targets);
    targets.iter_mut().for_each(Target::tell_to_end);
    let (_, output) = attached.finish();
    assert!(output.status.success(), "{backend}: {}", said(&output));
    let document = ledger::read(&at("x.json"));
    check_identity(&document);
    let tables = &document["cost"]["tables"];
    assert_eq!(number(tables, "shared"), 1, "{backend}: {tables}");
    let n_modules = modules.len() as u64;
    let kept = number(tables, "built") + number(tables, "shared");
    assert_eq!(kept, n_modules, "{backend}: {tables}\n{modules:?}");
    assert_eq!(number(tables, "refused") + number(tables, "evicted"), 0);
    assert!(number(tables, "bytes") > 0);
}

struct Silent;

impl Observer for Silent {
    fn note(&mut self, _: &str) {}
    fn progress(&mut self, _: Status) {}
    fn sampling_ended(&mut self) {}
}

/// A run of a command with room for no table at all.
fn without_room(program: &Program, library: &Path, backend: Backend) -> Spec {
    let output =
        |name: &str| SinkSpec::parse(program.folder().join(name).as_os_str(), Format::Folded);
    Spec {
        target: Whom::Command {
            argv: vec![program.path().into(), library.into(), "20000".into()],
            stdout_to_stderr: true,
            whole_host: false,
        },
        events: EventChoice::Asked(vec!["cpu-clock:u".parse().expect("an event")]),
        rate: Rate::Period(1_000_000),
        call_graph: CallGraph::Auto,
        backend,
        inherit: true,
        python: false,
        naming: Config::default(),
        delay: Duration::ZERO,
        duration: None,
        max_overhead: None,
        interval: None,
        labels: Labels::default(),
        ring_pages: None,
        table_budget: 1,
        timestamps: false,
        jit: JitReporting::Off,
        sinks: vec![
            output("small.folded").expect("a path"),
            output("small.json").expect("a path"),
        ],
        show: None,
        measure: Measure::Samples,
        roots: SysRoots::default(),
    }
}

#[test]
fn without_room_for_tables_samples_are_whole_all_the_same() {
    if !may_sample() {
        return;
    }
    let program = compile_c(LOADS, &["-O1", "-ldl"]);
    let library = library(program.folder(), "library.so", 64);
    for (name, backend) in [("perf", Backend::Perf), ("bpf", Backend::Bpf)] {
        if !BACKENDS.contains(&name) {
            continue;
        }
        if let Some(reason) = backend_forbidden(name) {
            return skip(&reason);
        }
        let spec = without_room(&program, &library, backend);
        perfd::session::run(&spec, &mut Silent).expect("it runs");
        let text = std::fs::read_to_string(program.folder().join("small.folded"));
        let stacks = parse(&text.expect("text")).expect("folded");
        assert!(check_stacks(&stacks, "program") > 0, "{stacks:?}");
        let document = ledger::read(&program.folder().join("small.json"));
        check_identity(&document);
        let tables = &document["cost"]["tables"];
        assert!(number(tables, "built") > 0, "{tables}");
        assert!(number(tables, "refused") > 0, "{tables}");
        if backend == Backend::Bpf {
            // Not one table was in the kernel.
            assert_eq!(document["cost"]["bpf"]["table_bytes"], Value::from(0));
        }
    }
}

fn module(path: &Path) -> Arc<Module> {
    let metadata = std::fs::metadata(path).expect("there");
    Arc::new(Module {
        kind: ModuleKind::File {
            dev: metadata.dev(),
            inode: metadata.ino(),
        },
        path: path.to_owned(),
        seen_in: None,
    })
}

/// Tables that take so many bytes at most; the kernel's too, if there is a loader.
fn tables(budget: u64, loader: Option<&TableLoader>) -> Tables {
    let waker = Waker::new().expect("an eventfd");
    Tables::start(Path::new("/proc"), None, &waker, loader, budget).expect("threads")
}

fn is_there(tables: &Tables, id: ModuleId) -> bool {
    matches!(tables.rows(id), Rows::Table(_))
}

/// With or without the kernel's copies: A has room, and B has when A has gone.
fn check_eviction(a: &Arc<Module>, b: &Arc<Module>, loader: Option<&TableLoader>) {
    let nothing = FxHashSet::default;
    let both = || FxHashSet::from_iter([ModuleId(1), ModuleId(2)]);
    let mut alone = tables(u64::MAX, loader);
    alone.want(ModuleId(1), a);
    while alone.wait(nothing) {}
    let budget = alone.cost().bytes + 64;
    assert!(is_there(&alone, ModuleId(1)));

    let mut tables = tables(budget, loader);
    let want = |tables: &mut Tables, id: u32, mapped: &dyn Fn() -> FxHashSet<ModuleId>| {
        let module = if id == 1 { a } else { b };
        tables.want(ModuleId(id), module);
        while tables.wait(mapped) {}
        assert!(tables.cost().bytes <= budget, "{:?}", tables.cost());
    };
    want(&mut tables, 1, &both);
    // A is mapped and was used just now: B can wait.
    want(&mut tables, 2, &both);
    assert!(is_there(&tables, ModuleId(1)) && !is_there(&tables, ModuleId(2)));
    assert!(tables.cost().refused > 0 && tables.cost().evicted == 0);
    // A third file like B, when nobody has A mapped any more.
    tables.want(ModuleId(3), b);
    while tables.wait(nothing) {}
    assert!(is_there(&tables, ModuleId(3)) && !is_there(&tables, ModuleId(1)));
    assert!(tables.cost().evicted > 0 && tables.cost().bytes <= budget);
    // What was evicted is built again.
    let built = tables.cost().built;
    want(&mut tables, 1, &nothing);
    assert!(is_there(&tables, ModuleId(1)) && !is_there(&tables, ModuleId(3)));
    assert_eq!(tables.cost().built, built + 1);
}

#[test]
fn a_table_that_nobody_has_mapped_makes_room_and_comes_back_when_it_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let [a, b] = [64, 640].map(|room| module(&library(folder.path(), &format!("{room}.so"), room)));
    check_eviction(&a, &b, None);
    if !BACKENDS.contains(&"bpf") {
        return;
    }
    match KernelWalk::load(
        1,
        true,
        CountEach::Stack,
        Python::Leave,
        Room::default(),
        [1, 2],
    ) {
        Ok(walk) => check_eviction(&a, &b, Some(&walk.table_loader())),
        Err(error) => skip(&format!("{:#}", anyhow::Error::new(error))),
    }
}
