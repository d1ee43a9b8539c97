//! Domains in the kernel: the deepest that a sample's thread is in at that moment, for processes that nobody has told perfd of.

use std::process::Command;

use perfd::model::{DomainId, Pid};
use perfd::sys;

use crate::bench::{Bench, Seen};
use crate::support::compile_c;
use crate::tree::{Made, Running, SPINS, cgroups_and_bpf};

/// Samples to wait for.
const ENOUGH: usize = 20;

fn of(seen: &[Seen], pid: Pid) -> impl Iterator<Item = &Seen> {
    seen.iter().filter(move |sample| sample.pid == pid)
}

/// Whether so many samples of a process were counted in the kernel.
fn is_enough(seen: &[Seen], pid: Pid) -> bool {
    of(seen, pid).filter(|sample| sample.in_kernel).count() >= ENOUGH
}

#[test]
fn samples_are_of_the_deepest_domain_and_others_are_left_out() {
    let Some(cgroups) = cgroups_and_bpf() else {
        return;
    };
    let program = compile_c(SPINS, &["-O1"]);
    let outer = Made::new(&cgroups);
    let inner = outer.inner("inner");
    // No domain, but in one.
    let below = inner.inner("below");
    let elsewhere = Made::new(&cgroups);
    let mut bench = Bench::with_bpf(&cgroups);
    let (of_outer, of_inner) = (bench.add_domain(&outer), bench.add_domain(&inner));
    assert_eq!(bench.domains.around(of_inner), [of_inner, of_outer]);
    let start = |made: &Made<'_>| Running::start(made.command(program.path()));
    let in_outer = start(&outer);
    let in_below = start(&below);
    let in_elsewhere = start(&elsewhere);
    let foreign = Running::start(Command::new(program.path()));
    bench.until(|seen| {
        let pids = [in_outer.pid(), in_below.pid()];
        pids.iter().all(|pid| is_enough(seen, *pid))
    });
    let all_of = |pid, domain: DomainId| {
        // Before it was told to run there, it was the shell that has moved itself.
        let mut samples = of(&bench.seen, pid).filter(|sample| sample.domain.is_some());
        assert!(
            samples.all(|sample| sample.domain == Some(domain)),
            "{:?}",
            bench.seen
        );
    };
    all_of(in_outer.pid(), of_outer);
    all_of(in_below.pid(), of_inner);
    for pid in [in_elsewhere.pid(), foreign.pid()] {
        assert_eq!(of(&bench.seen, pid).count(), 0, "{:?}", bench.seen);
    }
    let outcomes = bench
        .sampling
        .outcomes()
        .expect("readable")
        .expect("with BPF");
    assert!(outcomes[0].foreign > 0, "{outcomes:?}");
}

#[test]
fn a_process_that_moves_between_two_samples_changes_its_domain() {
    let Some(cgroups) = cgroups_and_bpf() else {
        return;
    };
    let program = compile_c(SPINS, &["-O1"]);
    let (first, second, outside) = (
        Made::new(&cgroups),
        Made::new(&cgroups),
        Made::new(&cgroups),
    );
    let mut bench = Bench::with_bpf(&cgroups);
    let domains = [&first, &second].map(|made| bench.add_domain(made));
    let spins = Running::start(first.command(program.path()));
    let pid = spins.pid();
    let began = sys::now();
    bench.until(|seen| is_enough(seen, pid));
    let leaves = sys::now();
    second.take(pid);
    let is_second = sys::now();
    bench.until(|seen| {
        let later: Vec<Seen> = seen
            .iter()
            .filter(|s| s.time > is_second)
            .copied()
            .collect();
        is_enough(&later, pid)
    });
    let leaves_all = sys::now();
    outside.take(pid);
    let is_outside = sys::now();
    // It is known, so that its samples come all the same: of no domain.
    bench.until(|seen| {
        let later: Vec<Seen> = seen
            .iter()
            .filter(|s| s.time > is_outside)
            .copied()
            .collect();
        is_enough(&later, pid)
    });
    for sample in of(&bench.seen, pid) {
        let expected = match sample.time {
            time if time < began => continue,
            time if time < leaves => Some(domains[0]),
            time if time < is_second => continue,
            time if time < leaves_all => Some(domains[1]),
            time if time < is_outside => continue,
            _ => None,
        };
        // What came through the ring says it by its cgroup.
        assert_eq!(sample.domain, expected, "{sample:?}");
    }
}

/// At a byte of standard input it makes a child that spins.
const FORKS: &str = r#"
#include <unistd.h>

int main(void) {
    char byte;
    if (write(1, "x", 1) != 1) return 1;
    if (read(0, &byte, 1) != 1) return 1;
    if (fork() == 0)
        for (;;) {}
    for (;;) pause();
}
"#;

#[test]
fn a_process_that_nobody_was_told_of_is_found_by_its_first_sample() {
    let Some(cgroups) = cgroups_and_bpf() else {
        return;
    };
    let program = compile_c(FORKS, &["-O1"]);
    let made = Made::new(&cgroups);
    let mut command = made.command(program.path());
    command.stdin(std::process::Stdio::piped());
    // It waits, and so do its samples: there are none.
    let mut parent = Running::start(command);
    let mut bench = Bench::with_bpf(&cgroups);
    let domain = bench.add_domain(&made);
    bench.take();
    parent.go_on();
    let parent_pid = parent.pid();
    let is_child = |sample: &&Seen| sample.pid != parent_pid && sample.domain == Some(domain);
    bench.until(|seen| seen.iter().filter(is_child).filter(|s| s.in_kernel).count() >= ENOUGH);
    let child = *bench.seen.iter().find(is_child).expect("seen above");
    assert!(!child.in_kernel, "the first goes to the ring: {child:?}");
    assert!(of(&bench.seen, child.pid).all(|sample| sample.domain == Some(domain)));
}

#[test]
fn a_removed_domain_has_no_samples_any_more_and_its_number_is_not_given_again_at_once() {
    let Some(cgroups) = cgroups_and_bpf() else {
        return;
    };
    let program = compile_c(SPINS, &["-O1"]);
    let (made, other) = (Made::new(&cgroups), Made::new(&cgroups));
    let mut bench = Bench::with_bpf(&cgroups);
    let domain = bench.add_domain(&made);
    assert_eq!(bench.add_domain(&made), domain, "it is the same");
    let spins = Running::start(made.command(program.path()));
    bench.until(|seen| is_enough(seen, spins.pid()));
    let walk = bench.sampling.kernel_walk_mut().expect("with BPF");
    walk.remove_domain(domain).expect("the map is ours");
    let removed = sys::now();
    assert_ne!(bench.add_domain(&other), domain);
    bench.until(|seen| {
        let later: Vec<Seen> = seen.iter().filter(|s| s.time > removed).copied().collect();
        is_enough(&later, spins.pid())
    });
    let mut later = of(&bench.seen, spins.pid()).filter(|sample| sample.time > removed);
    assert!(later.all(|sample| !sample.in_kernel || sample.domain.is_none()));
}
