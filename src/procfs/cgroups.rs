//! The tree of cgroups of version 2: where it is mounted, which processes are in which, and which of them a systemd unit is.
//!
//! Version 1 is read as far as that a process's line of version 2 is found beside it: on a hybrid host systemd mounts the unified hierarchy
//! under `/sys/fs/cgroup/unified`, with the same units in it. Paths here are those below the mount.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use super::SysRoots;
use crate::model::{Cgroup, CgroupId, Pid};

/// Cgroups that are looked through at most. A host with a thousand containers has some ten thousand.
const MOST_CGROUPS: usize = 1 << 16;
/// The inode of the first cgroup namespace: `PROC_CGROUP_INIT_INO` of <linux/proc_ns.h>.
const FIRST_NAMESPACE: &str = "cgroup:[4026531835]";

/// Why a cgroup cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Version 2 is mounted nowhere.
    #[error("no cgroup2 file system is mounted")]
    NotMounted,
    /// The path leads out of the tree.
    #[error("{} is no path of a cgroup", .0.display())]
    BadPath(PathBuf),
    /// There is none, or it may not be read.
    #[error("open cgroup {}", path.display())]
    Open {
        /// Below the mount.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No cgroup has the unit's name: it does not run.
    #[error("no cgroup of the unit {0}: it is not running")]
    NoUnit(String),
    /// The list of mounts cannot be read.
    #[error("read the list of mounts")]
    Mounts(#[source] io::Error),
}

/// The mounted tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroups {
    proc_root: PathBuf,
    mount: PathBuf,
    /// Whether its root is that of all cgroups.
    is_whole: bool,
}

impl Cgroups {
    /// Finds where version 2 is mounted: under `/sys/fs/cgroup`, or beside version 1.
    pub fn find(roots: &SysRoots) -> Result<Cgroups, CgroupError> {
        let own = roots.proc.join("self");
        let mounts = fs::read(own.join("mountinfo")).map_err(CgroupError::Mounts)?;
        let (mount, root) = find_mount(&mounts).ok_or(CgroupError::NotMounted)?;
        let namespace = fs::read_link(own.join("ns/cgroup"));
        let is_first = namespace.is_ok_and(|link| link.as_os_str() == FIRST_NAMESPACE);
        Ok(Cgroups {
            proc_root: roots.proc.clone(),
            mount,
            is_whole: is_first && root == Path::new("/"),
        })
    }

    /// Where it is mounted.
    pub fn mount(&self) -> &Path {
        &self.mount
    }

    /// Opens the directory of a cgroup, and tells which cgroup it is.
    pub fn open(&self, path: &Path) -> Result<(Cgroup, File), CgroupError> {
        let below = below(path).ok_or_else(|| CgroupError::BadPath(path.to_owned()))?;
        let failed = |source| CgroupError::Open {
            path: path.to_owned(),
            source,
        };
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
            .open(self.mount.join(&below))
            .map_err(failed)?;
        let id = CgroupId(dir.metadata().map_err(failed)?.ino());
        let depth = u32::try_from(below.components().count()).unwrap_or(u32::MAX);
        let depth = self.is_whole.then_some(depth);
        Ok((Cgroup { id, depth }, dir))
    }

    /// The cgroup of a process, as a path below the mount.
    ///
    /// # Errors
    /// `NotFound` if there is no such process, or none that the mounted part of the tree shows.
    pub fn of_process(&self, pid: Pid) -> io::Result<PathBuf> {
        let text = fs::read(self.proc_root.join(pid.to_string()).join("cgroup"))?;
        unified(&text).ok_or(io::ErrorKind::NotFound.into())
    }

    /// The cgroups that a process is in: its own, then those above it, the root last.
    pub fn lineage_of(&self, pid: Pid) -> io::Result<Vec<CgroupId>> {
        let path = self.of_process(pid)?;
        let id = |path: &Path| Ok(CgroupId(fs::symlink_metadata(self.mount.join(path))?.ino()));
        path.ancestors().map(id).collect()
    }

    /// The processes in a cgroup and in those below it.
    ///
    /// # Errors
    /// Those of reading the cgroup itself; what goes away below it meanwhile is left out.
    pub fn processes(&self, path: &Path) -> Result<BTreeSet<Pid>, CgroupError> {
        let (_, _) = self.open(path)?;
        let top = below(path).unwrap_or_default();
        let mut found = BTreeSet::new();
        self.walk(&top, |cgroup| {
            let text = fs::read_to_string(self.mount.join(cgroup).join("cgroup.procs"));
            // A threaded cgroup has no list of processes: they are in the one that it lies in.
            let numbers = text.unwrap_or_default();
            let numbers = numbers.lines().filter_map(|line| line.parse().ok());
            // 0: of a pid namespace that this one does not show.
            found.extend(numbers.filter(|number| *number != 0).map(Pid));
            Walk::GoOn
        });
        Ok(found)
    }

