//! Files that a runtime leaves for profilers in the `/tmp` of its own root, under names that anybody can foresee.
//!
//! So anybody may have planted them, and what is opened is believed only if it can be the runtime's own: a regular file, of the
//! process's user or root, that nobody else may write, with one name, of a bounded size, and not older than the process (its number may have been
//! another's before). Opening follows no link, leaves the root of the process by none, and waits for nobody (a FIFO's writer).

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use serde::{Deserialize, Serialize};

use crate::model::Pid;

/// Clocks of files and of processes tick every 10 ms at most.
const SAME_TIME: Duration = Duration::from_millis(100);

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Refused {
    /// A symbolic link.
    Link,
    /// A FIFO, a device, a folder.
    NotRegular,
    /// Another user's than the process's or root's.
    OtherOwner,
    /// Others than its owner may write it.
    WritableByOthers,
    /// It has more than one name.
    HardLink,
    /// More bytes than are read.
    TooLarge,
    /// Last written before the process began. Behind what stands in it the process may write on.
    Stale,
    /// It may not be opened.
    Unreadable,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Link => "it is a symbolic link",
            Refused::NotRegular => "it is not a regular file",
            Refused::OtherOwner => "it belongs neither to the user of the process nor to root",
            Refused::WritableByOthers => "others than its owner may write it",
            Refused::HardLink => "it has more than one name",
            Refused::TooLarge => "it is too large",
            Refused::Stale => "it is older than the process",
            Refused::Unreadable => "it cannot be opened",
        })
    }
}

/// A file that keeps all rules but one, perhaps.
#[derive(Debug)]
pub struct Temporary {
    /// It, open for reading.
    pub file: File,
    /// Whether it was last written before the process began, so that what stands in it is not the process's.
    pub is_stale: bool,
}

/// What a process sees as `/`, held open so that its files are reached when it has ended.
#[derive(Debug)]
pub struct ProcessRoot {
    process: PathBuf,
    proc_root: PathBuf,
    root: OwnedFd,
    /// The effective user, as last seen.
    user: u32,
    /// The process's number in its own pid namespace.
    pub own_pid: u32,
}

impl ProcessRoot {
    /// Opens the root of a living process.
    ///
    /// # Errors
    /// Those of `/proc/PID/root` and `/proc/PID/status`.
    pub fn open(proc_root: &Path, pid: Pid) -> io::Result<ProcessRoot> {
        let process = proc_root.join(pid.to_string());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let root = open(&process.join("root"), flags, Mode::empty())?;
        let status = fs::read_to_string(process.join("status"))?;
        let (user, own_pid) =
            user_and_own_pid(&status).ok_or(io::Error::from(io::ErrorKind::InvalidData))?;
        Ok(ProcessRoot {
            process,
            proc_root: proc_root.to_owned(),
            root,
            user,
            own_pid,
        })
    }

    /// Whether the process has not ended.
    pub fn is_alive(&self) -> bool {
        let state = fs::read_to_string(self.process.join("status"));
        state.is_ok_and(|status| !status.contains("\nState:\tZ") && !status.contains("\nState:\tX"))
    }

