//! pprof files as others read them: `go tool pprof`, and Google's protobuf library. What they find is what the folded stacks of the same
//! run say.

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use perfd::model::{EventIdx, NameKind};
use perfd::sink::pprof::{self, Limits, Writer};
use perfd::sink::{Measure, View, encode};
use support::{Program, compile_c, perfd, skip};

/// Functions inlined into each other, system calls and page faults.
const SOURCE: &str = r#"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

static volatile unsigned long sink;

static inline __attribute__((always_inline)) void innermost(unsigned long n) {
    for (unsigned long i = 0; i < n; i++)
        sink += i * i;
}

static inline __attribute__((always_inline)) void middle(unsigned long n) { innermost(n); }

__attribute__((noinline)) void outer(unsigned long n) {
    middle(n);
    sink++;
}

__attribute__((noinline)) void touch(void) {
    size_t size = 1 << 20;
    char *memory = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(memory, 1, size);
    munmap(memory, size);
    sink++;
}

int main(void) {
    for (int i = 0; i < 60; i++) {
        outer(1000000);
        touch();
        for (int k = 0; k < 1000; k++)
            sink += getppid();
    }
    return 0;
}
"#;

/// A run of all that in windows, as a pprof file and as folded stacks.
struct Run {
    program: Program,
}

impl Run {
    /// `None` if this machine does not let it, which has then been said.
    fn record() -> Option<Run> {
        let program = compile_c(SOURCE, &["-O2"]);
        let output = perfd()
            .current_dir(program.folder())
            .args(["record", "-q", "-e", "cpu-clock,page-faults/period=1/"])
            .args(["--pid", "--tid", "--interval", "20ms"])
            .args(["-o", "run.pb.gz", "-o", "run.folded", "--"])
            .arg(program.path())
            .output()
            .expect("perfd starts");
        if matches!(output.status.code(), Some(69 | 77)) {
            skip(String::from_utf8_lossy(&output.stderr).trim());
            return None;
        }
        assert!(output.status.success(), "{output:?}");
        Some(Run { program })
    }

    fn file(&self) -> std::path::PathBuf {
        self.program.folder().join("run.pb.gz")
    }

    /// The stacks of all windows together.
    fn folded(&self, event: &str) -> BTreeMap<String, u64> {
        let name = format!("run.{event}.folded");
        let path = self.program.folder().join(name);
        stacks(&std::fs::read_to_string(path).expect("written"))
    }
}

fn stacks(text: &str) -> BTreeMap<String, u64> {
    let mut stacks = BTreeMap::new();
    for line in text.lines() {
        let (stack, weight) = line.rsplit_once(' ').expect("a weight");
        *stacks.entry(stack.to_owned()).or_default() += weight.parse::<u64>().expect("a number");
    }
    stacks
}

