//! `perfd stat` on real programs: counts that are known exactly, and ends of all kinds.

mod programs;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use programs::{PAGES_ON_A_SIGN, THREADS_ON_A_SIGN};
use serde_json::Value;
use support::calls::CALLS;
use support::{NO_PMU, Program, compile_c, perfd, skip};

/// Whether this machine lets perfd count at all.
fn can_count(event: &str) -> bool {
    let output = perfd()
        .args(["stat", "--json", "-e", event, "--", "true"])
        .output()
        .expect("perfd runs");
    match output.status.code() {
        Some(0) => true,
        Some(77) => {
            skip("counting is not permitted to this user");
            false
        }
        Some(69) => {
            skip(&format!("this machine does not have {event}"));
            false
        }
        code => panic!("exit code {code:?}: {}", said(&output)),
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    output
        .stdout
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a JSON line"))
        .collect()
}

fn of_kind<'a>(lines: &'a [Value], kind: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["kind"] == kind).collect()
}

/// The value of the first target's first event.
fn first_count(line: &Value) -> u64 {
    let value = &line["processes"][0]["counts"][0]["value"];
    value.as_u64().expect("a count")
}

fn stat_json(event: &str, flags: &[&str], program: &Program, arguments: &[&str]) -> Vec<Value> {
    let output = perfd()
        .args(["stat", "--json", "-e", event])
        .args(flags)
        .arg("--")
        .arg(program.path())
        .args(arguments)
        .output()
        .expect("perfd runs");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    lines(&output)
}

fn breakpoint_on_probed(program: &Program) -> String {
    format!("mem:{:#x}:x", program.address_of("probed"))
}

/// A target that waits on its standard input for a byte.
struct Waiting {
    child: Child,
}

impl Waiting {
    /// Returns when the target has written its first line.
    fn start(program: &Program, arguments: &[&str]) -> Waiting {
        let mut child = Command::new(program.path())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the target runs");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        assert_eq!(line, "x\n");
        Waiting { child }
    }

    fn pid(&self) -> String {
        self.child.id().to_string()
    }

