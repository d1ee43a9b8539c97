//! Targets of users: what they may see, and what becomes of processes that are not theirs any more.

use perfd::model::{FaultClass, LossReason};
use perfd::session::Backend;
use perfd::session::engine::{Authority, TargetEnd};

use crate::held::{Held, process, spec};
use crate::support::skip;
use crate::targets::on_each_backend;
use crate::worker::{Worker, other_program};

/// A user that owns nothing.
const UID: u32 = 65534;
const GID: u32 = 65534;

const USER: Authority = Authority::User {
    uid: UID,
    gid: GID,
    kernel: true,
};

/// Only root can start processes of other users.
fn is_root() -> bool {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root {
        skip("processes of other users need root");
    }
    is_root
}

#[test]
fn a_user_may_profile_his_own_processes_and_no_others() {
    if !is_root() {
        return;
    }
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let (mut own, roots) = (Worker::of_user(UID, GID), Worker::start());
        let target = held.ask(process(&own), USER).expect("his own");
        let fault = held.ask(process(&roots), USER).expect_err("root's");
        assert_eq!(fault.class, FaultClass::Permission);
        own.spin(150);
        assert!(held.detach(target).of(own.pid()) > 40);
        held.finish();
    });
}

#[test]
fn a_process_that_becomes_a_program_with_other_rights_is_not_its_users_any_more() {
    if !is_root() {
        return;
    }
    // Setuid root; and one that its user may execute but not read, whose memory he must not see.
    for mode in [0o4755, 0o711] {
        let elevated = other_program("elevated", mode);
        on_each_backend(|backend| {
            let mut held = Held::start(spec(backend));
            let mut worker = Worker::of_user(UID, GID);
            let users = held.ask(process(&worker), USER).expect("his own");
            let roots = held.attach(&worker);
            worker.spin(100);
            worker.exec(&elevated);
            worker.spin(200);
            assert_eq!(held.wait_for_end(users), TargetEnd::Elevated);
            let seen = held.take(users);
            assert!(seen.through("busy") > 20, "{mode:o}");
            assert_eq!(seen.through("elevated"), 0, "{mode:o}");
            let all = held.detach(roots);
            assert!(all.through("elevated") > 40, "{mode:o}");
            assert!(all.through("busy") >= seen.through("busy"));
            held.finish();
        });
    }
}

#[test]
fn a_process_that_becomes_another_program_of_its_user_is_his_still() {
    if !is_root() {
        return;
    }
    let again = other_program("again", 0o755);
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let mut worker = Worker::of_user(UID, GID);
        let target = held.ask(process(&worker), USER).expect("his own");
        worker.spin(50);
        worker.exec(&again);
        worker.spin(150);
        let windows = held.detach(target);
        assert!(
            windows.through("again") > 40,
            "{}",
            windows.through("again")
        );
        assert!(windows.lost(LossReason::Foreign) == 0);
        held.finish();
    });
}

#[test]
fn a_child_that_becomes_a_program_with_other_rights_leaves_its_parents_target() {
    if !is_root() {
        return;
    }
    let elevated = other_program("elevated", 0o4755);
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let mut worker = Worker::of_user(UID, GID);
        let target = held.ask(process(&worker), USER).expect("his own");
        worker.tell("fork");
        worker.spin(100);
        worker.exec(&elevated);
        worker.spin(150);
        // The parent waits for its child, and is in the target still.
        let windows = held.detach(target);
        assert!(windows.through("busy") > 20);
        assert_eq!(windows.through("elevated"), 0);
        held.finish();
    });
}

#[test]
fn samples_in_kernel_mode_are_for_those_who_may_see_them() {
    if !is_root() {
        return;
    }
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let mut worker = Worker::of_user(UID, GID);
        let user = Authority::User {
            uid: UID,
            gid: GID,
            kernel: false,
        };
        let users = held.ask(process(&worker), user).expect("his own");
        assert_eq!(worker.tell("kernel 150"), "done");
        let alone = held.cut(users);
        let roots = held.attach(&worker);
        assert_eq!(worker.tell("kernel 150"), "done");
        worker.spin(100);
        let (of_user, of_root) = (held.detach(users), held.detach(roots));
        assert_eq!(alone.in_kernel() + of_user.in_kernel(), 0);
        assert!(alone.lost(LossReason::KernelMode) > 40);
        assert!(of_root.in_kernel() > 40);
        assert!(of_user.lost(LossReason::KernelMode) > 40);
        assert!(of_user.through("busy") > 20);
        held.finish();
    });
}

#[test]
fn an_engine_without_targets_has_an_account_that_adds_up() {
    let held = Held::start(spec(Backend::Auto));
    assert_eq!(held.finish().ledger.events[0].delivered, 0);
}
