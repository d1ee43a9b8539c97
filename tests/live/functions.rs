//! The table of functions: a rare event beside a frequent one, each with a period of its own, and their ratio.
//!
//! Page faults stand in the place of cache misses, which few test machines can count: a program can be written that has
//! exactly so many of them in one function.

use std::path::Path;

use crate::folded::said;
use crate::ledger::{self, check_identity, event, number};
use crate::support::{NO_PMU, Program, compile_c, perfd, skip};
use crate::targets::{may_sample, output_of};

/// Touches 500 pages for the first time, one by one; before each it runs 20 000 times two instructions.
const FAULTS: &str = r#"
#define _GNU_SOURCE
#include <sys/mman.h>

enum { PAGES = 500, PAGE = 4096, ROUNDS = 20000 };

#if defined(__x86_64__)
#define SPIN(n) __asm__ volatile("1: decq %0\n jnz 1b" : "+r"(n) : : "cc")
#else
#define SPIN(n) __asm__ volatile("1: subs %0, %0, #1\n b.ne 1b" : "+r"(n) : : "cc")
#endif

__attribute__((noinline, noclone)) void touch(volatile char *from, int n_pages) {
    for (int i = 0; i < n_pages; i++) {
        long rounds = ROUNDS;
        SPIN(rounds);
        from[(long)i * PAGE] = 1;
    }
}

int main(void) {
    char *memory = mmap(0, (long)PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(memory, (long)PAGES * PAGE, MADV_NOHUGEPAGE);
    touch(memory, PAGES);
    return 0;
}
"#;

const PAGES: u64 = 500;
/// Of [`FAULTS`], for each page: the rounds, and fewer than ten instructions beside them.
const INSTRUCTIONS: f64 = 40_000.0;
const BESIDE: f64 = 10.0;

/// A table as it is read by whoever cuts lines at blanks.
struct Table {
    text: String,
}

impl Table {
    fn read(path: &Path) -> Table {
        let text = std::fs::read_to_string(path).expect("the table is written");
        Table { text }
    }

    /// The words before a function's name.
    fn words(&self, function: &str) -> Vec<&str> {
        let mut lines = self
            .text
            .lines()
            .skip_while(|line| !line.ends_with("  function"));
        let row = lines.find_map(|line| line.strip_suffix(&format!("  {function}")));
        let row = row.unwrap_or_else(|| panic!("no {function} in\n{}", self.text));
        row.split_whitespace().collect()
    }

    fn count(&self, function: &str, column: usize) -> u64 {
        self.words(function)[column]
            .replace(',', "")
            .parse()
            .unwrap_or_else(|_| panic!("{}", self.text))
    }

    /// Value and error.
    fn ratio(&self, function: &str, column: usize) -> (f64, f64) {
        let words = self.words(function);
        let (value, error) = words[column]
            .split_once('±')
            .unwrap_or_else(|| panic!("{}", self.text));
        (
            value.parse().expect("a number"),
            error.parse().expect("a number"),
        )
    }
}

/// `touch` faults once on each page, and perhaps once more on the page of its own code.
fn check_faults_of_touch(faults: u64) {
    assert!((PAGES..=PAGES + 1).contains(&faults), "{faults}");
}

fn program() -> Program {
    compile_c(FAULTS, &["-O1"])
}

#[test]
fn a_rare_event_with_a_period_of_one_stands_beside_the_clock_to_the_count() {
    if !may_sample() {
        return;
    }
    let program = program();
    let at = |name: &str| program.folder().join(name);
    let mut record = perfd();
    record
        .args([
            "record",
            "-q",
            "-F",
            "499",
            "-e",
            "cpu-clock,page-faults/period=1/",
        ])
        // A small copy: all of them fit the ring at once.
        .args(["--call-graph", "dwarf,4096", "-o"])
        .arg(at("x.functions"))
        .arg("-o")
        .arg(at("x.json"))
        .arg("--")
        .arg(program.path());
    output_of(&mut record);
    let document = ledger::read(&at("x.json"));
    check_identity(&document);
    assert_eq!(document["events"][0]["rate"]["frequency_hz"], 499);
    assert_eq!(document["events"][1]["rate"]["period"], 1);
    let faults = event(&document, 1);
    assert_eq!(
        number(faults, "delivered"),
        number(faults, "emitted"),
        "{faults}"
    );

    // Three columns of the clock, three of the faults.
    let table = Table::read(&at("x.functions"));
    let self_faults = 3;
    check_faults_of_touch(table.count("touch", self_faults));
    assert_eq!(
        table.count("all samples", self_faults),
        number(faults, "delivered")
    );
    assert_eq!(
        table.count("counted", self_faults),
        number(faults, "counted_weight")
    );
    // All that touch does, main does in total.
    let total_share = |function| {
        table.words(function)[self_faults + 2]
            .parse::<f64>()
            .expect("a share")
    };
    assert!(total_share("main") >= total_share("touch"));
    assert_eq!(total_share("all samples"), 100.0);
}

#[test]
fn faults_per_thousand_instructions_of_a_function_are_right_within_their_error() {
    if !may_sample() {
        return;
    }
    let program = program();
    let path = program.folder().join("x.functions");
    let output = perfd()
        .args(["record", "-q", "--call-graph", "dwarf,4096", "-e"])
        .arg("cycles/period=100003/u,instructions/period=100003/u,page-faults/period=1/u")
        .arg("-o")
        .arg(&path)
        .arg("--")
        .arg(program.path())
        .output()
        .expect("perfd runs");
    if output.status.code() == Some(69) {
        return skip(NO_PMU);
    }
    assert!(output.status.success(), "{}", said(&output));
    let table = Table::read(&path);
    let (self_faults, per_cycle, per_thousand) = (6, 9, 10);
    let faults = table.count("touch", self_faults);
    check_faults_of_touch(faults);
    // Between as many instructions as there are at least, and at most.
    let (value, error) = table.ratio("touch", per_thousand);
    #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
    let (faults, pages) = (faults as f64, PAGES as f64);
    let most = faults / (pages * INSTRUCTIONS) * 1000.0;
    let least = faults / (pages * (INSTRUCTIONS + BESIDE)) * 1000.0;
    assert!(
        value - error <= most && least <= value + error,
        "{value} ± {error}: {least} to {most}"
    );
    // About 200 samples of instructions, and none of the faults is left to chance; the error's last digit stands for 0.001.
    let n_samples = pages * INSTRUCTIONS / 100_003.0;
    let expected = value / n_samples.sqrt();
    assert!((error - expected).abs() <= 0.0005, "{value} ± {error}");
    // The samples say of the run what its counters say.
    let (sampled, error) = table.ratio("all samples", per_cycle);
    let counted: f64 = table.words("counted")[per_cycle].parse().expect("a number");
    assert!(
        (sampled - counted).abs() <= error + 0.01,
        "{sampled} ± {error}, counted {counted}"
    );
}
