//! Stacks of Go programs while they run.

use std::fs;

use crate::go_program::{Build, Go};
use crate::support::{BACKENDS, backend_forbidden, perfd, skip};

#[test]
fn stacks_of_a_go_program_are_whole_and_named_stripped_or_not() {
    let Some(go) = Go::new() else { return };
    for build in [Build::Full, Build::Stripped, Build::StrippedPieByCc] {
        let program = go.build(build);
        for backend in BACKENDS {
            if let Some(reason) = backend_forbidden(backend) {
                return skip(&reason);
            }
            let output = go.path("out.folded");
            let run = perfd()
                .args([
                    "record",
                    "-e",
                    "cpu-clock:u",
                    "-F",
                    "2000",
                    "--unit",
                    "samples",
                ])
                .args(["--backend", backend, "-o"])
                .arg(&output)
                .arg("--")
                .arg(&program)
                .arg("400")
                .output()
                .expect("perfd runs");
            let said = String::from_utf8_lossy(&run.stderr);
            assert!(run.status.success(), "{said}");
            let folded = fs::read_to_string(&output).expect("written");
            check(&folded, &format!("{build:?}, {backend}:\n{said}"));
        }
    }
}

fn check(folded: &str, context: &str) {
    let (mut all, mut whole, mut working) = (0, 0, 0);
    for line in folded.lines() {
        let (stack, weight) = line.rsplit_once(' ').expect("a weight");
        let weight: u64 = weight.parse().expect("a number");
        all += weight;
        whole += if stack.contains("[truncated") {
            0
        } else {
            weight
        };
        let is_work =
            stack.contains(";runtime.goexit;") && stack.contains(";main.work;main.outer;main.leaf");
        working += if is_work { weight } else { 0 };
    }
    assert!(all > 20, "{all} samples; {context}");
    // What the runtime does between two stacks, and in the vDSO on the thread's own, is a few samples in a thousand.
    assert!(whole * 100 >= all * 97, "{whole} of {all} whole; {context}");
    assert!(working > 0, "nothing of main.leaf; {context}\n{folded}");
}
