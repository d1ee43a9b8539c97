//! Who may profile what. The one place that decides it; everything is asked here, for each request.
//!
//! ```text
//! administrator     uid 0, the daemon's own user, in the configured group  anything
//! everybody else    a process by its number, if it is all the user's own   that process
//! ```
//!
//! perfd may look into every process, so that it must not do so on the word of somebody who may not. For a process of a user three things are asked:
//!
//! 1. *Which process*: the client's pidfd (for an administrator one that is opened here does) names it for good; `/proc/PID` is opened under it and the process asked again
//!    whether it lives, so that everything read there later is of that process, whoever has its number then.
//! 2. *May the user look into it*: `/proc/PID/maps`, opened by the client, is the kernel's own word for yes, with all of its reasons (dumpable, user
//!    namespaces, security modules). It must be that very file: the inode is compared, since a file of an earlier process of that number, or of a
//!    memory that it has left by an exec, can be kept open. What is opened with `O_PATH` proves nothing.
//! 3. *Is that still so*: the kernel asked when the file was opened. So the process must run now as the user in every way: all user and group ids, no
//!    capability, and dumpable. Without `maps` (a client that sees another instance of procfs cannot pass the right one) this has to do
//!    alone, and then only for processes of perfd's own user namespace.
//!
//! Who is refused hears one sentence, the same for each reason: what another's process is must not be learnt from it. A process that is
//! authorised here is asked again at each exec by the engine.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, OFlag, fcntl, open};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};

use crate::model::{Fault, FaultClass, Pid};
use crate::procfs::SysRoots;
use crate::procfs::credentials::{Credentials, UserNamespace};
use crate::procfs::sysctl::Sysctls;
use crate::session::engine::Authority;
use crate::sys::limits;
use crate::sys::pidfd::PidFd;
use crate::sys::unix_socket::Peer;

/// What the decisions depend on beside who asks.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// The number of the administrators' group, if there is such a group on this host.
    pub admin_gid: Option<u32>,
    /// The user that the daemon runs as: who may end it may ask it for everything, which is no more than that user could do anyway.
    pub own_uid: Option<u32>,
    /// Where `/proc` is.
    pub roots: SysRoots,
}

/// What a client passed to show that it may profile a process.
#[derive(Debug, Default)]
pub struct Evidence {
    /// A hold on the process.
    pub pidfd: Option<OwnedFd>,
    /// Its `maps`.
    pub maps: Option<OwnedFd>,
}

/// A process that may be profiled.
#[derive(Debug)]
pub struct Granted {
    /// Its number.
    pub pid: Pid,
    /// A hold on it.
    pub pidfd: PidFd,
    /// Its folder in `/proc`.
    pub procdir: OwnedFd,
    /// On whose word.
    pub authority: Authority,
}

impl Rules {
    /// Whether a peer may do everything.
    pub fn is_admin(&self, peer: &Peer) -> bool {
        peer.uid == 0
            || self.own_uid == Some(peer.uid)
            || self.admin_gid.is_some_and(|gid| peer.is_in(gid))
    }

    /// Lets administrators do what only they may.
    ///
    /// # Errors
    /// The peer is none; `what` says what was asked for: `profile a cgroup`.
    pub fn admin_only(&self, peer: &Peer, what: &str) -> Result<Authority, Fault> {
        match self.is_admin(peer) {
            true => Ok(Authority::Everything),
            false => Err(Fault::new(
                FaultClass::Permission,
                format!("{what}: only administrators may"),
            )
            .hint("administrators are root and the group that `admin_group` of the daemon's configuration names")),
        }
    }

    /// Lets a peer see and change what another user asked for, if it is the peer's own or the peer an administrator.
    pub fn may_touch(&self, peer: &Peer, owner: Option<u32>) -> bool {
        self.is_admin(peer) || owner == Some(peer.uid)
    }

