//! Events that nobody knows, that this machine lacks, or that need what is not there; and command lines without sense.

use std::path::Path;

use super::bench::{Bench, run};
use super::support::skip;

#[test]
fn an_event_that_nobody_knows_is_refused_before_anything_runs() {
    let bench = Bench::new();
    for args in [&["record"][..], &["stat"]] {
        let args = [args, &["-e", "no-such-event", "--", "touch", "marker"]].concat();
        let ended = run(&mut bench.perfd(&args));
        ended.refuses(64, &["unknown event \"no-such-event\"", "try: perfd list"]);
        assert!(bench.files().is_empty(), "{:?}", bench.files());
    }
}

#[test]
fn a_pmu_that_this_machine_lacks_is_answered_with_those_it_has() {
    let bench = Bench::new();
    let args = ["record", "-e", "nopmu/event=1/", "--", "touch", "marker"];
    run(&mut bench.perfd(&args)).refuses(69, &["nopmu", "its PMUs: ", "software"]);
    assert!(bench.files().is_empty());
}

#[test]
fn an_event_that_this_machine_lacks_is_refused_and_never_replaced() {
    let has_pmu = ["cpu", "cpu_core", "armv8_pmuv3_0", "armv8_pmuv3"]
        .iter()
        .any(|name| {
            Path::new("/sys/bus/event_source/devices")
                .join(name)
                .exists()
        });
    let bench = Bench::new();
    if has_pmu {
        return run(&mut bench.perfd(&["stat", "-e", "cycles:u", "--", "true"])).says(0, &[]);
    }
    for command in ["record", "stat"] {
        let args = [command, "-e", "cycles:u", "--", "touch", "marker"];
        let ended = run(&mut bench.perfd(&args));
        ended.refuses(69, &["open cycles:u", "no PMU", "try: ", "perfd list"]);
        assert!(bench.files().is_empty());
    }
}

#[test]
fn a_tracepoint_says_what_it_takes() {
    if !nix::unistd::geteuid().is_root() {
        return skip("tracefs is closed to all but root");
    }
    let bench = Bench::new();
    let has_tracefs = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .iter()
        .any(|root| Path::new(root).join("events").exists());
    let parts: &[&str] = match has_tracefs {
        true => &["sched:no_such_point", "try: perfd list sched:"],
        false => &["tracefs is not mounted", "try: sudo mount -t tracefs"],
    };
    let args = [
        "record",
        "-e",
        "sched:no_such_point",
        "--",
        "touch",
        "marker",
    ];
    run(&mut bench.perfd(&args)).refuses(69, parts);
    assert!(bench.files().is_empty());
}

#[test]
fn a_command_line_that_makes_no_sense_runs_nothing() {
    let bench = Bench::new();
    for (flags, parts) in [
        (
            &["-o", "x.foo"][..],
            &["the ending .foo", "folded:x.foo"][..],
        ),
        (
            &["-o", "foo:x"],
            &["\"foo\" is neither a format", "./foo:x"],
        ),
        (
            &["-e", "cpu-clock,page-faults", "-e", "cpu-clock"],
            &["event cpu-clock is given more than once"],
        ),
        (
            &["-e", "{cycles,instructions}:S"],
            &[
                "\"{cycles,instructions}:S\" is a group",
                "leave out the braces",
            ],
        ),
        (&["-o", "a.svg", "-o", "a.svg"], &["a.svg is given twice"]),
        (
            &["-o", "a.svg", "-o", "folded:./a.svg"],
            &["./a.svg is given twice"],
        ),
        (&["-o", "-", "-o", "json:-"], &["is given twice"]),
        (&["--frobnicate"], &["--frobnicate"]),
        (&["-c", "0"], &["not a number from 1"]),
        (&["--show", "cpu-clock"], &["--show cpu-clock", "with -e"]),
        (
            &["-e", "cpu-clock", "--show", "page-faults"],
            &["--show page-faults is not one", "the events are cpu-clock"],
        ),
    ] {
        let args = [&["record"], flags, &["--", "touch", "marker"]].concat();
        run(&mut bench.perfd(&args)).refuses(64, parts);
        assert!(bench.files().is_empty(), "{flags:?}: {:?}", bench.files());
    }
}
