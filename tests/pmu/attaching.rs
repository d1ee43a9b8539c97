//! `perfd attach` and `perfd stat -p` with hardware events, on a process with four threads that is running.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::folded::{Stack, said};
use crate::machine::{cycles_per_instruction, has_pmu, n_cpus};
use crate::programs::{self, PER_TURN};
use crate::runs::{Profile, counts, outputs};
use crate::support::{Program, perfd};

const N: u64 = 1_000_000;
const PERIOD: u64 = 100_000;
const EVENTS: &str = "cycles:u,instructions:u";

/// The crew, with all its threads busy.
struct Crew(Child);

impl Crew {
    fn start(program: &Program) -> Crew {
        let mut child = Command::new(program.path())
            .arg(N.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut lines = lines(&mut child);
        assert_eq!(lines.next().expect("a line").expect("text"), "all run");
        Crew(child)
    }

    fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// Lets the threads go on to the N turns that they end with.
    fn tell(&mut self) {
        drop(self.0.stdin.take());
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn lines(child: &mut Child) -> Lines<BufReader<ChildStdout>> {
    BufReader::new(child.stdout.take().expect("piped")).lines()
}

#[test]
fn four_running_threads_are_sampled_from_the_attach_on() {
    if !has_pmu() {
        return;
    }
    let program = programs::crew();
    let mut crew = Crew::start(&program);
    let mut attach = perfd();
    attach.args(["attach", "-q", "--tid", "--interval", "100ms", "-o", "-"]);
    attach.args(["--call-graph", "none", "-e", EVENTS, "-c"]);
    attach.arg(PERIOD.to_string());
    outputs(&mut attach, &program);
    let mut attached = attach
        .arg(crew.pid())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    // The first window has samples: the threads are sampled, and may end.
    let mut windows = lines(&mut attached);
    windows.next().expect("a line").expect("text");
    crew.tell();
    windows.for_each(|line| drop(line.expect("text")));
    let output = attached.wait_with_output().expect("our child");
    assert!(output.status.success(), "{}", said(&output));

    let profile = Profile::read(&program);
    let mut threads = BTreeSet::new();
    for k in 1..=4 {
        let name = format!("after_{k}");
        let is_in = |stack: &Stack| stack.frames.contains(&name);
        // A thread has an event of its own on each CPU, which is between two samples when the function begins, and when it
        // ends; an interrupt that comes late takes the sample at either edge to the other side.
        let (weight, within) = (profile.weight(1, is_in), 2 * PERIOD * n_cpus());
        assert!(weight.abs_diff(N * PER_TURN) <= within, "{name}: {weight}");
        let of_thread = profile.stacks[1].iter().filter(|stack| is_in(stack));
        threads.extend(of_thread.map(|stack| stack.comm.clone()));
    }
    assert_eq!(threads.len(), 4, "{threads:?}");
    for idx in [0, 1] {
        profile.check_account(idx, PERIOD);
        let (counted, sampled) = (
            profile.number(idx, "counted_weight"),
            profile.number(idx, "sampled_weight"),
        );
        // Five threads, each with the rest of a period on each CPU.
        assert!(
            counted >= sampled && counted - sampled < 5 * PERIOD * n_cpus(),
            "{counted} {sampled}"
        );
    }
}

#[test]
fn a_running_process_is_counted_from_the_attach_on() {
    if !has_pmu() {
        return;
    }
    let program = programs::crew();
    let mut crew = Crew::start(&program);
    let mut attached = perfd()
        .args([
            "stat",
            "--json",
            "-I",
            "10",
            "-e",
            EVENTS,
            "-p",
            &crew.pid(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    let mut written = lines(&mut attached).map(|line| line.expect("text"));
    let mut text = written.next().expect("an interval");
    crew.tell();
    written.for_each(|line| text = line);
    assert!(attached.wait().expect("our child").success());

    let counts = counts(text.as_bytes());
    let (cycles, instructions) = (&counts[0], &counts[1]);
    // What the four do in the end is behind the first interval.
    assert!(instructions.value >= 4 * N * PER_TURN, "{counts:?}");
    assert_eq!(cycles.group, instructions.group);
    assert_eq!(cycles.enabled_ns, instructions.enabled_ns);
    if let Some(cycles_each) = cycles_per_instruction() {
        assert_eq!(cycles.value, cycles_each * instructions.value);
    }
}