    /// Opens `/tmp/NAME`; `None` if there is none.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn open_temporary(
        &mut self,
        name: &str,
        max_size: u64,
    ) -> Result<Option<Temporary>, Refused> {
        if let Ok(status) = fs::read_to_string(self.process.join("status"))
            && let Some((user, own_pid)) = user_and_own_pid(&status)
            && own_pid == self.own_pid
        {
            self.user = user;
        }
        let how = OpenHow::new()
            .flags(
                OFlag::O_RDONLY
                    | OFlag::O_NONBLOCK
                    | OFlag::O_NOFOLLOW
                    | OFlag::O_CLOEXEC
                    | OFlag::O_NOCTTY,
            )
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let path = PathBuf::from(format!("tmp/{name}"));
        let file = match openat2(&self.root, &path, how) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(None),
            Err(Errno::ELOOP) => return Err(Refused::Link),
            // A socket, or a device that is not there.
            Err(Errno::ENXIO | Errno::ENODEV) => return Err(Refused::NotRegular),
            Err(_) => return Err(Refused::Unreadable),
        };
        let is_stale = match self.check(&file, max_size) {
            Ok(()) => false,
            Err(Refused::Stale) => true,
            Err(refused) => return Err(refused),
        };
        Ok(Some(Temporary { file, is_stale }))
    }

    /// Whether a file may be believed; `max_size` in bytes.
    ///
    /// # Errors
    /// The rule that it breaks.
    pub fn check(&self, file: &File, max_size: u64) -> Result<(), Refused> {
        let found = file.metadata().map_err(|_| Refused::Unreadable)?;
        if !found.is_file() {
            return Err(Refused::NotRegular);
        }
        if found.uid() != self.user && found.uid() != 0 {
            return Err(Refused::OtherOwner);
        }
        if found.mode() & 0o022 != 0 {
            return Err(Refused::WritableByOthers);
        }
        // One without a name was unlinked by its owner, or by root.
        if found.nlink() > 1 {
            return Err(Refused::HardLink);
        }
        if found.len() > max_size {
            return Err(Refused::TooLarge);
        }
        let age = |time: SystemTime| SystemTime::now().duration_since(time).unwrap_or_default();
        let written = found.modified().map_err(|_| Refused::Unreadable)?;
        match self.age() {
            Some(process) if age(written) > process + SAME_TIME => Err(Refused::Stale),
            _ => Ok(()),
        }
    }

    /// How long the process has run; `None` if it has ended.
    fn age(&self) -> Option<Duration> {
        let stat = fs::read(self.process.join("stat")).ok()?;
        let uptime = fs::read_to_string(self.proc_root.join("uptime")).ok()?;
        let uptime: f64 = uptime.split(' ').next()?.parse().ok()?;
        let uptime = Duration::try_from_secs_f64(uptime).ok()?;
        Some(uptime.saturating_sub(started(&stat)?))
    }
}

/// Field 22 of `/proc/PID/stat`, since the start of the system: 100 ticks a second on all that perfd runs on (`USER_HZ`).
fn started(stat: &[u8]) -> Option<Duration> {
    let behind = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let fields = std::str::from_utf8(stat.get(behind..)?).ok()?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    Some(Duration::from_millis(ticks.checked_mul(10)?))
}

