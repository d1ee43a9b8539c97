//! Counts of cgroups: exact, of what runs in them alone.

use std::process::{Command, Stdio};

use perfd::model::Modes;
use perfd::procfs::SysRoots;
use perfd::sampler::counters::{Children, Counters, Plan, Request, Scope};

use crate::bench::cpus;
use crate::support::calls::CALLS;
use crate::support::{Program, compile_c, skip};
use crate::tree::{Made, cgroups};

/// Calls of `probed` by a program that was told this number.
const N: u64 = 500;
const CALLS_IN_ALL: u64 = 8 * N;

fn calls(mut command: Command) {
    let status = command.arg(N.to_string()).status();
    assert!(status.expect("the program runs").success());
}

/// Counters of calls of `probed`.
fn counters_of(program: &Program) -> Counters {
    let event = format!("mem:{:#x}:x:u", program.address_of("probed"));
    let request = Request::Explicit(vec![event.parse().expect("an event")]);
    let plan = Plan::make(&SysRoots::default(), &request, Scope::Host(cpus()[0]));
    Counters::new(plan.expect("breakpoints are everywhere"), Children::Counted)
}

#[test]
fn every_call_in_a_cgroup_and_below_it_is_counted_and_no_other() {
    let Some(cgroups) = cgroups() else {
        return;
    };
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    let outer = Made::new(&cgroups);
    let inner = outer.inner("inner");
    let mut of_each = [&outer, &inner].map(|made| {
        let mut counters = counters_of(&program);
        let (cgroup, directory) = made.open();
        let added = counters.add_cgroup(cgroup.id, &directory, "made", &cpus());
        added.expect("root may");
        counters.enable().expect("enabled");
        counters
    });
    calls(outer.command(program.path()));
    calls(inner.command(program.path()));
    calls(Command::new(program.path()));
    let counted = of_each.each_mut().map(|counters| {
        let counts = counters.read().expect("readable");
        assert_eq!((counts.len(), counts[0].pid), (1, None));
        let count = &counts[0].counts[0];
        assert_eq!(count.event.modes, Modes::USER);
        count.value
    });
    assert_eq!(counted, [2 * CALLS_IN_ALL, CALLS_IN_ALL]);
    // Closed, they count no more, and the rest goes on.
    let [of_outer, _] = &mut of_each;
    of_outer.remove_cgroup(outer.open().0.id);
    assert!(of_outer.read().expect("readable").is_empty());
}

#[test]
fn perf_stat_counts_the_same() {
    let Some(cgroups) = cgroups() else {
        return;
    };
    if Command::new("perf").arg("--version").output().is_err() {
        return skip("perf is not installed");
    }
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    let made = Made::new(&cgroups);
    let mut counters = counters_of(&program);
    let (cgroup, directory) = made.open();
    let added = counters.add_cgroup(cgroup.id, &directory, "made", &cpus());
    added.expect("root may");
    counters.enable().expect("enabled");
    let event = format!("mem:{:#x}:x:u", program.address_of("probed"));
    let command = made.command(program.path());
    let output = Command::new("perf")
        .args(["stat", "-x,", "-a", "-e", &event, "-G"])
        .arg(&made.path)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        .arg(N.to_string())
        .stdout(Stdio::null())
        .output()
        .expect("perf runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let by_perf = said
        .lines()
        .find_map(|line| line.split_once(',')?.0.parse::<u64>().ok());
    let ours = counters.read().expect("readable")[0].counts[0].value;
    assert_eq!((Some(ours), ours), (by_perf, CALLS_IN_ALL), "{said}");
}

#[test]
fn what_is_no_cgroup_is_refused_with_the_reason() {
    let Some(cgroups) = cgroups() else {
        return;
    };
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    let mut counters = counters_of(&program);
    let folder = std::fs::File::open("/").expect("readable");
    let (cgroup, _) = Made::new(&cgroups).open();
    let error = counters
        .add_cgroup(cgroup.id, &folder, "none", &cpus())
        .expect_err("no cgroup");
    let fault = error.fault(None);
    assert!(
        error
            .to_string()
            .contains("no events in this tree of cgroups"),
        "{error}"
    );
    assert!(
        fault
            .hints
            .iter()
            .any(|hint| hint.contains("CONFIG_CGROUP_PERF")),
        "{fault:?}"
    );
    assert!(counters.read().expect("readable").is_empty());
}
