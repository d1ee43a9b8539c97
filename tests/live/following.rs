//! Which processes and threads are sampled.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use crate::folded::{Stack, parse, said};
use crate::ledger::{self, check_identity, event, number};
use crate::support::{BACKENDS, Program, backend_forbidden, compile_c, copy_program, perfd, skip};
use crate::targets::{Running, Target, attach_until_seen, crew, may_sample, output_of};

/// Which of the crew were seen.
fn members(text: &str) -> BTreeSet<String> {
    let stacks = parse(text).expect("folded");
    let frames = stacks.into_iter().flat_map(|stack| stack.frames);
    frames.filter(|frame| frame.starts_with("in_")).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The crew, its thread and its child.
fn start(program: &Program) -> (Target, String, String) {
    let mut target = Target::start(program.path());
    let line = target.line();
    let (tid, child) = line.split_once(' ').expect("two numbers");
    (target, tid.to_owned(), child.to_owned())
}

#[test]
fn a_thread_is_sampled_alone() {
    let Some(program) = crew() else { return };
    let (target, tid, _) = start(&program);
    let text = attach_until_seen(&["-t", &tid], &mut [target]);
    assert_eq!(members(&text), set(&["in_thread"]));
    let (target, tid, _) = start(&program);
    let both = format!("{tid},{}", target.pid());
    let text = attach_until_seen(&["-t", &both], &mut [target]);
    assert!(!members(&text).contains("in_child"));
}

#[test]
fn living_children_are_taken_with_tree_alone() {
    let Some(program) = crew() else { return };
    let (target, _, _) = start(&program);
    let pid = target.pid();
    let text = attach_until_seen(&[&pid], &mut [target]);
    assert_eq!(members(&text), set(&["in_main", "in_thread"]));
    let (target, _, child) = start(&program);
    let pid = target.pid();
    let text = attach_until_seen(&["--tree", "--pid", &pid], &mut [target]);
    let label = format!("program-{child}");
    let stacks = parse(&text).expect("folded");
    let of_child = |stack: &&Stack| stack.comm == label;
    assert!(stacks.iter().any(|stack| of_child(&stack)), "{text}");
    assert!(
        stacks
            .iter()
            .filter(of_child)
            .all(|stack| !stack.frames.contains(&"in_main".into()))
    );
}

/// Waits for a byte, then forks a child and starts a thread; all three are busy until standard input ends.
const LATE_CREW: &str = r#"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORK(name) __attribute__((noinline, noclone)) void name(void) { \
    struct pollfd input = {.fd = 0}; \
    while (poll(&input, 1, 0) == 0) for (volatile int i = 0; i < 50000; i++) ; }
WORK(in_main) WORK(in_thread) WORK(in_child)

static void *thread(void *unused) { in_thread(); return unused; }

int main(void) {
    char byte;
    pthread_t other;
    puts("ready");
    fflush(stdout);
    if (read(0, &byte, 1) != 1) return 1;
    if (fork() == 0) { in_child(); _exit(0); }
    pthread_create(&other, 0, thread, 0);
    in_main();
    pthread_join(other, 0);
    wait(0);
    return 0;
}
"#;

#[test]
fn what_a_target_forks_and_starts_after_the_attach_is_followed() {
    if !may_sample() {
        return;
    }
    let program = compile_c(LATE_CREW, &["-O1"]);
    for backend in BACKENDS {
        if let Some(reason) = backend_forbidden(backend) {
            return skip(&reason);
        }
        let at = |name: &str| program.folder().join(name);
        let mut target = Target::start(program.path());
        assert_eq!(target.line(), "ready");
        let mut attached = Running::start(
            perfd()
                .args(["attach", "-q", "--backend", backend, "--interval", "100ms"])
                .args(["-o", "jsonl:-", "-o"])
                .arg(at("x.folded"))
                .arg("-o")
                .arg(at("x.json"))
                .arg(target.pid()),
        );
        // A window: the events are open.
        attached.line();
        target.input().write_all(b"\n").expect("it reads");
        let all = set(&["in_main", "in_thread", "in_child"]);
        let is_seen = |member: &String| {
            let text = std::fs::read_to_string(at("x.folded")).expect("text");
            text.contains(&format!(";{member};")) || text.contains(&format!(";{member} "))
        };
        while !all.iter().all(is_seen) {
            attached.line();
        }
        target.tell_to_end();
        let (_, output) = attached.finish();
        assert!(output.status.success(), "{backend}: {}", said(&output));
        check_identity(&ledger::read(&at("x.json")));
    }
}