    /// The ids of a cgroup and of those below it, with their paths.
    pub fn ids_below(&self, path: &Path) -> Vec<(CgroupId, PathBuf)> {
        let mut found = Vec::new();
        let top = below(path).unwrap_or_default();
        self.walk(&top, |cgroup| {
            if let Ok(directory) = fs::symlink_metadata(self.mount.join(cgroup)) {
                found.push((CgroupId(directory.ino()), cgroup.to_owned()));
            }
            Walk::GoOn
        });
        found
    }

    /// The cgroup of a running systemd unit (`postgresql.service`), that of the system's manager if a user's has one too.
    pub fn of_unit(&self, unit: &str) -> Result<PathBuf, CgroupError> {
        let none = || CgroupError::NoUnit(unit.to_owned());
        if unit.is_empty() || unit.contains('/') {
            return Err(none());
        }
        // systemd puts it before a name that could be taken for a file of a controller (`cg_escape`): `_cpu.service`.
        let escaped = format!("_{unit}");
        let is_it = |name: &OsStr| name == unit || name == escaped.as_str();
        let system = Path::new("system.slice");
        let of_system = || self.search(system, is_it);
        let anywhere = || self.search(Path::new(""), is_it);
        of_system().or_else(anywhere).ok_or_else(none)
    }

    /// The first cgroup below `top` whose name is one that is looked for, the higher ones first.
    pub fn search(&self, top: &Path, mut is_it: impl FnMut(&OsStr) -> bool) -> Option<PathBuf> {
        let mut found = None;
        self.walk(&below(top)?, |cgroup| {
            match cgroup != top && cgroup.file_name().is_some_and(&mut is_it) {
                true => {
                    found = Some(cgroup.to_owned());
                    Walk::Stop
                }
                false => Walk::GoOn,
            }
        });
        found
    }

    /// Visits a cgroup and those below it, level by level, each in the order of names.
    fn walk(&self, top: &Path, mut visit: impl FnMut(&Path) -> Walk) {
        let mut ahead = VecDeque::from([top.to_owned()]);
        let mut n_seen = 1;
        while let Some(cgroup) = ahead.pop_front() {
            if visit(&cgroup) == Walk::Stop {
                return;
            }
            let entries = fs::read_dir(self.mount.join(&cgroup)).into_iter().flatten();
            let is_folder =
                |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
            let folders = entries.flatten().filter(is_folder);
            let room = MOST_CGROUPS.saturating_sub(n_seen);
            let mut names: Vec<OsString> = { folders.take(room) }
                .map(|folder| folder.file_name())
                .collect();
            names.sort_unstable();
            n_seen += names.len();
            ahead.extend(names.into_iter().map(|name| cgroup.join(name)));
        }
    }
}

#[derive(PartialEq, Eq)]
enum Walk {
    GoOn,
    Stop,
}

/// Where perfd cannot count what happens in cgroups, and why: the kernel does that in one hierarchy alone, whichever it is that has the controller.
///
/// `perf_event` belongs to the unified hierarchy, and needs nothing there, unless it is mounted as a hierarchy of version 1.
pub fn uncounted(roots: &SysRoots) -> Option<String> {
    let text = fs::read_to_string(roots.proc.join("cgroups")).ok()?;
    let line = text.lines().find(|line| {
        let name = line.split_whitespace().next();
        name == Some("perf_event")
    });
    let hierarchy = line.and_then(|line| line.split_whitespace().nth(1));
    match hierarchy {
        None => Some("this kernel is built without the perf_event controller (CONFIG_CGROUP_PERF)".to_owned()),
        Some("0") => None,
        Some(_) => Some("the perf_event controller is mounted as a hierarchy of cgroups version 1, and does not know those of version 2; try: unmount it, or boot with cgroup_no_v1=perf_event".to_owned()),
    }
}

/// Where a cgroup2 file system is mounted, and which part of it: `ID PARENT DEV ROOT MOUNT OPTIONS … - TYPE …`. The whole one is better
/// than a part.
fn find_mount(mountinfo: &[u8]) -> Option<(PathBuf, PathBuf)> {
    let mounts = mountinfo.split(|byte| *byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let root = fields.nth(3)?;
        let mount = fields.next()?;
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
        (kind == b"cgroup2").then(|| (unescaped(mount), unescaped(root)))
    });
    let mounts: Vec<(PathBuf, PathBuf)> = mounts.collect();
    let whole = mounts.iter().find(|(_, root)| root == Path::new("/"));
    whole.or(mounts.first()).cloned()
}

/// Blanks and the like stand as `\040` in the list of mounts.
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        let octal = behind.get(..3).filter(|_| *first == b'\\');
        let octal = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

/// The line `0::/PATH` among those of version 1 (`HIERARCHY:CONTROLLERS:/PATH`).
fn unified(cgroup: &[u8]) -> Option<PathBuf> {
    let mut lines = cgroup.split(|byte| *byte == b'\n');
    let path = lines.find_map(|line| line.strip_prefix(b"0::"))?;
    // Nothing is in a cgroup that is gone but what is about to end.
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    below(Path::new(OsStr::from_bytes(path)))
}