/// The effective user, and the process's number in the innermost of its pid namespaces.
fn user_and_own_pid(status: &str) -> Option<(u32, u32)> {
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let user = line("Uid:")?.split_ascii_whitespace().nth(1)?;
    let own_pid = line("NSpid:")?.split_ascii_whitespace().next_back()?;
    Some((user.parse().ok()?, own_pid.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A made-up process whose root is a folder.
    fn process(folder: &Path) -> ProcessRoot {
        let process = folder.join("7");
        fs::create_dir_all(folder.join("root/tmp")).expect("made");
        fs::create_dir_all(&process).expect("made");
        symlink(folder.join("root"), process.join("root")).expect("made");
        let user = nix::unistd::geteuid();
        let status = format!("Name:\tx\nState:\tS\nUid:\t1\t{user}\t1\t1\nNSpid:\t7\t3\n");
        fs::write(process.join("status"), status).expect("written");
        fs::write(folder.join("uptime"), "1000.50 0.0\n").expect("written");
        began(folder, 999);
        ProcessRoot::open(folder, Pid(7)).expect("opened")
    }

    /// Says at which second of 1000 the process began.
    fn began(folder: &Path, second: u64) {
        let ticks = second * 100;
        let zeros = "0 ".repeat(18);
        let stat = format!("7 (a) b) S {zeros}{ticks} 0\n");
        fs::write(folder.join("7/stat"), stat).expect("written");
    }

    fn refused(process: &mut ProcessRoot) -> Refused {
        let opened = process.open_temporary("perf-3.map", 100);
        opened.expect_err("it breaks a rule")
    }

    #[test]
    fn the_runtimes_own_file_is_opened_under_its_root() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = process(folder.path());
        assert_eq!(process.own_pid, 3);
        assert!(process.is_alive());
        let opened = process.open_temporary("perf-3.map", 100);
        assert!(opened.expect("no rule is broken").is_none());
        fs::write(folder.path().join("root/tmp/perf-3.map"), "10 10 f\n").expect("written");
        let opened = process.open_temporary("perf-3.map", 100);
        assert!(opened.expect("no rule is broken").is_some());
        fs::remove_dir_all(folder.path().join("7")).expect("it ends");
        assert!(!process.is_alive());
        let opened = process.open_temporary("perf-3.map", 100);
        assert!(opened.expect("no rule is broken").is_some());
    }

    #[test]
    fn what_may_be_planted_is_refused_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = process(folder.path());
        let path = folder.path().join("root/tmp/perf-3.map");
        nix::unistd::mkfifo(&path, Mode::S_IRWXU).expect("made");
        assert_eq!(refused(&mut process), Refused::NotRegular);
        fs::remove_file(&path).expect("removed");
        let target = folder.path().join("root/target");
        fs::write(&target, "10 10 f\n").expect("written");
        symlink(&target, &path).expect("made");
        assert_eq!(refused(&mut process), Refused::Link);
        fs::remove_file(&path).expect("removed");
        fs::hard_link(&target, &path).expect("made");
        assert_eq!(refused(&mut process), Refused::HardLink);
        fs::remove_file(&target).expect("removed");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode));
        for writable in [0o620, 0o602] {
            mode(writable).expect("set");
            assert_eq!(refused(&mut process), Refused::WritableByOthers);
        }
        mode(0o600).expect("set");
        let file = File::options().write(true).open(&path).expect("opened");
        file.set_len(101).expect("a hole");
        assert_eq!(refused(&mut process), Refused::TooLarge);
        fs::remove_file(&path).expect("removed");
        fs::create_dir(&path).expect("made");
        assert_eq!(refused(&mut process), Refused::NotRegular);
    }

    #[test]
    fn a_link_out_of_the_root_leads_nowhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = process(folder.path());
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).expect("made");
        fs::write(outside.join("perf-3.map"), "10 10 f\n").expect("written");
        fs::remove_dir(folder.path().join("root/tmp")).expect("removed");
        symlink("../outside", folder.path().join("root/tmp")).expect("made");
        let opened = process.open_temporary("perf-3.map", 100);
        assert!(opened.expect("no rule is broken").is_none());
    }

    #[test]
    fn a_file_of_an_earlier_process_of_the_same_number_is_known_as_such() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut process = process(folder.path());
        let path = folder.path().join("root/tmp/perf-3.map");
        fs::write(&path, "10 10 f\n").expect("written");
        let file = File::options().write(true).open(&path).expect("opened");
        let written = SystemTime::now() - Duration::from_secs(60);
        file.set_modified(written).expect("set");
        let mut is_stale = || {
            let opened = process.open_temporary("perf-3.map", 100);
            opened
                .expect("no other rule is broken")
                .expect("it is there")
                .is_stale
        };
        assert!(is_stale());
        began(folder.path(), 900);
        assert!(!is_stale());
    }

    #[test]
    fn users_and_namespaces_are_read_from_status() {
        let status = "Name:\tUid: 5\nUid:\t1000\t1001\t1002\t1003\nNSpid:\t42\t17\t1\n";
        assert_eq!(user_and_own_pid(status), Some((1001, 1)));
        assert_eq!(user_and_own_pid("Uid:\t1\nNSpid:\t1\n"), None);
    }
}
