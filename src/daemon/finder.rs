//! From selectors to what runs: processes by name, control groups by path, unit or container.
//!
//! Looked for once in a while, for all selectors together: one reading of `/proc` however many names there are, one walk of the cgroup tree however
//! many units and containers. A process may take its name some time after its start (fork, then exec), so that young ones are read at every
//! look, and the others in turns.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::selector::Selector;
use crate::model::Pid;
use crate::procfs::tasks;
use crate::sys::pidfd::PidFd;

/// So many looks after it was first seen, a process has the name that it will have, most likely.
const YOUNG: u32 = 10;
/// Of the others, one in so many is read at each look.
const TURNS: u32 = 16;
/// Folders of the cgroup tree that are looked at in one walk, and how deep.
const MAX_FOLDERS: usize = 20_000;
const MAX_DEPTH: usize = 24;
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
    /// Where cgroup v2 is mounted, if it is.
    cgroups: Option<PathBuf>,
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
    /// Looks below this `/proc`, whose mounts say where the cgroups are.
    pub fn new(proc_root: &Path) -> Finder {
        let mounts = fs::read_to_string(proc_root.join("self/mountinfo")).unwrap_or_default();
        Finder {
            proc_root: proc_root.to_owned(),
            cgroups: cgroup_mount(&mounts),
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
        let mount = self.cgroups.as_ref()?;
        let path = match selector {
            Selector::Cgroup(path) => Some(path.clone()),
            Selector::Unit(unit) => self.unit(mount, unit, thoroughly),
            Selector::Container(id) => self.walk(mount, thoroughly, |name| is_container(name, id)),
            Selector::Pid(_) | Selector::Comm(_) | Selector::Host => None,
        }?;
        let folder = open_folder(&mount.join(&path)).ok()?;
        Some(Found::Cgroup(path, folder))
    }

    /// Whether there is a cgroup v2 tree to look in.
    pub fn has_cgroups(&self) -> bool {
        self.cgroups.is_some()
    }

    fn unit(&self, mount: &Path, unit: &str, thoroughly: Thoroughly) -> Option<PathBuf> {
        let usual = [Path::new("system.slice").join(unit), slice_path(unit)];
        let is_there = |path: &&PathBuf| mount.join(path).is_dir();
        let found = usual.iter().find(is_there).cloned();
        found.or_else(|| self.walk(mount, thoroughly, |name| name == unit))
    }

    /// The first folder of the tree with a name that is meant, level by level.
    fn walk(
        &self,
        mount: &Path,
        thoroughly: Thoroughly,
        is_meant: impl Fn(&str) -> bool,
    ) -> Option<PathBuf> {
        if thoroughly == Thoroughly::InTurns && !self.look.is_multiple_of(WALK_EVERY) {
            return None;
        }
        let mut level = vec![PathBuf::new()];
        let mut n_folders = 0;
        for _ in 0..MAX_DEPTH {
            let mut below = Vec::new();
            for path in level {
                for entry in fs::read_dir(mount.join(&path))
                    .into_iter()
                    .flatten()
                    .flatten()
                {
                    if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        continue;
                    }
                    let name = entry.file_name();
                    let inner = path.join(&name);
                    if name.to_str().is_some_and(&is_meant) {
                        return Some(inner);
                    }
                    n_folders += 1;
                    below.push(inner);
                }
                if n_folders > MAX_FOLDERS {
                    return None;
                }
            }
            if below.is_empty() {
                return None;
            }
            level = below;
        }
        None
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

/// Where the unified hierarchy is mounted: field 5 of the line whose file system, behind the dash, is `cgroup2`.
fn cgroup_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (head, tail) = line.split_once(" - ")?;
        let is_unified = tail.split(' ').next()? == "cgroup2";
        let path = head.split(' ').nth(4)?;
        (is_unified && !path.contains('\\')).then(|| PathBuf::from(path))
    })
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

fn open_folder(path: &Path) -> io::Result<OwnedFd> {
    let folder = File::options()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)?;
    Ok(folder.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_hierarchy_is_found_beside_the_old_ones() {
        let mounts = "\
30 24 0:26 / /sys/fs/cgroup rw - tmpfs none rw
31 30 0:27 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu
32 30 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:10 master:3 - cgroup2 cgroup2 rw
";
        let expected = Some(PathBuf::from("/sys/fs/cgroup/unified"));
        assert_eq!(cgroup_mount(mounts), expected);
        assert_eq!(cgroup_mount("\n x - y\n - cgroup2\n"), None);
    }

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
        fs::create_dir(&cgroups).expect("a folder");
        for folder in folders {
            fs::create_dir_all(cgroups.join(folder)).expect("a folder");
        }
        for (pid, comm) in processes {
            name(root.path(), *pid, comm);
        }
        let finder = Finder {
            cgroups: Some(cgroups),
            ..Finder::new(root.path())
        };
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
        let finder = Finder::new(Path::new("/proc"));
        let own = Pid(std::process::id());
        let comm = tasks::comm(Path::new("/proc"), own, own.main_thread()).expect("readable");
        let comm = String::from_utf8(comm).expect("perfd's tests have a plain name");
        assert!(finder.hold(own, &comm).is_some());
        assert!(finder.hold(own, "another").is_none());
    }
}
