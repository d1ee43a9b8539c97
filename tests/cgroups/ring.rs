//! Sampling events of cgroups, for hosts without BPF.

use std::collections::BTreeSet;
use std::process::Command;

use perfd::model::{DomainId, Hz, Pid, Rate};
use perfd::sampler::Reach;
use perfd::sys::Start;

use crate::bench::{Bench, Seen};
use crate::support::calls::CALLS;
use crate::support::compile_c;
use crate::tree::{Made, Running, SPINS, cgroups};

/// Samples to wait for.
const ENOUGH: usize = 20;

fn open(bench: &mut Bench, made: &Made<'_>, domain: DomainId) {
    let (cgroup, directory) = made.open();
    let opened = bench
        .sampling
        .open_cgroup(domain, cgroup.id, &directory, Start::Enabled);
    opened.expect("root may");
    bench.domains.add(domain, cgroup.id, &made.path);
}

#[test]
fn samples_of_a_cgroups_events_carry_its_domain_until_they_are_closed() {
    let Some(cgroups) = cgroups() else {
        return;
    };
    let program = compile_c(SPINS, &["-O1"]);
    let outer = Made::new(&cgroups);
    let inner = outer.inner("inner");
    let rate = Rate::Frequency(Hz(997));
    let mut bench = Bench::of_event(&cgroups, "cpu-clock:u", rate, Reach::Cpus);
    let (of_outer, of_inner) = (DomainId(1), DomainId(2));
    open(&mut bench, &outer, of_outer);
    open(&mut bench, &inner, of_inner);
    let spins = Running::start(inner.command(program.path()));
    let foreign = Running::start(Command::new(program.path()));
    let n = |seen: &[Seen], domain| {
        let is_it = |sample: &&Seen| sample.pid == spins.pid() && sample.domain == Some(domain);
        seen.iter().filter(is_it).count()
    };
    // Each event samples for its own: a process in both is sampled by both.
    bench.until(|seen| n(seen, of_outer) >= ENOUGH && n(seen, of_inner) >= ENOUGH);
    assert!(bench.seen.iter().all(|sample| sample.pid != foreign.pid()));
    assert!(
        bench.told.contains(&spins.pid()),
        "its exec has mapped code"
    );
    assert!(!bench.told.contains(&foreign.pid()), "{:?}", bench.told);
    bench.sampling.close_cgroup(of_outer).expect("readable");
    let totals = bench.sampling.totals().expect("readable");
    assert!(totals[0].count > 0, "{totals:?}");
    // What they had sampled comes; the inner ones go on.
    let closed = perfd::sys::now();
    let is_later = |sample: &&Seen| sample.time > closed;
    bench.until(|seen| seen.iter().filter(is_later).count() >= ENOUGH);
    let later = bench.seen.iter().filter(is_later);
    let domains: BTreeSet<_> = later.map(|sample| sample.domain).collect();
    assert_eq!(domains, BTreeSet::from([Some(of_inner)]));
}

#[test]
fn every_call_in_a_cgroup_is_sampled_or_lost() {
    let Some(cgroups) = cgroups() else {
        return;
    };
    const N: u64 = 50;
    let program = compile_c(CALLS, &["-O1", "-no-pie"]);
    let made = Made::new(&cgroups);
    let event = format!("mem:{:#x}:x:u", program.address_of("probed"));
    let mut bench = Bench::of_event(&cgroups, &event, Rate::Period(1), Reach::Cpus);
    open(&mut bench, &made, DomainId(3));
    let run = |mut command: Command| {
        let mut child = command
            .arg(N.to_string())
            .spawn()
            .expect("the program runs");
        let pid = Pid(child.id());
        assert!(child.wait().expect("our child").success());
        pid
    };
    let inside = run(made.command(program.path()));
    let outside = run(Command::new(program.path()));
    let is_all = |bench: &mut Bench| {
        let totals = bench.sampling.totals().expect("readable")[0];
        bench.seen.len() as u64 + totals.lost == 8 * N
    };
    while !is_all(&mut bench) {
        bench.take();
        assert!(bench.seen.len() as u64 <= 8 * N, "{:?}", bench.seen);
    }
    let totals = bench.sampling.totals().expect("readable")[0];
    assert_eq!(totals.count, 8 * N);
    assert!(
        bench
            .seen
            .iter()
            .all(|sample| sample.domain == Some(DomainId(3)))
    );
    assert!(bench.seen.iter().any(|sample| sample.pid == inside));
    assert!(bench.seen.iter().all(|sample| sample.pid != outside));
    // Its children have forked in it: records told of them.
    let n_told: BTreeSet<Pid> = bench.told.iter().copied().collect();
    assert!(n_told.len() > 3 && !n_told.contains(&outside), "{n_told:?}");
}
