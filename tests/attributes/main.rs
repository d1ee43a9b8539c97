//! What perfd asks of the kernel is what perf asks: the `perf_event_attr` of each default event, field by field.
//!
//! perfd's are taken where they are passed to the kernel, by a library that is preloaded (`spy.c`); perf's are those that
//! `perf -vv` prints, which it does before it knows whether the machine has the event. So no PMU is needed: this is what
//! can be proven of `cache-misses` on a machine that cannot count it.

#[path = "../support/mod.rs"]
mod support;

mod attr;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use attr::{Attr, blocks};
use support::{compile_c, perfd, skip};

/// `PERF_TYPE_HARDWARE`, and the events of it that perfd samples and counts by default.
const HARDWARE: &str = "0";
const DEFAULT_EVENTS: [(&str, &str); 3] = [
    ("cycles", "0x0"),
    ("instructions", "0x1"),
    ("cache-misses", "0x3"),
];

/// A field in which perfd differs from perf, or from some version of it: what it is in perfd's, and why.
type Meant = (&'static str, &'static str, &'static str);

const MEANT: &[Meant] = &[
    (
        "size",
        "136",
        "of the headers of another version; what is beyond is 0",
    ),
    (
        "exclude_guest",
        "1",
        "the address in a guest names nothing here; perf did the same before 6.13",
    ),
    (
        "read_format.TOTAL_TIME_ENABLED",
        "1",
        "to scale the count and to know the expected samples",
    ),
    ("read_format.TOTAL_TIME_RUNNING", "1", "the same"),
    ("read_format.ID", "0", "events are not read as a group"),
];

const MEANT_SAMPLING: &[Meant] = &[
    (
        "sample_type.IDENTIFIER",
        "1",
        "several events share a ring; perf asks for it when it has several",
    ),
    (
        "sample_type.ADDR",
        "0",
        "an address of data; perf asks for it beside any stack copy",
    ),
    ("sample_type.DATA_SRC", "0", "the same"),
    (
        "sample_regs_user",
        attr::UNWOUND_REGISTERS,
        "those that the walk needs; perf takes all",
    ),
    (
        "use_clockid",
        "1",
        "times are compared with perfd's own clock",
    ),
    ("clockid", "1", "CLOCK_MONOTONIC"),
    (
        "mmap",
        "0",
        "records of processes come from an event of their own, whose losses are not samples",
    ),
    ("mmap2", "0", "the same"),
    ("comm", "0", "the same"),
    ("comm_exec", "0", "the same"),
    ("task", "0", "the same"),
    (
        "mmap_data",
        "0",
        "memory that holds no code is of no use to a walk",
    ),
    ("build_id", "0", "files are opened as they are mapped"),
    (
        "ksymbol",
        "0",
        "kernel symbols are read from /proc/kallsyms",
    ),
    ("bpf_event", "0", "the same"),
];

const MEANT_COUNTING: &[Meant] = &[(
    "sample_type.IDENTIFIER",
    "0",
    "nothing that counts alone is in a record",
)];

/// Beside those where stacks are walked in the kernel.
const MEANT_WITH_BPF: &[Meant] = &[(
    "{ wakeup_events, wakeup_watermark }",
    "1",
    "a sample in the ring is one that the kernel could not walk: perfd is to hear of it at once",
)];

/// Beside those where the kernel's part may not be sampled.
const MEANT_IN_USER_MODE: &[Meant] = &[
    (
        "sample_type.CALLCHAIN",
        "0",
        "in user mode the kernel's part of a chain is empty",
    ),
    ("exclude_callchain_kernel", "1", "the same"),
];

#[test]
fn the_default_events_are_sampled_with_the_attributes_that_perf_record_uses() {
    let args = ["record", "-q", "-o", "-", "--", "true"];
    let Some(asked) = asked_by_perfd(&args) else {
        return;
    };
    // Not the probe, which asks whether the event is there, nor the counter beside the samples.
    let sampling: Vec<Attr> = asked
        .into_iter()
        .filter(|attr| attr.get("freq") == "1")
        .collect();
    for (event, config) in DEFAULT_EVENTS {
        let own = the_only(&sampling, event, config);
        let args = [
            "record",
            "-F",
            "997",
            "--call-graph",
            "dwarf,65528",
            "-o",
            "/dev/null",
        ];
        let Some(perfs) = asked_by_perf(&args, event, config) else {
            return;
        };
        let mut meant = [MEANT, MEANT_SAMPLING].concat();
        if own.get("exclude_kernel") == "1" {
            meant.extend(MEANT_IN_USER_MODE);
        }
        if support::backend_forbidden("bpf").is_none() {
            meant.extend(MEANT_WITH_BPF);
        }
        compare(event, &own, &perfs, &meant);
    }
}

#[test]
fn the_default_events_are_counted_with_the_attributes_that_perf_stat_uses() {
    for (event, config) in DEFAULT_EVENTS {
        // Alone, as the members of a group are started by their leader.
        let Some(asked) = asked_by_perfd(&["stat", "-e", event, "--", "true"]) else {
            return;
        };
        let counting: Vec<Attr> = asked
            .into_iter()
            .filter(|attr| attr.get("enable_on_exec") == "1")
            .collect();
        let own = the_only(&counting, event, config);
        let Some(perfs) = asked_by_perf(&["stat"], event, config) else {
            return;
        };
        compare(event, &own, &perfs, &[MEANT, MEANT_COUNTING].concat());
    }
}

/// All attributes that perfd passes to the kernel; `None` (and said) where this machine forbids to sample.
fn asked_by_perfd(args: &[&str]) -> Option<Vec<Attr>> {
    let spy = compile_c(include_str!("spy.c"), &["-shared", "-fPIC"]);
    let log = spy.folder().join("attributes");
    let output = perfd()
        .args(args)
        .env("LD_PRELOAD", spy.path())
        .env("ATTRIBUTES", &log)
        .output()
        .expect("perfd runs");
    if output.status.code() == Some(77) {
        skip("perf events are not permitted");
        return None;
    }
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(read_log(&log))
}

fn read_log(log: &Path) -> Vec<Attr> {
    let bytes = std::fs::read(log).expect("the library was preloaded");
    let mut rest = bytes.as_slice();
    let mut asked = Vec::new();
    while !rest.is_empty() {
        let (attr, behind) = Attr::from_bytes(rest);
        asked.push(attr);
        rest = behind;
    }
    asked
}

/// Those of one event, which are the same on each CPU.
fn the_only(asked: &[Attr], event: &str, config: &str) -> Attr {
    let of_event: BTreeSet<&Attr> = { asked.iter() }
        .filter(|attr| attr.get("type") == HARDWARE && attr.get("config") == config)
        .collect();
    assert_eq!(of_event.len(), 1, "{event}: {of_event:?} of {asked:?}");
    (*of_event.first().expect("one")).clone()
}

/// What perf prints of the event; its last attempt if it made several. `None` (and said) where there is no perf.
fn asked_by_perf(args: &[&str], event: &str, config: &str) -> Option<Attr> {
    let mut perf = Command::new("perf");
    let (command, flags) = args.split_first().expect("a command");
    perf.arg(command)
        .args(["-vv", "-e", event])
        .args(flags)
        .args(["--", "true"]);
    let Ok(output) = perf.output() else {
        skip("perf is not installed");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let mut printed = { blocks(&text).into_iter() }
        .filter(|attr| attr.get("type") == HARDWARE && attr.get("config") == config);
    let Some(last) = printed.next_back() else {
        panic!("perf -vv prints no attributes of {event}:\n{text}");
    };
    Some(last)
}

fn compare(event: &str, own: &Attr, perfs: &Attr, meant: &[Meant]) {
    let names: BTreeSet<&String> = own.names().chain(perfs.names()).collect();
    for name in names {
        let expected = match meant.iter().find(|(field, ..)| field == name) {
            Some((_, value, _)) => value,
            None => perfs.get(name),
        };
        assert_eq!(
            own.get(name),
            expected,
            "{event}: {name}\nperfd {own:?}\nperf  {perfs:?}"
        );
    }
}
