//! Outputs that cannot be opened, fail during the run, or lose their reader.

use std::process::{Command, Stdio};

use super::bench::{Bench, Ended, Held, ROUNDS, run, spinning, text};
use super::support::skip;

#[test]
fn an_output_that_cannot_be_opened_is_found_before_the_command_runs() {
    for (output, parts) in [
        (
            "missing/out.svg",
            &["write missing/out.svg", "mkdir -p missing"][..],
        ),
        ("folded:.", &["write .: it is a directory", "perfd.folded"]),
        (
            "folded:/",
            &["write /: it is a directory", "-o /perfd.folded"],
        ),
        (
            "unix:nobody.sock",
            &["nobody.sock: there is no such socket", "socat"],
        ),
        ("folded:/dev/no-such/device", &["mkdir -p /dev/no-such"]),
    ] {
        let bench = Bench::new();
        let args = [
            "record",
            "-o",
            "good.folded",
            "-o",
            output,
            "--",
            "touch",
            "marker",
        ];
        run(&mut bench.perfd(&args)).refuses(73, parts);
        assert!(bench.files().is_empty(), "{output}: {:?}", bench.files());
    }
}

#[test]
fn an_output_that_may_not_be_written_is_found_before_the_command_runs() {
    let bench = Bench::new();
    for path in ["/perfd-of-nobody.folded", "/etc/passwd"] {
        let output = format!("folded:{path}");
        let args = [
            "record",
            "-e",
            "cpu-clock:u",
            "-o",
            &output,
            "--",
            "touch",
            "marker",
        ];
        let Some(mut perfd) = bench.stranger(&[], &args) else {
            return;
        };
        let cause = format!("write {path}: permission denied");
        run(&mut perfd).refuses(77, &[&cause, "try: a path"]);
        assert!(bench.files().is_empty(), "{:?}", bench.files());
    }
}

#[test]
fn a_profile_that_its_place_does_not_take_is_written_elsewhere() {
    let program = spinning();
    for output in ["/dev/full", "svg:/dev/full", "json:/dev/full"] {
        let bench = Bench::new();
        let args = [
            "record",
            "-e",
            "cpu-clock",
            "-o",
            output,
            "-o",
            "good.folded",
        ];
        let args = [&args[..], &["--", text(program.path()), ROUNDS]].concat();
        let ended = run(&mut bench.perfd(&args));
        ended.says(
            74,
            &[
                "perfd: write /dev/full: No space left",
                "profile  good.folded",
            ],
        );
        assert!(!ended.stderr.contains("profile  /dev/full"), "{ended:#?}");
        let rescued = bench.files();
        assert_eq!(rescued.len(), 2, "{rescued:?}");
        let place = format!("the profile is in {}", text(&bench.file(&rescued[1])));
        ended.says(74, &[&place]);
        let mark = if output.starts_with("json") {
            "cpu-clock"
        } else {
            "spin"
        };
        assert!(bench.read(&rescued[1]).contains(mark), "{rescued:?}");
        assert!(bench.read("good.folded").contains("spin"));
    }
}

#[test]
fn a_failed_standard_output_loses_nothing() {
    let program = spinning();
    let bench = Bench::new();
    let full = std::fs::File::options().write(true).open("/dev/full");
    let full = full.expect("every Linux has it");
    let args = [
        "record",
        "-e",
        "cpu-clock",
        "-o",
        "-",
        "--",
        text(program.path()),
        ROUNDS,
    ];
    let ended = run(bench.perfd(&args).stdout(full));
    ended.says(
        74,
        &["standard output: No space left", "perfd-rescued.folded"],
    );
    assert!(bench.read("perfd-rescued.folded").contains(";spin"));
}

#[test]
fn windows_before_a_disk_is_full_stay_and_those_after_it_go_elsewhere() {
    let program = spinning();
    let bench = Bench::new();
    std::fs::create_dir(bench.file("small")).expect("made");
    // Room for the first windows alone; a run of perfd that fills it; what is there before the mount is gone.
    let script = "mount -t tmpfs -o size=64k perfd-test small || exit 125
        cat /dev/zero > small/filled 2>/dev/null; truncate -s -8192 small/filled
        \"$@\"; code=$?
        cp small/out.jsonl kept.jsonl; exit $code";
    let starter = ["unshare", "-m", "sh", "-c", script, "sh"];
    let args = [
        "record",
        "-e",
        "cpu-clock",
        "--interval",
        "5ms",
        "-o",
        "small/out.jsonl",
    ];
    let args = [&args[..], &["--", text(program.path()), ROUNDS]].concat();
    let ended = run(&mut bench.through(&starter, &args));
    if !bench.file("kept.jsonl").exists() {
        return skip("a mount of one's own needs root");
    }
    ended.says(
        74,
        &[
            "perfd: write small/out.jsonl: No space left",
            "perfd-rescued.jsonl",
        ],
    );
    let (kept, rescued) = (bench.read("kept.jsonl"), bench.read("perfd-rescued.jsonl"));
    assert!(!kept.is_empty() && !rescued.is_empty());
    let mut sequence = 0;
    for line in kept.lines().chain(rescued.lines()) {
        let line: serde_json::Value = serde_json::from_str(line).expect("whole lines");
        if line["type"] == "window" {
            assert_eq!(line["sequence"], sequence);
            sequence += 1;
        } else {
            assert_eq!(
                (&line["type"], &line["windows"]),
                (&"end".into(), &sequence.into())
            );
        }
    }
}

#[test]
fn a_reader_that_has_enough_ends_the_run_quietly() {
    let program = spinning();
    let target = Held::start(&mut Command::new(program.path()));
    let bench = Bench::new();
    let pid = target.pid();
    let args = [
        "attach",
        "-q",
        "-e",
        "cpu-clock",
        "--interval",
        "10ms",
        &pid,
    ];
    let mut perfd = bench.perfd(&args);
    let mut perfd = Held::start(perfd.stdout(Stdio::piped()).stderr(Stdio::piped()));
    assert!(perfd.line().starts_with("program;"));
    drop(perfd.0.stdout.take());
    ends_quietly(perfd);
}

#[test]
fn a_standard_output_that_nobody_reads_ends_the_run_quietly() {
    let program = spinning();
    let target = Held::start(&mut Command::new(program.path()));
    let bench = Bench::new();
    let pid = target.pid();
    let args = [
        "attach",
        "-q",
        "-e",
        "cpu-clock",
        "--interval",
        "10ms",
        &pid,
    ];
    let mut perfd = bench.perfd(&args);
    let mut perfd = Held::start(perfd.stdout(Stdio::piped()).stderr(Stdio::piped()));
    drop(perfd.0.stdout.take());
    ends_quietly(perfd);
}

fn ends_quietly(mut perfd: Held) {
    let mut said = String::new();
    let mut stderr = perfd.0.stderr.take().expect("piped");
    std::io::Read::read_to_string(&mut stderr, &mut said).expect("text");
    assert_eq!(perfd.0.wait().expect("it ends").code(), Some(0), "{said}");
    assert_eq!(said, "");
}

#[test]
fn descriptors_that_are_closed_from_the_start_are_not_taken_for_others() {
    let program = spinning();
    let bench = Bench::new();
    let starter = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    let args = ["record", "-e", "cpu-clock", "-o", "out.folded", "-o", "-"];
    let args = [&args[..], &["--", text(program.path()), ROUNDS]].concat();
    let ended: Ended = run(&mut bench.through(&starter, &args));
    ended.says(0, &[]);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    let stacks = bench.read("out.folded");
    assert!(
        stacks.lines().all(|line| line.starts_with("program;")),
        "{stacks}"
    );
}