fn go_pprof(arguments: &[&str], file: &Path) -> Option<String> {
    if Command::new("go").arg("version").output().is_err() {
        skip("no go");
        return None;
    }
    let output = Command::new("go")
        .args(["tool", "pprof"])
        .args(arguments)
        .arg(file)
        .env("HOME", file.parent().expect("in a folder"))
        .env("PPROF_TMPDIR", file.parent().expect("in a folder"))
        .output()
        .expect("go starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    Some(String::from_utf8(output.stdout).expect("text"))
}

/// The python of Debian has its packages; another one may come first.
fn python() -> Option<&'static str> {
    let has_protobuf = |python: &&str| {
        let import = "import google.protobuf";
        let output = Command::new(python).args(["-c", import]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = ["/usr/bin/python3", "python3"]
        .into_iter()
        .find(has_protobuf);
    if found.is_none() {
        skip("no python3 with protobuf (python3-protobuf)");
    }
    found
}

fn read_by_python(python: &str, file: &Path, kind: &str) -> Output {
    let output = Command::new(python)
        .arg("tests/pprof/reader.py")
        .arg(file)
        .arg(kind)
        .output()
        .expect("python starts");
    assert!(output.status.success(), "{output:?}");
    output
}

#[test]
fn an_independent_reader_finds_the_stacks_of_the_folded_output() {
    let (Some(run), Some(python)) = (Run::record(), python()) else {
        return;
    };
    for event in ["cpu-clock", "page-faults"] {
        let output = read_by_python(python, &run.file(), event);
        let found = stacks(&String::from_utf8_lossy(&output.stdout));
        assert_eq!(found, run.folded(event), "{event}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("\ndefault cpu-clock\n"), "{said}");
        assert!(said.contains("\nperiod 1003009 cpu-clock\n"), "{said}");
        assert!(said.contains("\nperfd version="), "{said}");
        assert!(
            said.contains("\nledger.event name=\"page-faults\""),
            "{said}"
        );
    }
    let clock = run.folded("cpu-clock");
    let has = |part: &str| clock.keys().any(|stack| stack.contains(part));
    assert!(has(";outer;middle_[i];innermost_[i]"), "{clock:?}");
    assert!(has("_[k]"), "{clock:?}");
    // As many samples as the ledger says were delivered.
    let output = read_by_python(python, &run.file(), "cpu-clock_sample");
    let n_samples: u64 = stacks(&String::from_utf8_lossy(&output.stdout))
        .values()
        .sum();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let of_clock = said
        .lines()
        .find(|line| line.starts_with("ledger.event name=\"cpu-clock\""));
    let delivered = format!(" delivered={n_samples} ");
    assert!(
        of_clock.is_some_and(|line| line.contains(&delivered)),
        "{delivered}: {said}"
    );
}

#[test]
fn go_tool_pprof_shows_functions_stacks_and_the_whole() {
    let Some(run) = Run::record() else {
        return;
    };
    let Some(top) = go_pprof(
        &["-top", "-unit=ns", "-nodecount=200", "-nodefraction=0"],
        &run.file(),
    ) else {
        return;
    };
    let total: u64 = run.folded("cpu-clock").values().sum();
    assert!(top.contains("Type: cpu-clock\n"), "{top}");
    assert!(top.contains(&format!("Total samples = {total}ns")), "{top}");
    // Inlined functions have their own weights.
    let line = |name: &str| top.lines().find(|line| line.trim_end().ends_with(name));
    let innermost = line("innermost (inline)").unwrap_or_else(|| panic!("{top}"));
    let flat = innermost.split_whitespace().next().expect("a weight");
    let flat: u64 = flat.trim_end_matches("ns").parse().expect("a number");
    let in_folded: u64 = run
        .folded("cpu-clock")
        .iter()
        .filter(|(stack, _)| stack.ends_with(";innermost_[i]"))
        .map(|(_, weight)| weight)
        .sum();
    assert_eq!(flat, in_folded, "{top}");
    let faults = go_pprof(&["-top", "-sample_index=page-faults"], &run.file()).expect("go is here");
    assert!(faults.contains("Type: page-faults"), "{faults}");
    let raw = go_pprof(&["-raw"], &run.file()).expect("go is here");
    let columns = "cpu-clock_sample/count cpu-clock/nanoseconds[dflt] page-faults_sample/count page-faults/count";
    assert!(raw.contains(columns), "{raw}");
    assert!(raw.contains("comm:[program]"), "{raw}");
    let traces = go_pprof(&["-traces"], &run.file()).expect("go is here");
    let calls: Vec<&str> = traces.lines().map(str::trim).collect();
    let inlined = ["middle (inline)", "outer", "main"];
    assert!(calls.windows(3).any(|frames| frames == inlined), "{traces}");
    // The mapping says what is the kernel's.
    let kernel =
        go_pprof(&["-traces", "-focus", r"^\[kernel\]$"], &run.file()).expect("go is here");
    // An interrupt may come anywhere; but what is sampled in the function itself is not the kernel's.
    let is_leaf = |line: &str| line.split_whitespace().nth(1) == Some("innermost");
    assert!(traces.lines().any(is_leaf), "{traces}");
    assert!(
        kernel.contains("getppid") && !kernel.lines().any(is_leaf),
        "{kernel}"
    );
    // What go has written anew is read too, as another program's or as perfd's own.
    let again = run.program.folder().join("again.pb.gz");
    let to = format!("-output={}", again.display());
    go_pprof(&["-proto", &to], &run.file()).expect("go is here");
    let bytes = std::fs::read(&again).expect("written");
    let again = pprof::decode(&bytes, &Limits::default()).expect("a pprof file");
    let first = std::fs::read(run.file()).expect("written");
    let first = pprof::decode(&first, &Limits::default()).expect("a pprof file");
    assert_eq!(again.writer, Writer::Perfd);
    assert_eq!(again.profile.rows, first.profile.rows);
    assert_eq!(again.profile.ledger, first.profile.ledger);
}

#[test]
fn what_is_read_back_makes_the_same_folded_stacks() {
    let Some(run) = Run::record() else {
        return;
    };
    let bytes = std::fs::read(run.file()).expect("written");
    let decoded = pprof::decode(&bytes, &Limits::default()).expect("a pprof file");
    for (idx, event) in ["cpu-clock", "page-faults"].into_iter().enumerate() {
        let view = View {
            event: EventIdx(idx),
            measure: Measure::Weight,
        };
        let mut text = Vec::new();
        encode::folded::encode(&decoded.profile, view, &mut text).expect("memory");
        let text = String::from_utf8(text).expect("text");
        assert_eq!(stacks(&text), run.folded(event), "{event}");
    }
    let frames = decoded.profile.rows.iter().flat_map(|row| &row.frames);
    let kinds: Vec<NameKind> = frames.map(|frame| frame.kind).collect();
    for kind in [NameKind::User, NameKind::Inlined, NameKind::Kernel] {
        assert!(kinds.contains(&kind), "{kind:?}");
    }
}

/// A profile of Go's own runtime/pprof.
#[test]
fn a_profile_that_a_go_program_wrote_is_read() {
    if Command::new("go").arg("version").output().is_err() {
        return skip("no go");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let source = r#"
package main

import (
	"os"
	"runtime/pprof"
)

//go:noinline
func spin(n int) (sum int) {
	for i := 0; i < n; i++ {
		sum += i ^ (sum << 1)
	}
	return
}

func main() {
	file, _ := os.Create("go.pb.gz")
	pprof.StartCPUProfile(file)
	sum := 0
	for i := 0; i < 400; i++ {
		sum += spin(2000000)
	}
	pprof.StopCPUProfile()
	file.Close()
	os.Exit(sum & 0)
}
"#;
    std::fs::write(folder.path().join("main.go"), source).expect("written");
    let output = Command::new("go")
        .args(["run", "main.go"])
        .current_dir(folder.path())
        .env("GO111MODULE", "off")
        .env("GOTOOLCHAIN", "local")
        .env(
            "GOCACHE",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-cache"),
        )
        .output()
        .expect("go starts");
    assert!(output.status.success(), "{output:?}");
    let bytes = std::fs::read(folder.path().join("go.pb.gz")).expect("written");
    let decoded = pprof::decode(&bytes, &Limits::default()).expect("a pprof file");
    assert_eq!(decoded.writer, Writer::Other);
    let profile = decoded.profile;
    assert_eq!(profile.run.events.len(), 1);
    assert_eq!(profile.run.events[0].spec.to_string(), "cpu-clock");
    let in_spin = profile
        .rows
        .iter()
        .filter(|row| row.frames.iter().any(|frame| &*frame.text == "main.spin"));
    let (in_spin, all) = (
        in_spin.map(|row| row.weights[0].samples).sum::<u64>(),
        profile
            .rows
            .iter()
            .map(|row| row.weights[0].samples)
            .sum::<u64>(),
    );
    assert!(in_spin > 10 && in_spin * 2 > all, "{in_spin} of {all}");
}
