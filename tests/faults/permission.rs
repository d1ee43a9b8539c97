//! What a user may not do: other users' processes, the kernel's part, the whole host.

use super::bench::{Bench, Held, ROUNDS, paranoid, run, spinning};
use super::support::{copy_program, skip};

#[test]
fn the_process_of_another_user_is_refused_with_whose_it_is() {
    let target = Held::idle();
    let bench = Bench::new();
    let pid = target.pid();
    for args in [
        &["attach", &pid][..],
        &["attach", "-t", &pid],
        &["attach", "-e", "page-faults:u", &pid],
        &["stat", "-p", &pid],
    ] {
        let Some(mut perfd) = bench.stranger(&[], args) else {
            return;
        };
        if paranoid() > 2 {
            return skip("kernel.perf_event_paranoid forbids all events");
        }
        let cause = format!("profile pid {pid}: permission denied");
        let owner = format!("/proc/{pid} belongs to uid 0, perfd runs as uid ");
        let ended = run(&mut perfd);
        ended.refuses(77, &[&cause, &owner, "try: sudo"]);
        // A setting that would not help is not blamed.
        assert!(!ended.stderr.contains("paranoid"), "{ended:#?}");
    }
}

#[test]
fn a_user_who_may_not_sample_the_kernel_gets_user_mode_and_is_told() {
    let program = spinning();
    let bench = Bench::new();
    copy_program(program.path(), &bench.file("spinning"));
    for events in [&[][..], &["-e", "cpu-clock"]] {
        let args = [
            &["record", "-o", "-"],
            events,
            &["--", "./spinning", ROUNDS],
        ]
        .concat();
        let Some(mut perfd) = bench.stranger(&[], &args) else {
            return;
        };
        if paranoid() != 2 {
            return skip("kernel.perf_event_paranoid is not 2");
        }
        let ended = run(&mut perfd);
        let note = "sampling the kernel is not permitted (kernel.perf_event_paranoid is 2)";
        ended.says(0, &["perfd: user mode only: ", note]);
        ended.has_stacks();
        assert!(!ended.stdout.contains("_[k]"), "{}", ended.stdout);
    }
}

#[test]
fn what_the_kernel_does_not_permit_is_refused_with_the_setting_and_its_remedy() {
    let bench = Bench::new();
    for (flags, needed) in [
        (&["-a"][..], 0),
        (&["-e", "cpu-clock:k"], 1),
        (&["-e", "context-switches"], 1),
    ] {
        for command in ["record", "stat"] {
            let args = [&[command], flags, &["--", "touch", "marker"]].concat();
            let Some(mut perfd) = bench.stranger(&[], &args) else {
                return;
            };
            let level = paranoid();
            if level <= needed {
                return skip("kernel.perf_event_paranoid permits it");
            }
            let value = format!("kernel.perf_event_paranoid is {level}");
            let remedy = format!("try: sudo sysctl kernel.perf_event_paranoid={needed}");
            run(&mut perfd).refuses(77, &["permission denied", &value, &remedy]);
            assert!(bench.files().is_empty(), "{:?}", bench.files());
        }
    }
}
