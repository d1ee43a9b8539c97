//! What perfd says of its own cost, and `--max-overhead`.

use serde_json::Value;

use crate::folded::said;
use crate::ledger::{self, check_identity, event, number};
use crate::support::{perfd, skip};
use crate::targets::{Running, Target, crew};

#[test]
fn the_kernels_count_of_program_runs_is_that_of_the_samples_that_the_programs_have_seen() {
    let Some(program) = crew() else { return };
    let json = program.folder().join("x.json");
    let mut record = perfd();
    record
        .args(["record", "-e", "cpu-clock,page-faults/period=1/", "-o"])
        .arg(&json)
        .arg("--")
        .arg(program.path())
        .arg("200");
    let output = record.output().expect("perfd runs");
    assert!(output.status.success(), "{}", said(&output));
    let document = ledger::read(&json);
    check_identity(&document);
    let (cost, bpf) = (&document["cost"], &document["cost"]["bpf"]);
    assert!(number(cost, "sampling_cpu_ns") <= number(cost, "cpu_ns"));
    assert!(number(cost, "cpu_ns") > 0 && number(cost, "elapsed_ns") > 0);
    assert!(number(cost, "peak_memory_bytes") > 1 << 20);
    assert!(said(&output).contains("\ncost     perfd "));
    if bpf["time"].is_null() {
        return skip("the run time of BPF programs is not measured here");
    }
    // Nothing but the programs counts the one, and nothing but the kernel the other.
    let outcomes = [
        "walked",
        "left_to_ring",
        "no_room_for_count",
        "no_room_for_stack",
        "foreign",
    ];
    let seen: u64 = (0..2)
        .map(|idx| {
            let kernel_walk = &event(&document, idx)["kernel_walk"];
            let each = outcomes.iter().map(|name| number(kernel_walk, name));
            each.sum::<u64>()
        })
        .sum();
    assert!(seen > 0);
    assert_eq!(number(&bpf["time"], "samples"), seen);
    assert!(number(&bpf["time"], "sample_ns") > 0);
    assert!(number(bpf, "map_bytes") > 0 && number(bpf, "table_bytes") > 0);
    assert!(said(&output).contains("; BPF "), "{}", said(&output));
}

#[test]
fn without_bpf_nothing_is_said_of_it() {
    let Some(program) = crew() else { return };
    let json = program.folder().join("x.json");
    let mut record = perfd();
    record
        .args(["record", "--backend", "perf", "-o"])
        .arg(&json)
        .arg("--")
        .arg(program.path())
        .arg("50");
    let output = record.output().expect("perfd runs");
    assert!(output.status.success(), "{}", said(&output));
    let document = ledger::read(&json);
    assert_eq!(document["cost"]["bpf"], Value::Null);
    assert_eq!(event(&document, 0)["kernel_walk"], Value::Null);
    assert!(said(&output).contains("\ncost     perfd "));
    assert!(!said(&output).contains("BPF"), "{}", said(&output));
}

/// Samples until the rate has been lowered twice: no run takes as little as is allowed here.
fn check_rate_is_lowered(backend: &str) {
    let Some(program) = crew() else { return };
    let mut target = Target::start(program.path());
    target.line();
    let mut attached = Running::start(
        perfd()
            .args(["attach", "--backend", backend, "-e", "cpu-clock"])
            .args(["-F", "1000", "--max-overhead", "0.000001"])
            .args(["--interval", "100ms", "-o", "jsonl:-"])
            .arg(target.pid()),
    );
    let mut windows: Vec<Value> = Vec::new();
    let changes = |window: &Value| {
        let changes = window["ledger"]["rate_changes"].as_array();
        changes.expect("a list").clone()
    };
    let mut n_changes = 0;
    while n_changes < 2 {
        let window: Value = serde_json::from_str(&attached.line()).expect("a document");
        n_changes += changes(&window).len();
        windows.push(window);
        assert!(target.is_running());
    }
    target.tell_to_end();
    let (rest, output) = attached.finish();
    assert!(output.status.success(), "{}", said(&output));
    windows.extend(
        rest.lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("a document")),
    );
    let end = windows.pop().expect("lines");
    check_identity(&end);

    let mut period = 1_000_000;
    let mut lowered = Vec::new();
    for window in &windows {
        check_identity(window);
        let account = event(window, 0);
        let (n, weight) = (
            number(account, "delivered"),
            number(account, "sampled_weight"),
        );
        let new = changes(window);
        let Some(last) = new.last() else {
            assert_eq!(weight, n * period, "{window}");
            continue;
        };
        // Before the change the old period, after it the new one.
        let old = period;
        period = 1_000_000_000 / number(&last["rates"][0], "frequency_hz");
        assert!(period >= 2 * old);
        assert!((n * old..=n * period).contains(&weight), "{window}");
        lowered.extend(new);
    }
    assert_eq!(lowered, changes(&end));
    assert_eq!(lowered[0]["rates"][0]["frequency_hz"], 500);
    assert_eq!(lowered[1]["rates"][0]["frequency_hz"], 250);
    let sum = |name: &str| -> u64 {
        let windows = windows.iter().map(|window| number(event(window, 0), name));
        windows.sum()
    };
    let whole = event(&end, 0);
    assert_eq!(sum("delivered"), number(whole, "delivered"));
    assert_eq!(sum("sampled_weight"), number(whole, "sampled_weight"));
    let text = said(&output);
    let remarks = text.matches("  rate lowered after ").count();
    assert_eq!(remarks, lowered.len(), "{text}");
}

#[test]
fn the_rate_is_lowered_on_cpus_and_every_sample_weighs_its_own_period() {
    check_rate_is_lowered("auto");
}

#[test]
fn the_rate_is_lowered_on_threads_and_every_sample_weighs_its_own_period() {
    check_rate_is_lowered("perf");
}

#[test]
fn a_commands_rate_is_lowered_where_perfd_walks_and_nowhere_else() {
    let Some(program) = crew() else { return };
    let record = |backend: &str| {
        let mut record = perfd();
        record
            .args(["record", "--backend", backend, "--max-overhead", "5", "-o"])
            .arg(program.folder().join("x.folded"))
            .arg("--")
            .arg(program.path())
            .arg("20");
        record.output().expect("perfd runs")
    };
    for backend in ["auto", "perf"] {
        let output = record(backend);
        assert!(output.status.success(), "{}", said(&output));
        assert!(!said(&output).contains("; BPF "), "{}", said(&output));
    }
    let refused = record("bpf");
    assert_eq!(refused.status.code(), Some(64), "{}", said(&refused));
    assert!(said(&refused).contains("--backend perf"));
}