/// A path without the slash that it may begin with; `None` if it leads up (outside of perfd's cgroup namespace).
fn below(path: &Path) -> Option<PathBuf> {
    let mut below = PathBuf::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => below.push(name),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
24 1 0:22 / /proc rw - proc proc rw
30 1 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu rw shared:9 - cgroup cgroup rw,cpu
40 30 0:36 /part /mnt/a\\040part rw shared:10 - cgroup2 cgroup2 rw
41 30 0:36 / /sys/fs/cgroup/unified rw shared:11 master:2 - cgroup2 cgroup2 rw
";

    #[test]
    fn the_unified_hierarchy_is_found_beside_version_1() {
        let found = find_mount(HYBRID.as_bytes());
        let expected = ("/sys/fs/cgroup/unified".into(), "/".into());
        assert_eq!(found, Some(expected));
        let part: String = HYBRID
            .lines()
            .take(4)
            .map(|line| format!("{line}\n"))
            .collect();
        let found = find_mount(part.as_bytes());
        assert_eq!(found, Some(("/mnt/a part".into(), "/part".into())));
        assert_eq!(find_mount(b"1 2 3\n\n - cgroup2"), None);
    }

    #[test]
    fn a_processs_line_of_version_2_is_found_among_those_of_version_1() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                unified(text.as_bytes()),
                expected.map(PathBuf::from),
                "{text}"
            );
        };
        check(
            "0::/system.slice/a.service\n",
            Some("system.slice/a.service"),
        );
        check("2:cpu:/x\n1:name=systemd:/y\n0::/\n", Some(""));
        check("0::/gone (deleted)\n", Some("gone"));
        check("0::/../elsewhere\n", None);
        check("2:cpu:/x\n", None);
        check("", None);
    }

    /// A planted tree.
    fn planted() -> (tempfile::TempDir, Cgroups) {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, pids) in [
            ("", "1\n"),
            ("user.slice/user@7.service/app.slice/db.service", "30\n"),
            ("system.slice/db.service", "10\n11\n"),
            ("system.slice/db.service/worker", "12\n0\n"),
            ("system.slice/_cpu.service", "20\n"),
        ] {
            let path = folder.path().join(path);
            fs::create_dir_all(&path).expect("made");
            fs::write(path.join("cgroup.procs"), pids).expect("written");
        }
        let cgroups = Cgroups {
            proc_root: "/proc".into(),
            mount: folder.path().to_owned(),
            is_whole: true,
        };
        (folder, cgroups)
    }

    #[test]
    fn a_unit_is_found_by_its_name_the_systems_first() {
        let (_folder, cgroups) = planted();
        let path = |unit| cgroups.of_unit(unit).ok();
        assert_eq!(path("db.service"), Some("system.slice/db.service".into()));
        assert_eq!(
            path("cpu.service"),
            Some("system.slice/_cpu.service".into())
        );
        let of_user = path("user@7.service");
        assert_eq!(of_user, Some("user.slice/user@7.service".into()));
        for unit in ["none.service", "", "..", "system.slice/db.service"] {
            assert_eq!(path(unit), None, "{unit}");
        }
    }

    #[test]
    fn a_cgroup_has_its_own_processes_and_those_below_it() {
        let (_folder, cgroups) = planted();
        let pids = |path: &str| {
            let found = cgroups.processes(Path::new(path)).expect(path);
            found.into_iter().map(|pid| pid.0).collect::<Vec<_>>()
        };
        assert_eq!(pids("/system.slice/db.service"), [10, 11, 12]);
        assert_eq!(pids("/"), [1, 10, 11, 12, 20, 30]);
        for path in ["missing", "../x", "system.slice/../../x"] {
            assert!(cgroups.processes(Path::new(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_cgroup_knows_its_depth_and_is_the_first_of_its_lineage() {
        let (_folder, cgroups) = planted();
        let depth = |path: &str| cgroups.open(Path::new(path)).expect(path).0.depth;
        assert_eq!(
            (depth("/"), depth("system.slice/db.service/")),
            (Some(0), Some(2))
        );
        let part = Cgroups {
            is_whole: false,
            ..cgroups
        };
        assert_eq!(part.open(Path::new("/")).expect("there").0.depth, None);
    }

    #[test]
    fn this_process_is_in_the_cgroups_of_its_lineage() {
        // Where nothing is mounted there is no tree to be in.
        let Ok(cgroups) = Cgroups::find(&SysRoots::default()) else {
            return;
        };
        let own = Pid(std::process::id());
        let path = cgroups.of_process(own).expect("a line of version 2");
        let lineage = cgroups.lineage_of(own).expect("all are there");
        let (cgroup, _) = cgroups.open(&path).expect("opened");
        assert_eq!(lineage.first(), Some(&cgroup.id));
        assert_eq!(lineage.len(), path.components().count() + 1);
        assert!(cgroups.processes(&path).expect("read").contains(&own));
    }
}
