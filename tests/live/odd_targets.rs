//! Targets with a twist: code made at run time, children that have ended, frame pointers alone.

#[cfg(target_arch = "x86_64")]
use crate::folded::parse;
use crate::folded::said;
use crate::ledger;
use crate::support::{compile_c, perfd};
use crate::targets::{Running, Target, attach_until_seen, crew, may_sample};

/// Spins in code that it has written into anonymous memory, then in `after_jit`.
#[cfg(target_arch = "x86_64")]
const JIT: &str = r#"
#include <string.h>
#include <sys/mman.h>

__attribute__((noinline, noclone)) void after_jit(void) {
    for (volatile long i = 0; i < 200000000; i++) ;
}

int main(void) {
    /* mov %rdi,%rcx; 1: dec %rcx; jnz 1b; ret */
    static const unsigned char code[] = {0x48, 0x89, 0xf9, 0x48, 0xff, 0xc9, 0x75, 0xfb, 0xc3};
    void *memory = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    memcpy(memory, code, sizeof code);
    ((void (*)(long))memory)(500000000);
    after_jit();
    return 0;
}
"#;

#[cfg(target_arch = "x86_64")]
#[test]
fn code_without_a_file_does_not_hold_up_the_samples_of_the_host() {
    if !may_sample() {
        return;
    }
    let program = compile_c(JIT, &["-O1"]);
    let json = program.folder().join("x.json");
    let output = perfd()
        .args(["record", "-q", "-a", "-o", "-", "-o"])
        .arg(&json)
        .arg("--")
        .arg(program.path())
        .output()
        .expect("perfd runs");
    if output.status.code() == Some(77) {
        return crate::support::skip(&said(&output));
    }
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let stacks = parse(&text).expect("folded");
    let own = |name: &str| {
        let has_it = |frame: &String| frame == name;
        stacks
            .iter()
            .any(|stack| stack.comm == "program" && stack.frames.iter().any(has_it))
    };
    assert!(own("[anon]") && own("after_jit"), "{text}");
    let document = ledger::read(&json);
    let lost = &ledger::event(&document, 0)["lost"];
    assert_eq!(lost["queue_full"], serde_json::Value::Null, "{lost}");
    ledger::check_identity(&document);
}

/// Has a child that has ended, and does not wait for it.
const PARENT_OF_A_ZOMBIE: &str = r#"
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    siginfo_t info;
    pid_t child = fork();
    if (child == 0) _exit(0);
    waitid(P_PID, child, &info, WEXITED | WNOWAIT);
    puts("ready");
    fflush(stdout);
    struct pollfd input = {.fd = 0};
    input.events = POLLIN;
    while (poll(&input, 1, 0) == 0)
        for (volatile int i = 0; i < 50000; i++) ;
    return 0;
}
"#;

#[test]
fn a_child_that_has_ended_is_no_reason_to_refuse_a_tree() {
    if !may_sample() {
        return;
    }
    let program = compile_c(PARENT_OF_A_ZOMBIE, &["-O1"]);
    let mut target = Target::start(program.path());
    assert_eq!(target.line(), "ready");
    let pid = target.pid();
    let text = attach_until_seen(&["--tree", &pid], &mut [target]);
    assert!(text.contains("program;"), "{text}");
}

#[test]
fn frame_pointers_are_followed_from_the_first_sample_to_the_last() {
    let Some(program) = crew() else { return };
    let mut target = Target::start(program.path());
    target.line();
    let mut attached = Running::start(
        perfd()
            .args([
                "attach",
                "-q",
                "-F",
                "4999",
                "--call-graph",
                "fp",
                "--interval",
                "100ms",
            ])
            .args(["-o", "jsonl:-", &target.pid()]),
    );
    // Several times the number of samples after which the size of a stack copy may change.
    let (mut seen, mut without_stack) = (0, 0);
    while seen < 1000 {
        let window: serde_json::Value = serde_json::from_str(&attached.line()).expect("a document");
        let account = ledger::event(&window, 0);
        seen += ledger::number(account, "delivered");
        assert_eq!(account["reopened_gap_ns"], 0, "{account}");
        let ended = &window["ledger"]["stacks"]["ended"];
        without_stack += ended["no_user_stack"].as_u64().unwrap_or(0);
    }
    assert!(without_stack * 20 < seen, "{without_stack} of {seen}");
    target.tell_to_end();
    let (_, output) = attached.finish();
    assert!(output.status.success(), "{}", said(&output));
}
