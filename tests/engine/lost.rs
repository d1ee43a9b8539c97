//! Rings that are too small for what happens: records are lost, and nothing is believed that they would have contradicted.

use perfd::session::Backend;
use perfd::session::engine::{Authority, EngineSpec, EngineStats, TargetEnd};

use crate::held::{Held, process, spec};
use crate::support::skip;
use crate::targets::on_each_backend;
use crate::worker::{Worker, other_program};

/// A user that owns nothing.
const UID: u32 = 65534;

fn narrow(backend: Backend) -> EngineSpec {
    EngineSpec {
        ring_pages: Some(1),
        ..spec(backend)
    }
}

fn assert_records_were_lost(stats: &EngineStats) {
    assert!(stats.ledger.side_band_lost > 0, "{:?}", stats.ledger);
}

#[test]
fn a_storm_that_no_ring_holds_adds_up_and_its_target_ends() {
    on_each_backend(|backend| {
        let mut held = Held::start(narrow(backend));
        let mut worker = Worker::start();
        let target = held.attach(&worker);
        assert_eq!(worker.tell("hurry 5000"), "done");
        worker.spin(50);
        held.cut(target);
        worker.end();
        assert_eq!(held.wait_for_end(target), TargetEnd::Exited);
        assert_records_were_lost(&held.finish());
    });
}

#[test]
fn a_process_whose_first_thread_has_ended_is_not_believed_to_be_gone() {
    on_each_backend(|backend| {
        let mut held = Held::start(narrow(backend));
        let mut worker = Worker::start();
        let target = held.attach(&worker);
        worker.tell("second");
        worker.tell("hurry 5000");
        // Everybody is looked at when that is noticed, and when whom records lack is looked for.
        for _ in 0..3 {
            worker.spin(500);
            held.cut(target);
        }
        worker.spin(100);
        let windows = held.detach(target);
        // Copies of stacks have no room in such rings.
        if backend == Backend::Bpf {
            assert!(windows.through("busy") > 20, "{}", windows.through("busy"));
        }
        assert_records_were_lost(&held.finish());
    });
}

#[test]
fn a_process_whose_exec_nobody_has_heard_of_is_not_believed_to_be_its_users() {
    if !nix::unistd::geteuid().is_root() {
        return skip("processes of other users need root");
    }
    let elevated = other_program("elevated", 0o4755);
    on_each_backend(|backend| {
        let mut held = Held::start(narrow(backend));
        let mut worker = Worker::of_user(UID, UID);
        let user = Authority::User {
            uid: UID,
            gid: UID,
            kernel: true,
        };
        let users = held.ask(process(&worker), user).expect("his own");
        worker.spin(30);
        // While the rings overflow it becomes another program.
        worker.tell("hurry 5000");
        worker.exec(&elevated);
        worker.spin(100);
        assert_eq!(held.wait_for_end(users), TargetEnd::Elevated);
        assert_eq!(held.take(users).through("elevated"), 0);
        assert_records_were_lost(&held.finish());
    });
}
