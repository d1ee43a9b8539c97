//! Numbers of processes that are used again, at once, by other programs of other users: none of their samples is a target's.

use std::path::PathBuf;

use perfd::model::FaultClass;
use perfd::session::engine::{Authority, TargetEnd};

use crate::held::{Held, Windows, process, spec};
use crate::support::{Program, copy_program, skip};
use crate::targets::on_each_backend;
use crate::worker::{Worker, other_program};

/// On each backend, numbers of children of a target, and of targets themselves: 1000 together.
const CHILDREN: usize = 450;
const TARGETS: usize = 50;

/// How often a number is taken between its process's end and the attempt to attach to it.
const RACES: usize = 20;

struct Impostors {
    _program: Program,
    path: PathBuf,
    /// Is in no target.
    parent: Worker,
}

impl Impostors {
    /// Skipped where numbers cannot be chosen.
    fn new() -> Option<Impostors> {
        let may_choose = nix::unistd::geteuid().is_root()
            && std::fs::OpenOptions::new()
                .write(true)
                .open("/proc/sys/kernel/ns_last_pid")
                .is_ok();
        if !may_choose {
            skip("the number of the next process cannot be chosen");
            return None;
        }
        let program = other_program("impostor", 0o755);
        let path = program.folder().join("impostor");
        copy_program(program.path(), &path);
        Some(Impostors {
            _program: program,
            path,
            parent: Worker::start(),
        })
    }

    /// Whether the number could be had: whatever else runs here may be faster.
    fn take(&mut self, how: &str, pid: &str) -> bool {
        let path = self.path.display();
        match self.parent.tell(&format!("{how} {pid} {path}")).as_str() {
            "it is" => true,
            "it is not" => false,
            other => panic!("{other}"),
        }
    }
}

fn assert_is_none_of_theirs(windows: &Windows) {
    assert_eq!(windows.through("impostor"), 0);
    assert_eq!(windows.of_comm("impostor"), 0);
}

#[test]
fn of_a_thousand_numbers_that_are_used_again_no_sample_is_a_targets() {
    on_each_backend(|backend| {
        let Some(mut impostors) = Impostors::new() else {
            return;
        };
        let mut held = Held::start(spec(backend));
        let mut parent = Worker::start();
        let target = held.attach(&parent);
        let mut n_taken = 0;
        while n_taken < CHILDREN {
            let child = parent.tell("child");
            n_taken += usize::from(impostors.take("impostor", &child));
        }
        let windows = held.detach(target);
        assert!(windows.through("turn") > 50, "{}", windows.through("turn"));
        assert_is_none_of_theirs(&windows);
        let mut n_taken = 0;
        while n_taken < TARGETS {
            let mut worker = Worker::start();
            let pid = worker.pid().to_string();
            let target = held.attach(&worker);
            worker.spin(2);
            worker.end();
            n_taken += usize::from(impostors.take("impostor", &pid));
            assert_eq!(held.wait_for_end(target), TargetEnd::Exited);
            assert_is_none_of_theirs(&held.take(target));
        }
        held.finish();
    });
}

#[test]
fn a_number_that_another_process_has_by_now_is_not_attached_to() {
    on_each_backend(|backend| {
        let Some(mut impostors) = Impostors::new() else {
            return;
        };
        let mut held = Held::start(spec(backend));
        let mut n_taken = 0;
        while n_taken < RACES {
            let mut worker = Worker::start();
            let pid = worker.pid().to_string();
            // Who may was found out by this descriptor.
            let member = process(&worker);
            worker.end();
            if !impostors.take("squatter", &pid) {
                continue;
            }
            n_taken += 1;
            let fault = held
                .ask(member, Authority::Everything)
                .expect_err("another's");
            assert_eq!(fault.class, FaultClass::NoSuchTarget);
            impostors.parent.tell("release");
        }
        assert_eq!(held.finish().ledger.events[0].delivered, 0);
    });
}
