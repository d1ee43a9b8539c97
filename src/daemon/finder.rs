//! From selectors to what runs: processes by name, control groups by path, unit or container.
//!
//! Looked for once in a while, for all selectors together: one reading of `/proc` however many names there are, one walk of the cgroup tree however
//! many units and containers. A process may take its name some time after its start (fork, then exec), so that young ones are read at every
//! look, and the others in turns.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::selector::Selector;
use crate::model::Pid;
use crate::procfs::cgroups::Cgroups;
use crate::procfs::{SysRoots, tasks};
use crate::sys::pidfd::PidFd;

/// So many looks after it was first seen, a process has the name that it will have, most likely.
const YOUNG: u32 = 10;
/// Of the others, one in so many is read at each look.
const TURNS: u32 = 16;
/// The whole tree is walked at one look in so many, for units that are not at their usual place.
const WALK_EVERY: u32 = 5;

/// What a selector stands for at the moment.
#[derive(Debug)]
pub enum Found {
    /// A process.
    Process(Pid, PidFd),
    /// A cgroup: its path below the mount, and its folder.
    Cgroup(PathBuf, OwnedFd),
}

/// Looks for targets.
#[derive(Debug)]
pub struct Finder {
    proc_root: PathBuf,
    /// The tree of cgroup v2, if it is mounted.
    cgroups: Option<Cgroups>,
    /// What is known of processes; only while names are looked for.
    names: FxHashMap<Pid, Seen>,
    look: u32,
}

#[derive(Debug)]
struct Seen {
    since: u32,
    /// The look that has listed it last.
    listed: u32,
    comm: Vec<u8>,
}

impl Finder {
    /// Looks in these trees.
    pub fn new(roots: &SysRoots) -> Finder {
        Finder {
            proc_root: roots.proc.clone(),
            cgroups: Cgroups::find(roots).ok(),
            names: FxHashMap::default(),
            look: 0,
        }
    }

    /// Begins a look: processes are listed if any selector is a name.
    pub fn look<'a>(&mut self, selectors: impl Iterator<Item = &'a Selector>) {
        self.look = self.look.wrapping_add(1);
        let mut selectors = selectors;
        match selectors.any(|selector| matches!(selector, Selector::Comm(_))) {
            true => self.read_names(),
            false => self.names.clear(),
        }
    }

    /// The processes that have this name, as of the last look.
    pub fn named(&self, comm: &str) -> Vec<Pid> {
        let has_name = |(pid, seen): (&Pid, &Seen)| (seen.comm == comm.as_bytes()).then_some(*pid);
        let mut found: Vec<Pid> = self.names.iter().filter_map(has_name).collect();
        found.sort_unstable();
        found
    }

    /// Takes hold of a process that still has the name.
    pub fn hold(&self, pid: Pid, comm: &str) -> Option<PidFd> {
        let pidfd = PidFd::open(pid).ok()?;
        let now = tasks::comm(&self.proc_root, pid, pid.main_thread()).ok()?;
        (now == comm.as_bytes() && pidfd.is_alive().ok()?).then_some(pidfd)
    }

    /// Looks for the cgroup that a selector means; `None` if there is none, or the selector means none.
    pub fn cgroup(&self, selector: &Selector, thoroughly: Thoroughly) -> Option<Found> {
        let cgroups = self.cgroups.as_ref()?;
        let may_walk = thoroughly == Thoroughly::Now || self.look.is_multiple_of(WALK_EVERY);
        let path = match selector {
            Selector::Cgroup(path) => Some(path.clone()),
            Selector::Unit(unit) => {
                let usual = usual_places(unit).into_iter();
                let mut there = usual.filter(|path| cgroups.mount().join(path).is_dir());
                let elsewhere = || may_walk.then(|| cgroups.of_unit(unit).ok()).flatten();
                there.next().or_else(elsewhere)
            }
            Selector::Container(id) if may_walk => {
                let is_it = |name: &OsStr| name.to_str().is_some_and(|name| is_container(name, id));
                cgroups.search(Path::new(""), is_it)
            }
            Selector::Container(_) | Selector::Pid(_) | Selector::Comm(_) | Selector::Host => None,
        }?;
        let (_, folder) = cgroups.open(&path).ok()?;
        Some(Found::Cgroup(path, folder.into()))
    }

    /// Whether there is a cgroup v2 tree to look in.
    pub fn has_cgroups(&self) -> bool {
        self.cgroups.is_some()
    }

    fn read_names(&mut self) {
        let Ok(listed) = tasks::processes(&self.proc_root) else {
            return;
        };
        for pid in listed {
            let look = self.look;
            let known = self.names.get_mut(&pid);
            let is_settled = known.as_ref().is_some_and(|seen| {
                look.wrapping_sub(seen.since) >= YOUNG && pid.0 % TURNS != look % TURNS
            });
            if let Some(seen) = known {
                seen.listed = look;
                if is_settled {
                    continue;
                }
            }
            let Ok(comm) = tasks::comm(&self.proc_root, pid, pid.main_thread()) else {
                continue;
            };
            let seen = self.names.entry(pid).or_insert_with(|| Seen {
                since: look,
                listed: look,
                comm: Vec::new(),
            });
            if seen.comm != comm {
                // Another program, or another process with the number.
                *seen = Seen {
                    since: look,
                    listed: look,
                    comm,
                };
            }
        }
        let look = self.look;
        self.names.retain(|_, seen| seen.listed == look);
    }
}

/// How much a look may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thoroughly {
    /// Whatever it takes: somebody waits for the answer.
    Now,
    /// Little at each look: it will be looked for again.
    InTurns,
}

/// Where systemd puts most units of the system.
fn usual_places(unit: &str) -> [PathBuf; 2] {
    [Path::new("system.slice").join(unit), slice_path(unit)]
}

