//! Targets that are cgroups: whatever runs in one at the moment of a sample is in it.

use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use perfd::procfs::SysRoots;
use perfd::procfs::cgroups::Cgroups;
use perfd::session::Backend;
use perfd::session::engine::{Authority, EngineSpec, Limits, Member, TargetEnd};

use crate::held::{Held, spec};
use crate::support::skip;
use crate::targets::on_each_backend;
use crate::worker::Worker;

/// A cgroup that is removed behind the test.
struct Made {
    mount: PathBuf,
    path: PathBuf,
}

impl Made {
    /// Skipped where there are no cgroups that this test may make.
    fn new(path: &str) -> Option<Made> {
        let mount = match Cgroups::find(&SysRoots::default()) {
            Ok(cgroups) => cgroups.mount().to_owned(),
            Err(error) => {
                skip(&error.to_string());
                return None;
            }
        };
        let made = Made {
            path: format!("perfd-engine-{}{path}", std::process::id()).into(),
            mount,
        };
        if let Err(error) = fs::create_dir_all(made.mount.join(&made.path)) {
            skip(&format!("make a cgroup: {error}"));
            return None;
        }
        Some(made)
    }

    fn take(&self, worker: &Worker) {
        let list = self.mount.join(&self.path).join("cgroup.procs");
        fs::write(list, worker.pid().to_string()).expect("moved");
    }

    fn member(&self) -> Member {
        Member::Cgroup {
            path: self.path.clone(),
            dir: File::open(self.mount.join(&self.path))
                .expect("made above")
                .into(),
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Fails while there are others in it, which remove it.
        let _ = fs::remove_dir(self.mount.join(&self.path));
    }
}

#[test]
fn what_runs_in_a_cgroup_is_in_it_and_in_those_around_it_until_it_leaves() {
    let (Some(outer), Some(inner), Some(other)) =
        (Made::new("-a"), Made::new("-a/b"), Made::new("-c"))
    else {
        return;
    };
    on_each_backend(|backend| {
        let mut held = Held::start(spec(backend));
        let (mut within, mut beside) = (Worker::start(), Worker::start());
        inner.take(&within);
        outer.take(&beside);
        let of_outer = held.ask(outer.member(), Authority::Everything).unwrap();
        let of_inner = held.ask(inner.member(), Authority::Everything).unwrap();
        within.spin(150);
        beside.spin(150);
        let (seen, deep) = (held.cut(of_outer), held.cut(of_inner));
        assert!(seen.of(within.pid()) > 40 && seen.of(beside.pid()) > 40);
        assert!(deep.of(within.pid()) > 40);
        assert_eq!(deep.of(beside.pid()), 0);
        // It leaves, and is in neither any more.
        other.take(&within);
        held.cut(of_inner);
        held.cut(of_outer);
        within.spin(100);
        assert_eq!(held.detach(of_inner).of(within.pid()), 0);
        assert_eq!(held.detach(of_outer).of(within.pid()), 0);
        held.finish();
    });
}

#[test]
fn a_cgroup_that_is_removed_ends_its_target() {
    let Some(made) = Made::new("-gone") else {
        return;
    };
    let mut held = Held::start(spec(perfd::session::Backend::Auto));
    let target = held.ask(made.member(), Authority::Everything).unwrap();
    drop(made);
    assert_eq!(held.wait_for_end(target), TargetEnd::Exited);
    held.finish();
}

/// Everything is opened anew, since there are always more modules than that: at the end of the first window, of the third, of the sixth.
fn worn(backend: Backend) -> EngineSpec {
    EngineSpec {
        limits: Limits {
            modules: 1,
            // Whose samples they are is asked, and no name.
            stack_frames: 1,
            ..Limits::default()
        },
        interval: Duration::from_millis(100),
        ..spec(backend)
    }
}

#[test]
fn a_cgroup_goes_on_when_everything_is_opened_anew() {
    let Some(made) = Made::new("-renewed") else {
        return;
    };
    on_each_backend(|backend| {
        let mut held = Held::start(worn(backend));
        let (mut within, mut beside) = (Worker::start(), Worker::start());
        made.take(&within);
        let target = held.ask(made.member(), Authority::Everything).unwrap();
        while held.engine().stats().renewals < 2 {
            within.spin(20);
            held.cut(target);
        }
        let mut n_within = 0;
        while n_within <= 20 {
            within.spin(20);
            beside.spin(20);
            let windows = held.cut(target);
            n_within += windows.of(within.pid());
            assert_eq!(windows.of(beside.pid()), 0);
        }
        held.detach(target);
        held.finish();
    });
}

#[test]
fn everybody_goes_on_when_everything_is_opened_anew_and_is_told_why() {
    on_each_backend(|backend| {
        let mut held = Held::start(worn(backend));
        let mut worker = Worker::start();
        let target = held.ask(Member::Host, Authority::Everything).unwrap();
        while held.engine().stats().renewals < 2 {
            worker.spin(20);
            held.cut(target);
        }
        let (mut n_seen, mut is_told) = (0, false);
        // Not of the worker: the tables of all that runs are made first.
        while n_seen <= 20 || !is_told {
            worker.spin(20);
            let windows = held.cut(target);
            n_seen += windows.all();
            let mut notes = windows.0.iter().flat_map(|window| &window.run.notes);
            is_told |= notes.any(|note| note.contains("than the 1 that an engine is made for"));
        }
        held.detach(target);
        held.finish();
    });
}
