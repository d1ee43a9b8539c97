//! `perfd stat`: totals, ratios, modes, and the events that a machine has not.

use std::process::Command;

use crate::folded::said;
use crate::machine::{counts_the_kernel, cycles_per_instruction, has, has_pmu, is_exact, slack};
use crate::programs::{self, PER_TURN};
use crate::runs::{Count, good, stat};
use crate::support::{Program, perfd};

const N: u64 = 1_000_000;

/// The number of turns of one run and of another with twice as many; of as many digits.
fn turns() -> [String; 2] {
    [N, 2 * N].map(|n| n.to_string())
}

/// Asserts that a program's instructions grow by so many if its turns double. What start-up takes cancels out.
#[track_caller]
fn check_growth(program: &Program, expected: u64) -> [Vec<Count>; 2] {
    let runs = turns().map(|n| stat("cycles:u,instructions:u", program, &[&n]));
    let [once, twice] = &runs;
    let grown = twice[1].value - once[1].value;
    let slack = slack(&once[1]) + slack(&twice[1]);
    assert!(
        grown.abs_diff(expected) <= slack,
        "{grown} ± {slack} instead of {expected}"
    );
    runs
}

#[test]
fn a_loop_of_known_length_is_counted_to_the_instruction() {
    if !has_pmu() {
        return;
    }
    // `first` has N turns and `second` 2·N.
    let runs = check_growth(&programs::loops(), 3 * N * PER_TURN);
    for counts in &runs {
        let (cycles, instructions) = (&counts[0], &counts[1]);
        assert_eq!(cycles.group, instructions.group);
        assert_eq!(cycles.running_ns, instructions.running_ns);
        if let Some(cycles_each) = cycles_per_instruction() {
            // Start-up is the same in each run, and what it takes is less than one turn in a thousand.
            let start_up = counts[1].value % (N * PER_TURN);
            assert!(start_up < N * PER_TURN / 1000, "{start_up}");
            assert_eq!(cycles.value, cycles_each * instructions.value);
        } else {
            // No CPU retires more than 16 instructions in a cycle.
            assert!(cycles.value > instructions.value / 16, "{counts:?}");
        }
    }
}

#[test]
fn nothing_from_before_the_exec_is_counted() {
    if !has_pmu() {
        return;
    }
    // The whole program is three instructions; perfd's own way to the exec would be thousands.
    let counts = stat("cycles:u,instructions:u", &programs::ends(), &[]);
    let instructions = &counts[1];
    assert!(instructions.value >= 3, "{counts:?}");
    assert!(instructions.value <= 3 + slack(instructions), "{counts:?}");
}

#[test]
fn a_forked_child_and_what_it_executes_are_counted_with_their_parent() {
    if !has_pmu() {
        return;
    }
    check_growth(&programs::family(), 3 * N * PER_TURN);
}

#[test]
fn perf_counts_the_same() {
    if !has_pmu() {
        return;
    }
    if Command::new("perf").arg("--version").output().is_err() {
        return crate::support::skip("perf is not installed");
    }
    let program = programs::loops();
    let n = N.to_string();
    let ours = stat("cycles:u,instructions:u", &program, &[&n]);
    let mut perf = Command::new("perf");
    perf.args(["stat", "-x", ",", "-e", "cycles:u,instructions:u", "--"]);
    let output = good(perf.arg(program.path()).arg(&n));
    let said = said(&output);
    let theirs = |event: &str| -> u64 {
        let line = said.lines().find(|line| line.contains(event));
        let value = line.and_then(|line| line.split(',').next());
        value.and_then(|value| value.parse().ok()).expect("a count")
    };
    let (instructions, slack) = (theirs("instructions"), 2 * slack(&ours[1]));
    assert!(
        ours[1].value.abs_diff(instructions) <= slack,
        "{ours:?}\n{said}"
    );
    if is_exact() {
        assert_eq!(ours[0].value, theirs("cycles"), "{said}");
    }
}

#[test]
fn the_ratio_is_that_of_the_two_counts() {
    if !has_pmu() {
        return;
    }
    let program = programs::loops();
    let mut command = perfd();
    command.args(["stat", "-e", "cycles:u,instructions:u", "--"]);
    let said = said(&good(command.arg(program.path()).arg(N.to_string())));
    let line = |event: &str| {
        let lines = said
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines
            .into_iter()
            .find(|words| words.get(1) == Some(&event))
            .expect("a line")
    };
    let value = |event: &str| -> f64 { line(event)[0].replace(',', "").parse().expect("a count") };
    let ratio: f64 = {
        let words = line("instructions:u");
        let at = words.windows(2).position(|pair| pair == ["per", "cycle"]);
        words[at.expect("a ratio") - 1].parse().expect("a number")
    };
    // Two decimals are shown.
    let expected = value("instructions:u") / value("cycles:u");
    assert!((ratio - expected).abs() <= 0.005 + 1e-9, "{said}");
}

#[test]
fn user_and_kernel_mode_add_up() {
    if !counts_the_kernel() {
        return;
    }
    let program = programs::calls_kernel();
    let events = "instructions:u,instructions:k,instructions";
    let counts = stat(events, &program, &["100000"]);
    let [user, kernel, all] = [0, 1, 2].map(|idx| counts[idx].value);
    // One group: the three counted at the same times.
    assert!(counts.iter().all(|count| count.group == counts[0].group));
    // Nowhere is more than an instruction at each change of mode on the wrong side or missing, and a change of mode takes the
    // kernel more than a hundred of them.
    let slack = if is_exact() { 0 } else { kernel / 100 + 1000 };
    assert!((user + kernel).abs_diff(all) <= slack, "{counts:?}");
    // A turn has ten instructions, and the loop with the system call at least three; a system call has more in the kernel.
    assert!(user >= 100_000 * (PER_TURN + 3), "{counts:?}");
    assert!(kernel >= 100_000 * 30, "{counts:?}");
}

#[test]
fn default_events_are_those_that_the_machine_has() {
    if !has_pmu() {
        return;
    }
    let program = programs::loops();
    let n = N.to_string();
    let mut command = perfd();
    let output = good(
        command
            .args(["stat", "--json", "--"])
            .arg(program.path())
            .arg(&n),
    );
    let counted = crate::runs::counts(&output.stdout);
    let names: Vec<&str> = counted
        .iter()
        .map(|count| count.event.split(':').next().expect("a name"))
        .collect();
    let expected = ["cycles", "instructions", "cache-misses"];
    if has("cache-misses") {
        assert_eq!(names[..3], expected);
        return;
    }
    assert_eq!(names[..2], expected[..2]);
    assert!(!names.contains(&"cache-misses"), "{names:?}");
    let said = said(&output);
    assert!(said.contains("not counted: cache-misses: "), "{said}");
    assert!(said.contains("PMU"), "{said}");
}

#[test]
fn an_event_that_is_asked_for_and_missing_is_an_error() {
    if !has_pmu() || has("cache-misses") {
        return;
    }
    for command in [["stat", "--json"], ["record", "-q"]] {
        let output = perfd()
            .args(command)
            .args(["-e", "cache-misses", "--", "true"])
            .output()
            .expect("perfd runs");
        let said = said(&output);
        assert_eq!(output.status.code(), Some(69), "{said}");
        assert!(said.contains("open cache-misses"), "{said}");
        assert!(said.contains("does not have it"), "{said}");
        assert!(said.contains("  try: "), "{said}");
        assert!(output.stdout.is_empty());
    }
}