    fn go(&mut self) {
        let mut stdin = self.child.stdin.take().expect("piped");
        stdin.write_all(b"x").expect("the target waits");
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `perfd stat --json -I 10` on a running process; its first interval proves that it counts.
struct Attached {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Attached {
    fn start(event: &str, pid: &str) -> Attached {
        let mut child = perfd()
            .args(["stat", "--json", "-I", "10", "-e", event, "-p", pid])
            .stdout(Stdio::piped())
            .spawn()
            .expect("perfd runs");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        let mut attached = Attached { child, lines };
        assert_eq!(attached.line().expect("an interval")["kind"], "interval");
        attached
    }

    fn line(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("perfd's output");
        (!line.is_empty()).then(|| serde_json::from_str(&line).expect("a JSON line"))
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// The rest of its lines and its exit code.
    fn end(mut self) -> (Vec<Value>, Option<i32>) {
        let lines = std::iter::from_fn(|| self.line()).collect();
        let status = self.child.wait().expect("perfd is our child");
        (lines, status.code())
    }
}

#[test]
fn every_call_in_threads_and_forked_children_is_counted_once() {
    if !can_count("mem:0x1000:x") {
        return;
    }
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    let event = breakpoint_on_probed(&program);
    for n in [1, 1000, 20_000] {
        let lines = stat_json(&event, &[], &program, &[&n.to_string()]);
        let run = of_kind(&lines, "run")[0];
        assert_eq!(first_count(run), 8 * n, "{run}");
    }
}

#[test]
fn without_inheritance_the_main_thread_alone_is_counted() {
    if !can_count("mem:0x1000:x") {
        return;
    }
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    let event = breakpoint_on_probed(&program);
    let lines = stat_json(&event, &["--no-inherit"], &program, &["1000"]);
    assert_eq!(first_count(of_kind(&lines, "run")[0]), 1000);
}

#[test]
fn a_process_attached_while_it_starts_threads_is_counted_exactly() {
    if !can_count("mem:0x1000:x") {
        return;
    }
    let program = compile_c(THREADS_ON_A_SIGN, &["-O1", "-no-pie"]);
    let event = breakpoint_on_probed(&program);
    for n_threads in [1, 20, 300] {
        let mut target = Waiting::start(&program, &[&n_threads.to_string(), "100"]);
        let attached = Attached::start(&event, &target.pid());
        target.go();
        let (lines, code) = attached.end();
        assert_eq!(code, Some(0));
        let run = of_kind(&lines, "run")[0];
        assert_eq!(first_count(run), n_threads * 100, "{run}");
    }
}

#[test]
fn each_touched_page_is_one_page_fault() {
    if !can_count("page-faults") {
        return;
    }
    let program = compile_c(PAGES_ON_A_SIGN, &["-O1", "-Wl,-z,now"]);
    for n_pages in [1, 500, 5000] {
        let mut target = Waiting::start(&program, &[&n_pages.to_string()]);
        let attached = Attached::start("page-faults:u", &target.pid());
        target.go();
        let (lines, code) = attached.end();
        assert_eq!(code, Some(0));
        assert_eq!(first_count(of_kind(&lines, "run")[0]), n_pages);
    }
}

#[test]
fn intervals_add_up_to_the_whole_run() {
    if !can_count("page-faults") {
        return;
    }
    let program = compile_c(CALLS, &["-O1"]);
    let lines = stat_json("page-faults", &["-I", "1"], &program, &["3000000"]);
    let intervals = of_kind(&lines, "interval");
    assert!(!intervals.is_empty());
    let sum: u64 = intervals.iter().map(|line| first_count(line)).sum();
    assert_eq!(sum, first_count(of_kind(&lines, "run")[0]));
    for pair in intervals.windows(2) {
        assert_eq!(pair[0]["end_s"], pair[1]["start_s"]);
    }
}

#[test]
fn a_command_that_waits_switches_context() {
    if !can_count("context-switches") {
        return;
    }
    let output = perfd()
        .args(["stat", "--json", "-e", "context-switches,task-clock"])
        .args([
            "--",
            "sh",
            "-c",
            "(read line; echo $line) <<. | cat\nx\n.\nwait",
        ])
        .output()
        .expect("perfd runs");
    let lines = lines(&output);
    assert!(first_count(of_kind(&lines, "run")[0]) > 0, "{lines:?}");
}

#[test]
fn repeats_are_told_one_by_one_and_summed_up() {
    if !can_count("page-faults") {
        return;
    }
    let program = compile_c(CALLS, &["-O1"]);
    let lines = stat_json("page-faults", &["-r", "3"], &program, &["1"]);
    let runs = of_kind(&lines, "run");
    assert_eq!(runs.len(), 3);
    let summary = of_kind(&lines, "summary")[0];
    assert_eq!(summary["runs"], 3);
    let of_event = &summary["targets"][0]["events"][0]["value"];
    let mut values: Vec<u64> = runs.iter().map(|run| first_count(run)).collect();
    values.sort_unstable();
    assert_eq!(of_event["n"], 3);
    assert_eq!(of_event["median"].as_f64(), Some(values[1] as f64));
    assert_eq!(of_event["max"].as_f64(), Some(values[2] as f64));
}

#[test]
fn perfd_returns_what_the_command_returned() {
    if !can_count("task-clock") {
        return;
    }
    let code = |command: &[&str]| {
        let output = perfd().args(["stat", "--"]).args(command).output();
        output.expect("perfd runs").status.code()
    };
    assert_eq!(code(&["true"]), Some(0));
    assert_eq!(code(&["sh", "-c", "exit 3"]), Some(3));
    assert_eq!(code(&["sh", "-c", "kill -KILL $$"]), Some(137));
    assert_eq!(code(&["/nonexistent/program"]), Some(127));
    assert_eq!(code(&["/etc/passwd"]), Some(126));
}

#[test]
fn a_command_that_is_not_found_is_named_and_leaves_no_table() {
    if !can_count("task-clock") {
        return;
    }
    let output = perfd()
        .args(["stat", "--", "/nonexistent/program"])
        .output()
        .expect("perfd runs");
    let text = said(&output);
    assert!(text.contains("/nonexistent/program"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn the_table_goes_to_standard_error_and_leaves_standard_output_to_the_command() {
    if !can_count("task-clock") {
        return;
    }
    let output = perfd()
        .args(["stat", "-r", "2", "--", "echo", "hello"])
        .output()
        .expect("perfd runs");
    assert_eq!(output.stdout, b"hello\nhello\n");
    let text = said(&output);
    for part in ["echo hello, 2 runs", "task-clock", "page-faults", "elapsed"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[test]
fn cycles_are_counted_or_refused_with_the_reason() {
    if !can_count("task-clock") {
        return;
    }
    let output = perfd()
        .args([
            "stat",
            "--json",
            "-e",
            "cycles:u,instructions:u",
            "--",
            "true",
        ])
        .output()
        .expect("perfd runs");
    if output.status.code() == Some(69) {
        let text = said(&output);
        assert!(text.contains("open cycles:u"), "{text}");
        assert!(text.contains("PMU"), "{text}");
        assert!(text.contains("  try: "), "{text}");
        skip(NO_PMU);
        return;
    }
    let lines = lines(&output);
    let run = of_kind(&lines, "run")[0];
    assert!(first_count(run) > 0, "{run}");
    let counts = &run["processes"][0]["counts"];
    assert_eq!(counts[0]["group"], counts[1]["group"]);
}

#[test]
fn a_machine_without_a_pmu_counts_software_events_and_says_why() {
    if !can_count("task-clock") {
        return;
    }
    let output = perfd()
        .args(["stat", "--json", "--", "true"])
        .output()
        .expect("perfd runs");
    let lines = lines(&output);
    let counts = of_kind(&lines, "run")[0]["processes"][0]["counts"].clone();
    let names: Vec<_> = counts
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| c["event"].clone())
        .collect();
    assert!(
        names
            .iter()
            .any(|name| name.as_str().is_some_and(|n| n.starts_with("task-clock")))
    );
    if !names
        .iter()
        .any(|name| name == "cycles" || name == "cycles:u")
    {
        assert!(
            said(&output).contains("not counted: cycles"),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn an_interrupt_ends_an_attached_run_and_leaves_the_target_alone() {
    if !can_count("task-clock") {
        return;
    }
    let program = compile_c(PAGES_ON_A_SIGN, &["-O1"]);
    let mut target = Waiting::start(&program, &["1"]);
    let attached = Attached::start("task-clock", &target.pid());
    attached.signal("INT");
    let (lines, code) = attached.end();
    assert_eq!(code, Some(0));
    assert_eq!(of_kind(&lines, "run").len(), 1);
    assert!(target.child.try_wait().expect("our child").is_none());
    target.go();
    assert!(target.child.wait().expect("our child").success());
}

#[test]
fn a_reader_that_leaves_ends_an_attached_run_quietly() {
    if !can_count("task-clock") {
        return;
    }
    let program = compile_c(PAGES_ON_A_SIGN, &["-O1"]);
    let target = Waiting::start(&program, &["1"]);
    let Attached { mut child, lines } = Attached::start("task-clock", &target.pid());
    drop(lines);
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

#[test]
fn a_signal_to_perfd_alone_reaches_the_command() {
    if !can_count("task-clock") {
        return;
    }
    let mut child = perfd()
        .args([
            "stat",
            "--json",
            "-I",
            "10",
            "-e",
            "task-clock",
            "--",
            "cat",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    let lines = BufReader::new(child.stdout.take().expect("piped"));
    let stdin = child.stdin.take();
    let mut running = Attached { child, lines };
    assert_eq!(running.line().expect("an interval")["kind"], "interval");
    running.signal("TERM");
    let (lines, code) = running.end();
    assert_eq!(code, Some(143));
    assert_eq!(of_kind(&lines, "run")[0]["exit_code"], 143);
    drop(stdin);
}

#[test]
fn a_process_that_does_not_exist_is_66_and_named() {
    let output = perfd()
        .args(["stat", "-e", "task-clock", "-p", "2147483647"])
        .output()
        .expect("perfd runs");
    if output.status.code() == Some(77) {
        return skip("counting is not permitted to this user");
    }
    assert_eq!(output.status.code(), Some(66), "{}", said(&output));
    assert!(said(&output).contains("2147483647"));
}
