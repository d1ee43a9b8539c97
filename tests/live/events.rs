//! Other events than the clock: faults, breakpoints, tracepoints.

use std::path::Path;
use std::process::Command;

use crate::folded::{parse, said};
use crate::ledger::{self, check_identity, event, number};
use crate::support::{compile_c, perfd, skip};
use crate::targets::{may_sample, output_of};

/// Touches 500 pages for the first time, one by one.
const FAULTS: &str = r#"
#define _GNU_SOURCE
#include <sys/mman.h>

enum { PAGES = 500, PAGE = 4096 };

__attribute__((noinline, noclone)) void touch(char *from, int n) {
    for (int i = 0; i < n; i++) ((volatile char *)from)[(long)i * PAGE] = 1;
}

int main(void) {
    char *memory = mmap(0, (long)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, (long)PAGES * PAGE, MADV_NOHUGEPAGE);
    touch(memory, PAGES);
    return 0;
}
"#;

#[test]
fn every_page_fault_is_a_sample_and_its_weight_one() {
    if !may_sample() {
        return;
    }
    let program = compile_c(FAULTS, &["-O1"]);
    let json = program.folder().join("x.json");
    // A small copy: all of them fit the ring at once.
    for flags in ["none", "dwarf,4096"].map(|method| ["--call-graph", method]) {
        let mut record = perfd();
        record
            .args([
                "record",
                "-q",
                "-e",
                "page-faults",
                "-c",
                "1",
                "-o",
                "-",
                "-o",
            ])
            .arg(&json)
            .args(flags)
            .arg("--")
            .arg(program.path());
        let stacks = parse(&output_of(&mut record)).expect("folded");
        let document = ledger::read(&json);
        check_identity(&document);
        let account = event(&document, 0);
        let emitted = number(account, "emitted");
        assert_eq!(number(account, "counted_weight"), emitted);
        assert_eq!(number(account, "delivered"), emitted, "{account}");
        let sum: u64 = stacks.iter().map(|stack| stack.samples).sum();
        assert_eq!(sum, emitted);
        // The counter beside the samples sees the same faults.
        let counts = document["total"].as_array().expect("counts");
        let counted = counts
            .iter()
            .find(|count| count["event"] == "page-faults")
            .expect("counted");
        assert_eq!(number(counted, "value"), emitted, "{document}");
        let of_touch: u64 = stacks
            .iter()
            .filter(|stack| stack.frames.last().is_some_and(|leaf| leaf == "touch"))
            .map(|stack| stack.samples)
            .sum();
        // The page of its own code may be one more.
        assert!((500..=501).contains(&of_touch), "{stacks:?}");
    }
}

/// Calls `probed` 100 times.
const PROBED: &str = r#"
__attribute__((noinline, noclone)) void probed(void) { __asm__ volatile("" : : : "memory"); }
int main(void) {
    for (int i = 0; i < 100; i++) probed();
    return 0;
}
"#;

#[test]
fn a_breakpoint_in_user_mode_sees_every_call() {
    if !may_sample() {
        return;
    }
    let program = compile_c(PROBED, &["-O1", "-no-pie"]);
    let name = format!("mem:{:#x}:x:u", program.address_of("probed"));
    let json = program.folder().join("x.json");
    let mut record = perfd();
    record
        .args(["record", "-c", "1", "-e", &name, "-o", "-"])
        .args(["--call-graph", "dwarf,4096"])
        .arg("-o")
        .arg(&json)
        .arg("--")
        .arg(program.path());
    let output = record.output().expect("perfd runs");
    if matches!(output.status.code(), Some(69 | 77)) {
        return skip(&said(&output));
    }
    assert!(output.status.success(), "{}", said(&output));
    let stacks = parse(&String::from_utf8(output.stdout).expect("UTF-8")).expect("folded");
    assert_eq!(stacks.len(), 1, "{stacks:?}");
    assert!(
        stacks[0]
            .frames
            .ends_with(&["main".into(), "probed".into()])
    );
    assert_eq!(stacks[0].samples, 100);
    let document = ledger::read(&json);
    check_identity(&document);
    assert_eq!(number(event(&document, 0), "delivered"), 100);
}

#[test]
fn a_tracepoint_is_sampled_where_tracefs_can_be_mounted() {
    if !may_sample() {
        return;
    }
    let tracefs = Path::new("/sys/kernel/tracing");
    if !tracefs.is_dir() {
        return skip("this kernel has no tracefs");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let json = folder.path().join("x.json");
    // A mount namespace of its own: the host does not see what is mounted in it.
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c"]).arg(format!(
            "mount -t tracefs nodev {} && {script}",
            tracefs.display()
        ));
        command
    };
    let mounted = in_namespace("true").output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return skip("tracefs cannot be mounted");
    }
    let mut record = in_namespace("exec \"$@\"");
    record
        .arg("sh")
        .arg(env!("CARGO_BIN_EXE_perfd"))
        .args([
            "record",
            "-q",
            "-c",
            "1",
            "-e",
            "sched:sched_process_exec",
            "-o",
            "-",
            "-o",
        ])
        .arg(&json)
        .args(["--", "sh", "-c", "env true; env true; exec true"]);
    let stacks = parse(&output_of(&mut record)).expect("folded");
    let document = ledger::read(&json);
    check_identity(&document);
    // env and the true that it becomes, twice; then the shell itself; its own exec is where the run begins.
    let delivered = number(event(&document, 0), "delivered");
    assert!((5..=6).contains(&delivered), "{document}");
    let sum: u64 = stacks.iter().map(|stack| stack.samples).sum();
    assert_eq!(sum, delivered);
}

#[test]
fn a_ring_of_the_size_asked_for_keeps_the_account() {
    if !may_sample() {
        return;
    }
    let program = compile_c(FAULTS, &["-O1"]);
    let json = program.folder().join("x.json");
    let delivered = |pages: &str| {
        let mut record = perfd();
        record
            .args([
                "record",
                "-q",
                "-e",
                "page-faults",
                "-c",
                "1",
                "-m",
                pages,
                "-o",
            ])
            .arg(&json)
            .args(["--call-graph", "dwarf,4096"])
            .arg("--")
            .arg(program.path());
        output_of(&mut record);
        let document = ledger::read(&json);
        check_identity(&document);
        let account = event(&document, 0);
        (
            number(account, "delivered"),
            account["lost"]["ring_full"].as_i64(),
        )
    };
    // A sample with a page of stack does not fit into one page of ring.
    assert_eq!(delivered("1").0, 0);
    let (n, lost) = delivered("1024");
    assert!(n >= 500 && lost.is_none(), "{n} {lost:?}");
}