    /// Decides about one process.
    ///
    /// # Errors
    /// The same for each reason, unless the reason is in what the client itself passed, or the client an administrator.
    pub fn process(&self, peer: &Peer, pid: Pid, evidence: Evidence) -> Result<Granted, Fault> {
        let is_admin = self.is_admin(peer);
        let pidfd = match evidence.pidfd {
            Some(fd) => PidFd::from_passed(fd).map_err(|_| {
                Fault::new(FaultClass::Usage, "the first descriptor is no pidfd")
                    .hint("a client passes the result of pidfd_open(2), and behind it its own open /proc/PID/maps")
            })?,
            None if is_admin => PidFd::open(pid).map_err(|error| {
                let errno = error.raw_os_error().map(Errno::from_raw);
                no_descriptor(pid, errno).unwrap_or_else(|| refused(peer, pid, is_admin))
            })?,
            // Whoever has no pidfd may not even see the process: from another pid namespace, or a sandbox.
            None => return Err(refused(peer, pid, is_admin)),
        };
        let gone = |_| refused(peer, pid, is_admin);
        if pidfd.pid().map_err(gone)? != pid {
            return Err(refused(peer, pid, is_admin));
        }
        let path = self.roots.proc.join(pid.to_string());
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let procdir = open(&path, flags, Mode::empty()).map_err(|errno| {
            no_descriptor(pid, Some(errno)).unwrap_or_else(|| refused(peer, pid, is_admin))
        })?;
        // A number is free for others only after its process has ended: alive now, it was this process's folder that was opened.
        if !pidfd.is_alive().map_err(gone)? {
            return Err(refused(peer, pid, is_admin));
        }
        let authority = match is_admin {
            true => Authority::Everything,
            false => {
                if !belongs_to(peer, procdir.as_fd(), evidence.maps) {
                    return Err(refused(peer, pid, is_admin));
                }
                Authority::User {
                    uid: peer.uid,
                    gid: peer.gid,
                    kernel: self.shows_kernel_to_users(),
                }
            }
        };
        // What has been read was of a living process.
        if !pidfd.is_alive().map_err(gone)? {
            return Err(refused(peer, pid, is_admin));
        }
        Ok(Granted {
            pid,
            pidfd,
            procdir,
            authority,
        })
    }

    /// Whether the kernel lets everybody sample it.
    fn shows_kernel_to_users(&self) -> bool {
        let paranoid = Sysctls::read(&self.roots).perf_event_paranoid;
        paranoid.is_some_and(|level| level <= 1)
    }
}

/// Whether the process is all the peer's own. Whatever cannot be read is a no.
fn belongs_to(peer: &Peer, procdir: BorrowedFd<'_>, maps: Option<OwnedFd>) -> bool {
    let Ok(namespace) = UserNamespace::of(procdir) else {
        return false;
    };
    // systemd gives a confined service a procfs of its own: what a client opened in the host's proves nothing here, for or against it.
    let proves = match maps.filter(|maps| !is_of_another_procfs(maps.as_fd(), procdir)) {
        Some(maps) => is_open_maps(maps.as_fd(), procdir),
        None => namespace == UserNamespace::Own,
    };
    proves && Credentials::read(procdir).is_ok_and(|its| its.are_all(peer.uid, peer.gid, namespace))
}

/// Whether `maps` is a file of a procfs that is not the one of `procdir`.
fn is_of_another_procfs(maps: BorrowedFd<'_>, procdir: BorrowedFd<'_>) -> bool {
    let is_procfs = fstatfs(maps).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC);
    let (Ok(found), Ok(own)) = (fstat(maps), fstat(procdir)) else {
        return false;
    };
    is_procfs && found.st_dev != own.st_dev
}

/// Whether `maps` is the file of that name in `procdir`, opened for reading.
fn is_open_maps(maps: BorrowedFd<'_>, procdir: BorrowedFd<'_>) -> bool {
    let is_procfs = fstatfs(maps).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC);
    let Ok(flags) = fcntl(maps, FcntlArg::F_GETFL).map(OFlag::from_bits_retain) else {
        return false;
    };
    // O_PATH opens what may not be read.
    let is_read = !flags.contains(OFlag::O_PATH)
        && matches!(flags & OFlag::O_ACCMODE, OFlag::O_RDONLY | OFlag::O_RDWR);
    let found = fstat(maps);
    let own = fstatat(procdir, "maps", AtFlags::AT_SYMLINK_NOFOLLOW);
    let (Ok(found), Ok(own)) = (found, own) else {
        return false;
    };
    let is_file = SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG;
    is_procfs && is_read && is_file && (found.st_dev, found.st_ino) == (own.st_dev, own.st_ino)
}

/// The error of opening something of a process, if it is the daemon that has too many open files: that tells nothing about the process.
pub(super) fn no_descriptor(pid: Pid, errno: Option<Errno>) -> Option<Fault> {
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE)).then(|| {
        let what = format!("attach pid {pid}: the daemon has too many open files");
        let hints = limits::more_open_files();
        hints
            .into_iter()
            .fold(Fault::new(FaultClass::System, what), Fault::hint)
    })
}

fn refused(peer: &Peer, pid: Pid, is_admin: bool) -> Fault {
    if is_admin {
        return Fault::new(FaultClass::NoSuchTarget, format!("no process {pid}"));
    }
    let what = format!(
        "pid {pid}: there is no such process, or user {} may not profile it",
        peer.uid
    );
    Fault::new(FaultClass::Permission, what)
        .hint("a user may profile processes that run as that user in every way, hold no capabilities and are dumpable")
        .hint("the request brings a pidfd, and behind it /proc/PID/maps as the user opened it")
}