/// Where systemd puts a slice: `a-b.slice` lies in `a.slice`.
fn slice_path(unit: &str) -> PathBuf {
    let Some(stem) = unit.strip_suffix(".slice") else {
        return PathBuf::from(unit);
    };
    let ends = stem.match_indices('-').map(|(at, _)| at);
    let outer = ends.map(|end| format!("{}.slice", &stem[..end]));
    outer.chain([unit.to_owned()]).collect()
}

/// `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `crio-ID.scope`, or `ID` itself; `-conmon-` is the monitor, not the container.
fn is_container(name: &str, id: &str) -> bool {
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    let full = stem.rsplit(['-', ':']).next().unwrap_or(stem);
    let is_id = full.len() >= 12 && full.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id && full.starts_with(id) && !stem.contains("conmon")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn slices_lie_in_slices() {
        assert_eq!(slice_path("a.slice"), Path::new("a.slice"));
        let nested = Path::new("a.slice/a-b.slice/a-b-c.slice");
        assert_eq!(slice_path("a-b-c.slice"), nested);
        assert_eq!(slice_path("x-y.service"), Path::new("x-y.service"));
    }

    #[test]
    fn a_container_is_known_under_every_runtimes_name() {
        let id = "4f5a1c9e0b7d";
        for name in [
            "4f5a1c9e0b7d8842",
            "docker-4f5a1c9e0b7d8842.scope",
            "libpod-4f5a1c9e0b7d8842.scope",
            "cri-containerd-4f5a1c9e0b7d8842.scope",
            "crio-4f5a1c9e0b7d8842.scope",
        ] {
            assert!(is_container(name, id), "{name}");
        }
        for name in [
            "libpod-conmon-4f5a1c9e0b7d8842.scope",
            "docker-5f5a1c9e0b7d8842.scope",
            "docker.service",
            "4f5a1c9e0b7dxyz",
        ] {
            assert!(!is_container(name, id), "{name}");
        }
    }

    /// A finder in a planted tree.
    fn planted(folders: &[&str], processes: &[(u32, &str)]) -> (tempfile::TempDir, Finder) {
        let root = tempfile::tempdir().expect("a folder");
        let cgroups = root.path().join("cgroups");
        for folder in folders {
            fs::create_dir_all(cgroups.join(folder)).expect("a folder");
        }
        for (pid, comm) in processes {
            name(root.path(), *pid, comm);
        }
        let own = root.path().join("self");
        fs::create_dir_all(&own).expect("a folder");
        let mount = cgroups.display();
        let mounts = format!("32 30 0:28 / {mount} rw - cgroup2 cgroup2 rw\n");
        fs::write(own.join("mountinfo"), mounts).expect("written");
        let finder = Finder::new(&SysRoots {
            proc: root.path().to_owned(),
            ..SysRoots::default()
        });
        (root, finder)
    }

    fn name(proc_root: &Path, pid: u32, comm: &str) {
        let folder = proc_root.join(format!("{pid}/task/{pid}"));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("comm"), format!("{comm}\n")).expect("written");
    }

    #[test]
    fn units_and_containers_are_found_where_they_usually_are_and_elsewhere() {
        let deep = "user.slice/user-1000.slice/user@1000.service/app.slice/app-x.service";
        let docker = "system.slice/docker-0123456789abcdef.scope";
        let (_root, finder) = planted(
            &["system.slice/a.service", "a.slice/a-b.slice", deep, docker],
            &[],
        );
        let find = |selector: Result<Selector, _>| {
            let selector: Selector = selector.expect("a selector");
            match finder.cgroup(&selector, Thoroughly::Now) {
                Some(Found::Cgroup(path, _)) => Some(path.display().to_string()),
                _ => None,
            }
        };
        let is = |path: &str| Some(path.to_owned());
        assert_eq!(
            find(Selector::unit("a.service")),
            is("system.slice/a.service")
        );
        assert_eq!(find(Selector::unit("a-b.slice")), is("a.slice/a-b.slice"));
        assert_eq!(find(Selector::unit("app-x.service")), is(deep));
        assert_eq!(find(Selector::container("01234567")), is(docker));
        assert_eq!(find(Selector::cgroup("/a.slice/")), is("a.slice"));
        assert_eq!(find(Selector::unit("none.service")), None);
        assert_eq!(find(Selector::cgroup("none")), None);
    }

    #[test]
    fn names_are_read_anew_while_a_process_is_young_and_later_in_turns() {
        let (root, mut finder) = planted(&[], &[(7, "sh"), (8, "worker"), (9, "worker")]);
        let selector = Selector::comm("worker").expect("a name");
        let look = |finder: &mut Finder| {
            finder.look(std::iter::once(&selector));
            finder.named("worker")
        };
        assert_eq!(look(&mut finder), [Pid(8), Pid(9)]);
        name(root.path(), 7, "worker");
        fs::remove_dir_all(root.path().join("9")).expect("removed");
        assert_eq!(look(&mut finder), [Pid(7), Pid(8)]);
        for _ in 0..YOUNG {
            look(&mut finder);
        }
        name(root.path(), 8, "other");
        let until = (0..=TURNS).find(|_| look(&mut finder) == [Pid(7)]);
        assert!(until.is_some());
    }

    #[test]
    fn a_process_is_held_only_under_the_name_it_has() {
        let finder = Finder::new(&SysRoots::default());
        let own = Pid(std::process::id());
        let comm = tasks::comm(Path::new("/proc"), own, own.main_thread()).expect("readable");
        let comm = String::from_utf8(comm).expect("perfd's tests have a plain name");
        assert!(finder.hold(own, &comm).is_some());
        assert!(finder.hold(own, "another").is_none());
    }
}
