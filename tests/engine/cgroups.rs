//! Targets that are cgroups: whatever runs in one at the moment of a sample is in it.

use std::fs::{self, File};
use std::path::PathBuf;

use perfd::procfs::SysRoots;
use perfd::procfs::cgroups::Cgroups;
use perfd::session::engine::{Authority, Member, TargetEnd};

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
