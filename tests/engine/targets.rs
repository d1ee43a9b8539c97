//! Targets that come, overlap, fork, end and go.

use perfd::session::Backend;
use perfd::session::engine::{Authority, EngineSpec, Limits, Member, TargetEnd};

use crate::held::{Held, Windows, process, spec};
use crate::support::{backend_forbidden, skip};
use crate::worker::Worker;

/// Both ways of walking stacks, as far as this machine has them.
pub fn on_each_backend(test: impl Fn(Backend)) {
    for (backend, name) in [(Backend::Bpf, "bpf"), (Backend::Perf, "perf")] {
        match backend_forbidden(name) {
            Some(reason) => skip(&reason),
            None => test(backend),
        }
    }
}

#[test]
fn two_targets_have_windows_of_their_own_and_one_goes_on_when_the_other_is_gone() {
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let (mut first, mut second) = (Worker::start(), Worker::start());
        let (a, b) = (held.attach(&first), held.attach(&second));
        first.spin(200);
        second.spin(200);
        for (target, own) in [(a, first.pid()), (b, second.pid())] {
            let windows = held.cut(target);
            assert!(windows.of(own) > 50, "{}", windows.of(own));
            assert_eq!(windows.all(), windows.of(own));
            assert!(windows.through("busy") * 10 > windows.all() * 9);
        }
        first.spin(100);
        assert!(held.detach(a).of(first.pid()) > 20);
        first.spin(100);
        second.spin(100);
        assert!(held.cut(b).of(second.pid()) > 20);
        let rest = held.detach(b);
        assert_eq!(rest.of(first.pid()), 0);
        let stats = held.finish();
        assert!(stats.ledger.events[0].delivered > 300);
    });
}

#[test]
fn what_is_sampled_behind_the_moment_of_a_cut_is_in_no_window_before_it() {
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let (mut worker, mut other) = (Worker::start(), Worker::start());
        let (target, beside) = (held.attach(&worker), held.attach(&other));
        // Nobody waits for the windows in between: each piece of work is between two moments.
        let mut moments = vec![0];
        for _ in 0..5 {
            worker.spin(50);
            moments.push(held.begin_cut(target));
            other.spin(20);
        }
        let windows = held.detach(target);
        assert_eq!(windows.0.len(), 6);
        for (at, window) in windows.0.iter().enumerate() {
            assert_eq!(window.span.sequence, moments[at]);
            let before = at.checked_sub(1).map(|at| windows.0[at].span.end);
            assert!(before.is_none_or(|end| end == window.span.start));
            let samples = Windows(vec![window.clone()]).through("busy");
            match at {
                5 => assert_eq!(samples, 0),
                _ => assert!(samples > 10, "{samples} in window {at}"),
            }
        }
        assert!(held.detach(beside).of(other.pid()) > 20);
        held.finish();
    });
}

#[test]
fn a_process_that_is_in_two_targets_counts_for_both() {
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let mut worker = Worker::start();
        let a = held.attach(&worker);
        worker.spin(50);
        let b = held.attach(&worker);
        let before = held.cut(a).all();
        assert!(before > 10);
        worker.spin(200);
        // What is sampled between the two cuts counts for the other one alone; the worker waits.
        let of_a = held.cut(a);
        let of_b = held.cut(b);
        assert_eq!(of_a.through("busy"), of_b.through("busy"));
        assert!(of_a.through("busy") > 50);
        held.detach(a);
        worker.spin(100);
        assert!(held.detach(b).through("busy") > 20);
        held.finish();
    });
}

#[test]
fn a_target_may_get_more_processes_and_ends_with_the_last_of_them() {
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let (mut first, mut second) = (Worker::start(), Worker::start());
        let target = held.attach(&first);
        held.attach_another(target, &second);
        first.spin(100);
        second.spin(100);
        let windows = held.cut(target);
        for worker in [&first, &second] {
            assert!(windows.of(worker.pid()) > 20);
        }
        first.end();
        second.spin(100);
        assert!(held.cut(target).of(second.pid()) > 20);
        second.end();
        assert_eq!(held.wait_for_end(target), TargetEnd::Exited);
        held.finish();
    });
}

#[test]
fn what_a_target_forks_is_in_it_and_it_ends_with_the_last_of_them() {
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let mut worker = Worker::start();
        let target = held.attach(&worker);
        let child = perfd::model::Pid(worker.tell("fork").parse().unwrap());
        worker.spin(150);
        let windows = held.cut(target);
        assert!(windows.of(child) > 40, "{}", windows.of(child));
        worker.end();
        assert_eq!(held.wait_for_end(target), TargetEnd::Exited);
        held.finish();
    });
}

#[test]
fn descendants_are_taken_in_where_that_is_asked_for() {
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let mut worker = Worker::start();
        let child = perfd::model::Pid(worker.tell("fork").parse().unwrap());
        let member = |with_tree| Member::Process {
            pid: worker.pid(),
            pidfd: worker.pidfd(),
            with_tree,
        };
        let alone = held.ask(member(false), Authority::Everything).unwrap();
        let tree = held.ask(member(true), Authority::Everything).unwrap();
        worker.spin(150);
        assert!(held.detach(tree).of(child) > 40);
        assert_eq!(held.detach(alone).of(child), 0);
        held.finish();
    });
}

#[test]
fn a_process_that_is_gone_is_refused() {
    let Some(mut held) = Some(Held::start(spec(Backend::Auto))) else {
        return;
    };
    let mut worker = Worker::start();
    let member = process(&worker);
    worker.end();
    let fault = held.ask(member, Authority::Everything).unwrap_err();
    assert_eq!(fault.class, perfd::model::FaultClass::NoSuchTarget);
    held.finish();
}

#[test]
fn the_host_is_a_target_that_everybody_is_in() {
    on_each_backend(|backend| {
        // Whose samples they are is asked, and no name: those of all that runs here would take minutes.
        let limits = Limits {
            stack_frames: 1,
            ..Limits::default()
        };
        let mut held = Held::start(EngineSpec {
            limits,
            ..spec(backend)
        });
        let (mut first, mut second) = (Worker::start(), Worker::start());
        let a = held.attach(&first);
        first.spin(50);
        let host = held.ask(Member::Host, Authority::Everything).unwrap();
        first.spin(150);
        second.spin(150);
        let of_host = held.detach(host);
        assert!(of_host.of(first.pid()) > 40);
        assert!(of_host.of(second.pid()) > 40);
        let of_a = held.cut(a);
        assert!(of_a.of(first.pid()) > of_host.of(first.pid()));
        assert_eq!(of_a.of(second.pid()), 0);
        second.spin(50);
        first.spin(50);
        let of_a = held.detach(a);
        assert!(of_a.of(first.pid()) > 10);
        assert_eq!(of_a.of(second.pid()), 0);
        held.finish();
    });
}
