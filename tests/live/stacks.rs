//! `--call-graph`, and the kernel's part of a stack.

use std::path::Path;

use serde_json::Value;

use crate::folded::{Stack, parse, said};
use crate::ledger::{self, check_identity};
use crate::support::{Program, compile_c, perfd, skip};
use crate::targets::{may_sample, output_of};

/// `outer` calls `middle` calls `inner`, which is busy; with an argument, below so many frames of 1 KiB.
const CHAIN: &str = r#"
#include <stdlib.h>

#define OWN __attribute__((noinline, noclone))
OWN void inner(void) { for (volatile long i = 0; i < 60000000; i++) ; }
OWN void middle(void) { inner(); __asm__ volatile(""); }
OWN void outer(void) { middle(); __asm__ volatile(""); }
OWN void deeper(int depth) {
    volatile char frame[1024];
    frame[0] = 1;
    if (depth == 0) outer();
    else deeper(depth - 1);
    __asm__ volatile("" : : "r"(frame[0]));
}

int main(int argc, char **argv) {
    if (argc > 1) deeper(atoi(argv[1]));
    else outer();
    return 0;
}
"#;

struct Run {
    stacks: Vec<Stack>,
    document: Value,
    said: String,
}

fn record(program: &Program, flags: &[&str], arguments: &[&str]) -> Run {
    let json = program.folder().join("x.json");
    let output = perfd()
        .args(["record", "-o", "-", "-o"])
        .arg(&json)
        .args(flags)
        .arg("--")
        .arg(program.path())
        .args(arguments)
        .output()
        .expect("perfd runs");
    assert!(output.status.success(), "{}", said(&output));
    let document = ledger::read(&json);
    check_identity(&document);
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    Run {
        stacks: parse(&text).expect("folded"),
        document,
        said: said(&output),
    }
}

/// Part of the weight of the stacks that end in these frames.
fn share(stacks: &[Stack], end: &[&str]) -> f64 {
    let sum = |fits: &dyn Fn(&Stack) -> bool| -> u64 {
        let fitting = stacks.iter().filter(|stack| fits(stack));
        fitting.map(|stack| stack.samples).sum()
    };
    let all = sum(&|_| true);
    assert!(all > 0);
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    let share = sum(&|stack| {
        stack
            .frames
            .ends_with(&end.iter().map(|f| (*f).into()).collect::<Vec<String>>())
    }) as f64
        / all as f64;
    share
}

#[test]
fn frame_pointers_give_the_known_chain() {
    if !may_sample() {
        return;
    }
    let flags = [
        "-O1",
        "-fno-omit-frame-pointer",
        "-mno-omit-leaf-frame-pointer",
        "-fno-optimize-sibling-calls",
    ];
    let program = compile_c(CHAIN, &flags);
    let run = record(&program, &["--call-graph", "fp"], &[]);
    let chain = ["main", "outer", "middle", "inner"];
    assert!(share(&run.stacks, &chain) > 0.9, "{:?}", run.stacks);
}

#[test]
fn without_a_call_graph_there_are_leaf_functions_alone() {
    if !may_sample() {
        return;
    }
    let program = compile_c(CHAIN, &["-O1"]);
    let run = record(&program, &["--call-graph", "none"], &[]);
    assert!(
        run.stacks
            .iter()
            .all(|stack| stack.frames.len() <= 1 && stack.truncated.is_none())
    );
    assert!(share(&run.stacks, &["inner"]) > 0.9, "{:?}", run.stacks);
}

#[test]
fn a_copy_that_is_too_short_is_marked_at_the_root_and_in_the_ledger() {
    if !may_sample() {
        return;
    }
    let program = compile_c(CHAIN, &["-O1", "-fno-optimize-sibling-calls"]);
    let cut = record(&program, &["--call-graph", "dwarf,4096"], &["50"]);
    let end = ["deeper", "outer", "middle", "inner"];
    assert!(share(&cut.stacks, &end) > 0.9, "{:?}", cut.stacks);
    for stack in cut
        .stacks
        .iter()
        .filter(|stack| stack.frames.ends_with(&end.map(String::from)))
    {
        assert_eq!(
            stack.truncated.as_deref(),
            Some("[truncated: stack copy too short]")
        );
        let n_deeper = stack
            .frames
            .iter()
            .filter(|frame| *frame == "deeper")
            .count();
        assert!((3..=4).contains(&n_deeper), "{stack:?}");
    }
    let ended = &cut.document["ledger"]["stacks"];
    assert!(
        ended["ended"]["stack copy too short"]
            .as_u64()
            .or(ended["ended"]["copy_too_short"].as_u64())
            > Some(0),
        "{ended}"
    );
    // The loader, which has a deep stack too, may be among them.
    let cut_in = ended["truncated_in"].as_array().expect("a list");
    assert!(
        cut_in.iter().any(|entry| entry["module"] == "program"),
        "{ended}"
    );
    assert!(cut.said.contains("stack copy too short"), "{}", cut.said);

    let whole = record(&program, &[], &["50"]);
    let n_deeper = |stack: &Stack| stack.frames.iter().filter(|f| *f == "deeper").count();
    assert!(share(&whole.stacks, &end) > 0.9, "{:?}", whole.stacks);
    for stack in whole
        .stacks
        .iter()
        .filter(|stack| stack.frames.ends_with(&end.map(String::from)))
    {
        assert_eq!((&stack.truncated, n_deeper(stack)), (&None, 51));
    }
}

/// Whether the kernel's functions have names for this user.
fn kernel_is_named() -> bool {
    let kallsyms = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    kallsyms
        .lines()
        .next()
        .is_some_and(|line| !line.starts_with("0000000000000000 "))
        || kallsyms
            .lines()
            .nth(1000)
            .is_some_and(|line| !line.starts_with("0000000000000000 "))
}

#[test]
fn frames_of_the_kernel_stand_above_those_of_the_caller_and_are_marked() {
    if !may_sample() {
        return;
    }
    if !kernel_is_named() || !Path::new("/dev/zero").exists() {
        return skip("the kernel's symbols may not be read");
    }
    let copy = ["dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=20"];
    let mut command = perfd();
    command.args(["record", "-q", "-o", "-", "--"]).args(copy);
    let text = output_of(&mut command);
    let in_kernel: Vec<&str> = text.lines().filter(|line| line.contains("_[k]")).collect();
    assert!(
        in_kernel
            .iter()
            .any(|line| line.contains("read_zero_[k]") || line.contains("clear_user")),
        "{text}"
    );
    for line in in_kernel {
        let (stack, _) = line.rsplit_once(' ').expect("folded");
        let frames: Vec<bool> = stack
            .split(';')
            .skip(1)
            .map(|frame| frame.ends_with("_[k]"))
            .collect();
        assert!(
            frames.is_sorted(),
            "user frames stand below the kernel's: {line}"
        );
    }
    let user_only = perfd()
        .args(["record", "-q", "-e", "cpu-clock:u", "-o", "-", "--"])
        .args(copy)
        .output()
        .expect("perfd runs");
    assert!(!String::from_utf8_lossy(&user_only.stdout).contains("_[k]"));
}
