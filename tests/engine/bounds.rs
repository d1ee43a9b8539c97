//! What an engine takes: nothing that stays when its targets have gone, and no more than it may.

use std::time::Duration;

use perfd::model::FaultClass;
use perfd::procfs::SysRoots;
use perfd::session::Backend;
use perfd::session::engine::{Authority, Limits};

use crate::held::{Held, process, spec};
use crate::targets::on_each_backend;
use crate::worker::Worker;

#[test]
fn what_comes_beyond_a_limit_is_refused() {
    let limits = Limits {
        targets: 2,
        ..Limits::default()
    };
    let mut held = Held::start(perfd::session::engine::EngineSpec {
        limits,
        ..spec(Backend::Auto)
    });
    let worker = Worker::start();
    let first = held.attach(&worker);
    held.attach(&worker);
    let fault = held
        .ask(process(&worker), Authority::Everything)
        .expect_err("a third");
    assert_eq!(fault.class, FaultClass::Unavailable);
    held.detach(first);
    held.attach(&worker);
    held.finish();
}

#[test]
fn a_storm_of_forks_is_counted_and_adds_up() {
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let mut worker = Worker::start();
        let target = held.attach(&worker);
        assert_eq!(worker.tell("storm 300"), "done");
        let windows = held.detach(target);
        assert!(windows.through("turn") > 20, "{}", windows.through("turn"));
        held.finish();
    });
}

#[test]
fn stacks_beyond_the_limit_stand_in_one_bucket_and_the_table_begins_anew() {
    let limits = Limits {
        stack_frames: 4,
        ..Limits::default()
    };
    let mut held = Held::start(perfd::session::engine::EngineSpec {
        limits,
        ..spec(Backend::Auto)
    });
    let mut worker = Worker::start();
    let target = held.attach(&worker);
    worker.spin(100);
    let windows = held.cut(target);
    let full: u64 = windows
        .0
        .iter()
        .map(|profile| profile.ledger.stacks.stack_table_full)
        .sum();
    assert!(full > 20);
    assert_eq!(windows.through("[stack table full]"), full);
    held.finish();
}

#[test]
fn an_engine_goes_on_when_its_tables_are_worn_out() {
    on_each_backend(|backend| {
        let mut held = Held::start(perfd::session::engine::EngineSpec {
            limits: Limits {
                modules: 1,
                ..Limits::default()
            },
            interval: Duration::from_millis(200),
            ..spec(backend)
        });
        let mut worker = Worker::start();
        let target = held.attach(&worker);
        let mut n_busy = 0;
        // At the end of each window there are more modules than that.
        while held.engine().stats().renewals < 2 {
            worker.spin(50);
            n_busy += held.cut(target).through("busy");
        }
        assert!(n_busy > 20);
        let mut sequence = None;
        worker.spin(100);
        for profile in held.detach(target).0 {
            assert!(sequence < Some(profile.span.sequence));
            sequence = Some(profile.span.sequence);
        }
        assert!(held.finish().renewals >= 2);
    });
}

#[test]
fn an_engine_that_cannot_be_opened_refuses_its_targets_and_says_why() {
    let mut held = Held::start(perfd::session::engine::EngineSpec {
        roots: SysRoots {
            sys: "/nowhere".into(),
            ..SysRoots::default()
        },
        ..spec(Backend::Auto)
    });
    let worker = Worker::start();
    for _ in 0..2 {
        let fault = held
            .ask(process(&worker), Authority::Everything)
            .expect_err("there are no CPUs");
        assert!(fault.what.contains("CPU"), "{fault}");
    }
}