#[test]
fn what_a_command_forks_is_followed_or_left() {
    let Some(program) = crew() else { return };
    let json = program.folder().join("x.json");
    let record = |flags: &[&str]| {
        let mut record = perfd();
        record
            .args(["record", "-q", "-o", "-", "-o"])
            .arg(&json)
            .args(flags)
            .arg("--")
            .arg(program.path())
            .arg("30");
        output_of(&mut record)
    };
    let text = record(&[]);
    assert_eq!(members(&text), set(&["in_main", "in_thread", "in_child"]));
    check_identity(&ledger::read(&json));
    let text = record(&["--no-inherit"]);
    assert_eq!(members(&text), set(&["in_main"]));
    let document = ledger::read(&json);
    check_identity(&document);
    assert_eq!(
        document["ledger"]["events"][0]["lost"]["foreign"],
        serde_json::Value::Null
    );
}

#[test]
fn labels_tell_processes_and_threads_apart() {
    let Some(program) = crew() else { return };
    let (first, _, _) = start(&program);
    let (second, _, _) = start(&program);
    let pids = [first.pid(), second.pid()];
    let text = attach_until_seen(&["--pid", &pids[0], &pids[1]], &mut [first, second]);
    let comms: BTreeSet<String> = parse(&text)
        .expect("folded")
        .into_iter()
        .map(|stack| stack.comm)
        .collect();
    assert!(comms.is_subset(&pids.iter().map(|pid| format!("program-{pid}")).collect()));

    let (target, tid, _) = start(&program);
    let pid = target.pid();
    let text = attach_until_seen(&["--tid", "-t", &tid], &mut [target]);
    let stacks = parse(&text).expect("folded");
    let label = format!("program-{pid}/{tid}");
    assert!(stacks.iter().all(|stack| stack.comm == label), "{text}");
}

#[test]
fn several_processes_are_taken_together() {
    let Some(program) = crew() else { return };
    let run = |names: &[&str]| {
        let mut targets: Vec<Target> = names
            .iter()
            .map(|name| {
                let path = program.folder().join(name);
                copy_program(program.path(), &path);
                Target::start(&path)
            })
            .collect();
        for target in &mut targets {
            target.line();
        }
        let pids: Vec<String> = targets.iter().map(Target::pid).collect();
        let json = program.folder().join("x.json");
        let mut command = perfd();
        command
            .args(["attach", "-q", "-d", "0.5", "-o", "-", "-o"])
            .arg(&json)
            .arg(pids.join(","));
        let text = output_of(&mut command);
        let document = ledger::read(&json);
        check_identity(&document);
        let listed: BTreeSet<String> = document["processes"]
            .as_array()
            .expect("processes")
            .iter()
            .map(|process| process["comm"].as_str().expect("a name").to_owned())
            .collect();
        assert_eq!(listed, set(names));
        text
    };
    let stacks = parse(&run(&["alpha", "beta"])).expect("folded");
    let comms: BTreeSet<String> = stacks.into_iter().map(|stack| stack.comm).collect();
    assert_eq!(comms, set(&["alpha", "beta"]));
}

#[test]
fn forks_and_execs_of_a_shell_script_are_followed() {
    let Some(program) = crew() else { return };
    for name in ["one", "two", "three", "four"] {
        copy_program(program.path(), &program.folder().join(name));
    }
    let script = "./one 30; (./two 30 | cat) ; ./three 30 & wait; exec ./four 30";
    let mut record = perfd();
    record
        .current_dir(program.folder())
        .args(["record", "-q", "-o", "-", "-o", "x.json"])
        .args(["--", "sh", "-c", script]);
    let stacks = parse(&output_of(&mut record)).expect("folded");
    for comm in ["one", "two", "three", "four"] {
        let of_comm: Vec<&Stack> = stacks.iter().filter(|stack| stack.comm == comm).collect();
        for member in ["in_main", "in_thread", "in_child"] {
            let has_it = |stack: &&Stack| stack.frames.iter().any(|frame| frame == member);
            assert!(of_comm.iter().any(has_it), "{comm} {member}: {stacks:?}");
        }
    }
    let document = ledger::read(&program.folder().join("x.json"));
    check_identity(&document);
}

#[test]
fn the_count_of_one_event_is_explained_by_its_samples() {
    let Some(program) = crew() else { return };
    let json = program.folder().join("x.json");
    for flags in [&["-F", "997"][..], &["-c", "1000000"]] {
        record_one_thread(&json, flags);
        let document = ledger::read(&json);
        let account = event(&document, 0);
        check_identity(&document);
        let emitted = number(account, "emitted");
        let counted = number(account, "counted_weight");
        let period = number(account, "sampled_weight") / number(account, "delivered");
        // Of an event that is never switched off, the counted weight is the count itself.
        assert_eq!(counted / period, emitted, "{account}");
    }
}

fn record_one_thread(json: &Path, flags: &[&str]) {
    let script = "i=0; while [ $i -lt 100000 ]; do i=$((i + 1)); done";
    let mut record = perfd();
    record
        .args(["record", "-q", "-e", "cpu-clock", "-o"])
        .arg(json)
        .args(flags)
        .args(["--", "sh", "-c", script]);
    output_of(&mut record);
}
