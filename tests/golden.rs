//! Whole texts that perfd writes, compared with `tests/golden/*`. `PERFD_BLESS=1 cargo test --test golden` writes them
//! anew; what has changed is then for the reviewer of the diff to judge.
//!
//! The profiles are made by hand, so that no version, time, pid or path of a machine is in a golden file. Flame graphs
//! are not here: most of their text is inferno's and changes with it.

#[path = "golden/ledgers.rs"]
mod ledgers;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ledgers::{bad_ledger, good_ledger};
use perfd::model::*;
use perfd::session::report::{verdict, write_counters, write_ledger, write_verdict};
use perfd::sink::SinkSpec;
use perfd::sink::encode::{Measure, View, folded, functions, json, samples};

fn golden(name: &str, actual: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("PERFD_BLESS").is_some() {
        fs::write(&path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == actual,
        "{name} differs; PERFD_BLESS=1 rewrites it\n--- expected\n{expected}\n--- actual\n{actual}"
    );
}

fn hardware(event: HardwareEvent) -> EventSpec {
    EventSpec::new(EventSource::Hardware(event))
}

fn software(event: SoftwareEvent) -> EventSpec {
    EventSpec::new(EventSource::Software(event))
}

fn run(events: Vec<SampledEvent>) -> Arc<RunInfo> {
    Arc::new(RunInfo {
        perfd_version: "0.0.0".into(),
        hostname: String::from("bench"),
        kernel: String::from("6.1.0"),
        target: String::from("gzip -9 words"),
        events,
        notes: vec![String::from("cycles: no PMU here; cpu-clock in its place")],
    })
}

fn clock() -> SampledEvent {
    SampledEvent {
        spec: software(SoftwareEvent::CpuClock),
        rate: Rate::Frequency(Hz(997)),
        modes: Modes::ALL,
    }
}

fn frame(text: &str, kind: NameKind) -> FrameName {
    FrameName {
        text: text.into(),
        kind,
        unnamed: None,
    }
}

fn row(ended: Ended, frames: Vec<FrameName>, weights: &[(u64, u64)]) -> Row {
    Row {
        task: TaskLabel {
            comm: "gzip".into(),
            pid: Some(Pid(42)),
            tid: None,
        },
        ended,
        frames,
        weights: weights
            .iter()
            .map(|(total, samples)| Weight {
                total: *total,
                samples: *samples,
                squares: match samples {
                    0 => 0,
                    samples => u128::from(total / samples).pow(2) * u128::from(*samples),
                },
            })
            .collect(),
    }
}

fn count(event: EventSpec, value: u64, running_ms: u64, group: usize) -> Count {
    Count {
        event,
        value,
        enabled: Duration::from_millis(2000),
        running: Duration::from_millis(running_ms),
        group,
    }
}

fn counts(scale: u64) -> Vec<Count> {
    vec![
        count(
            software(SoftwareEvent::TaskClock),
            scale * 998_214_567,
            2000,
            0,
        ),
        count(software(SoftwareEvent::PageFaults), scale * 61, 2000, 0),
        count(software(SoftwareEvent::ContextSwitches), 0, 2000, 0),
        count(
            hardware(HardwareEvent::Cycles),
            scale * 3_006_172_839,
            2000,
            1,
        ),
        count(
            hardware(HardwareEvent::Instructions),
            scale * 4_561_728_394,
            2000,
            1,
        ),
        count(
            hardware(HardwareEvent::CacheMisses),
            scale * 617_283,
            2000,
            1,
        ),
        count(
            hardware(HardwareEvent::BranchInstructions),
            scale * 1_234,
            1000,
            2,
        ),
        count(hardware(HardwareEvent::BranchMisses), 0, 0, 3),
    ]
}

fn process(pid: u32, comm: &str, scale: u64) -> ProcessCounts {
    ProcessCounts {
        pid: Some(Pid(pid)),
        comm: comm.into(),
        counts: counts(scale),
    }
}

fn profile(run: Arc<RunInfo>, ledger: Ledger) -> Profile {
    let main = || frame("main", NameKind::User);
    Profile {
        run,
        span: WindowSpan {
            sequence: 1,
            start: MonoNs(3_000_000_000),
            end: MonoNs(5_000_000_000),
            start_unix_ns: 1_000_000_003_000_000_000,
            is_last: true,
        },
        rows: vec![
            row(
                Ended::Root,
                vec![
                    frame("_start", NameKind::User),
                    main(),
                    frame("<[u8; 4] as Clone>::clone", NameKind::Inlined),
                    frame("entry_SYSCALL_64", NameKind::Kernel),
                ],
                &[(4_000_000, 4), (0, 0)],
            ),
            row(
                Ended::CopyTooShort,
                vec![frame("inflate\u{1b}[2J", NameKind::User)],
                &[(1_003_009, 1), (70_000, 7)],
            ),
            row(
                Ended::NoUserStack,
                vec![frame("thread 7", NameKind::Jit)],
                &[(2_006_018, 2), (10_000, 1)],
            ),
        ],
        processes: vec![process(42, "gzip", 1)],
        ledger: ledger.clone(),
        whole_run: Some(Box::new((vec![process(42, "gzip", 2)], ledger))),
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn folded_stacks_of_each_view() {
    let profile = profile(run(vec![clock()]), good_ledger());
    let view = |event, measure| View {
        event: EventIdx(event),
        measure,
    };
    let encode = |view| text(|out| folded::encode(&profile, view, out));
    golden("weight.folded", &encode(view(0, Measure::Weight)));
    golden("samples.folded", &encode(view(0, Measure::Samples)));
    golden("second-event.folded", &encode(view(1, Measure::Weight)));
}

#[test]
fn samples_one_by_one() {
    let module = |kind, path: &str| {
        Arc::new(Module {
            kind,
            path: path.into(),
            seen_in: None,
        })
    };
    let gzip = module(ModuleKind::File { dev: 1, inode: 2 }, "/usr/bin/gzip");
    let kernel = module(ModuleKind::Kernel, "[kernel]");
    let placed = |module: &Arc<Module>, offset, names: &[FrameName]| NamedFrame {
        names: names.into(),
        module: module.clone(),
        offset: FileOffset(offset),
    };
    let user = |text| frame(text, NameKind::User);
    let unnamed = FrameName {
        unnamed: Some(Unnamed::NotCovered),
        ..user("gzip+0x2f10")
    };
    let sample = |micros: u64, ended, stack: &[NamedFrame]| NamedSample {
        time: MonoNs(micros * 1000 + 999),
        cpu: Cpu(1),
        pid: Pid(42),
        tid: Tid(43),
        comm: "gzip".into(),
        event: EventIdx(0),
        period: 1_003_009,
        ended,
        stack: Some(stack.into()),
    };
    let inlined = frame("<[u8; 4] as Clone>::clone", NameKind::Inlined);
    let whole = [
        placed(
            &kernel,
            0xffff_ffff_8100_0040,
            &[frame("entry_SYSCALL_64", NameKind::Kernel)],
        ),
        placed(&gzip, 0x31d6, &[user("main"), inlined]),
        placed(&gzip, 0x2f10, &[unnamed]),
    ];
    let cut = [placed(&gzip, 0x4c07, &[user("inflate\u{1b}[2J")])];
    let samples = [
        sample(8_123_456_789, Ended::Root, &whole),
        sample(8_124_459_812, Ended::CopyTooShort, &cut),
    ];
    let run = run(vec![clock()]);
    golden(
        "gzip.samples",
        &text(|out| samples::encode(&samples, &run, None, out)),
    );
}

/// A run of four events, of which one took turns.
fn hardware_run() -> Profile {
    let sampled = |event: &str, period| SampledEvent {
        spec: event.parse().unwrap(),
        rate: Rate::Period(period),
        modes: Modes::ALL,
    };
    let run = run(vec![
        sampled("cycles", 1_000_000),
        sampled("instructions", 1_000_000),
        sampled("page-faults", 1),
        sampled("branch-misses", 1000),
    ]);
    let account = |delivered, sampled_weight, running_ns| EventLedger {
        delivered,
        sampled_weight,
        counted_weight: Some(sampled_weight + sampled_weight / 2000),
        enabled_ns: 2_000_000_000,
        running_ns,
        ..EventLedger::default()
    };
    let ledger = Ledger {
        events: vec![
            account(3004, 3_004_000_000, 2_000_000_000),
            account(4560, 4_560_000_000, 2_000_000_000),
            account(61, 61, 2_000_000_000),
            account(900, 900_000, 1_000_000_000),
        ],
        ..Ledger::default()
    };
    let stack = |frames: &[&str], weights: [(u64, u64); 4]| {
        let frames = frames.iter().map(|text| frame(text, NameKind::User));
        row(Ended::Root, frames.collect(), &weights)
    };
    let million = 1_000_000;
    let mut rows = vec![
        stack(
            &["_start", "main", "deflate", "longest_match"],
            [
                (2000 * million, 2000),
                (3800 * million, 3800),
                (0, 0),
                (800_000, 800),
            ],
        ),
        stack(
            &["_start", "main", "deflate"],
            [
                (900 * million, 900),
                (700 * million, 700),
                (40, 40),
                (100_000, 100),
            ],
        ),
        stack(
            &["_start", "main", "read_buf"],
            [(100 * million, 100), (50 * million, 50), (20, 20), (0, 0)],
        ),
        stack(
            &["_start", "main", "usage"],
            [(million, 1), (0, 0), (0, 0), (0, 0)],
        ),
    ];
    rows.push(row(
        Ended::NoRow,
        vec![frame("evil\u{1b}[2J name", NameKind::Kernel)],
        &[(3 * million, 3), (10 * million, 10), (1, 1), (0, 0)],
    ));
    let counts = vec![
        count(hardware(HardwareEvent::Cycles), 3_006_172_839, 2000, 0),
        count(
            hardware(HardwareEvent::Instructions),
            4_561_728_394,
            2000,
            0,
        ),
        count(software(SoftwareEvent::PageFaults), 61, 2000, 1),
        count(hardware(HardwareEvent::BranchMisses), 450_123, 1000, 2),
    ];
    let process = ProcessCounts {
        counts,
        ..process(42, "gzip", 1)
    };
    Profile {
        rows,
        whole_run: Some(Box::new((vec![process], ledger.clone()))),
        ..profile(run, ledger)
    }
}

#[test]
fn functions_side_by_side_with_ratios() {
    let profile = hardware_run();
    let view = |measure| View {
        event: EventIdx(0),
        measure,
    };
    let table = text(|out| functions::encode(&profile, view(Measure::Weight), out));
    golden("weight.functions", &table);
    // Every line of the table has as many words before its function.
    let lines: Vec<&str> = table
        .lines()
        .skip_while(|line| !line.ends_with("  function"))
        .collect();
    let deflate = lines
        .iter()
        .find(|line| line.ends_with(" deflate"))
        .unwrap();
    assert_eq!(deflate.split_whitespace().count(), 4 * 3 + 2 + 1);
    let samples = text(|out| functions::encode(&profile, view(Measure::Samples), out));
    golden("samples.functions", &samples);
}

#[test]
fn json_of_a_run_and_of_a_window() {
    let profile = profile(run(vec![clock()]), good_ledger());
    let first = WindowSpan {
        sequence: 0,
        start: MonoNs(1_000_000_000),
        start_unix_ns: 1_000_000_001_000_000_000,
        ..profile.span
    };
    golden("run.json", &text(|out| json::encode(&profile, first, out)));
    let lines = text(|out| {
        json::encode_window(&profile, out)?;
        json::encode_end(&profile, first, out)
    });
    golden("window.jsonl", &lines);
}

#[test]
fn counters_of_one_process_of_several_and_of_very_many() {
    let table = |processes: &[ProcessCounts]| {
        let mut out = String::new();
        write_counters(processes, Duration::from_millis(2013), &mut out).unwrap();
        out
    };
    golden("counters-one.txt", &table(&[process(42, "gzip", 1)]));
    let mut host = process(0, "", 3);
    host.pid = None;
    host.counts.remove(0);
    golden("counters-host.txt", &table(&[host]));
    let hostile = "sh\u{1b}]0;x";
    golden(
        "counters-two.txt",
        &table(&[process(42, "gzip", 1), process(43, hostile, 2)]),
    );
    let many: Vec<_> = (1..100).map(|pid| process(pid, "cc1", 1)).collect();
    let shown = table(&many);
    assert!(shown.contains("83 more processes"), "{shown}");
    assert!(shown.contains("counters  all 99 processes"), "{shown}");
    assert_eq!(shown.matches("counters  cc1").count(), 16);
    assert_eq!(table(&[]), "");
}

#[test]
fn a_good_ledger_is_four_lines_and_a_bad_one_says_what_to_try() {
    let account = |run: &RunInfo, ledger: &Ledger| {
        let mut out = String::new();
        write_ledger(run, ledger, &mut out).unwrap();
        write_verdict(run, &verdict(ledger), &mut out).unwrap();
        out
    };
    let good = account(&run(vec![clock()]), &good_ledger());
    assert_eq!(good.lines().count(), 4, "{good}");
    golden("ledger-good.txt", &good);
    let misses = SampledEvent {
        spec: hardware(HardwareEvent::CacheMisses),
        rate: Rate::Period(10_007),
        modes: Modes::ALL,
    };
    golden(
        "ledger-bad.txt",
        &account(&run(vec![clock(), misses]), &bad_ledger()),
    );
}

#[test]
fn the_page_on_outputs_shows_what_is_written_and_types_what_is_understood() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/OUTPUT.md")).unwrap();
    for name in [
        "weight.folded",
        "weight.functions",
        "gzip.samples",
        "counters-one.txt",
        "ledger-good.txt",
    ] {
        let shown = fs::read_to_string(root.join("tests/golden").join(name)).unwrap();
        assert!(page.contains(&shown), "{name} is not in the page");
    }
    let typed: Vec<&str> = page
        .split("`-o ")
        .skip(1)
        .filter_map(|rest| rest.split('`').next())
        .filter(|typed| !typed.contains("WHERE"))
        .collect();
    assert!(typed.len() >= 9, "{typed:?}");
    for typed in typed {
        typed.parse::<SinkSpec>().unwrap();
    }
    for ended in Ended::ALL.into_iter().filter(|ended| ended.is_truncated()) {
        assert!(page.contains(&format!("`{ended}`")), "{ended}");
    }
}
