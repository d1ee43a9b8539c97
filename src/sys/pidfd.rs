//! A hold on one process that survives the reuse of its number (`pidfd_open(2)`).
//!
//! A pid read from the command line may belong to somebody else a moment later; a pidfd taken first and
//! asked again after each step says whether everything done in between was done to the same process.
//! It does not wait for a child's status: `spawn::Child` does.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::statfs::fstatfs;

use crate::model::Pid;

/// A process, whatever becomes of its number. Readable (for `epoll` and `poll`) once the process has ended,
/// all its threads included.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Takes hold of the process that has this number now.
    ///
    /// Errors: `ESRCH` no such process, `EINVAL` or `ENOENT` the number is that of a thread which is not the main one.
    pub fn open(pid: Pid) -> io::Result<PidFd> {
        let number =
            libc::pid_t::try_from(pid.0).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
        // SAFETY: pidfd_open takes two integers and touches no memory of ours (pidfd_open(2)).
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, number, 0) };
        let fd = RawFd::try_from(fd).map_err(|_| io::Error::other("pidfd_open: no such number"))?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this number, so nothing else in perfd owns it. It is close-on-exec
        // by itself (pidfd_open(2)).
        Ok(PidFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes over a descriptor that somebody else has opened.
    ///
    /// # Errors
    /// It is none of a process: `InvalidInput`.
    pub fn from_passed(fd: OwnedFd) -> io::Result<PidFd> {
        let is_pidfs = fstatfs(&fd)?.filesystem_type().0 == PIDFS_MAGIC;
        // Before 6.9 it is an anonymous inode. Links of files begin with a slash, so that no file is taken for one.
        let link = || std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        let is_path = fcntl(&fd, FcntlArg::F_GETFL)? & libc::O_PATH != 0;
        match !is_path && (is_pidfs || link()?.as_os_str() == "anon_inode:[pidfd]") {
            true => Ok(PidFd(fd)),
            false => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// The number that the process has in perfd's pid namespace.
    ///
    /// # Errors
    /// `ESRCH`: it has none there, or has ended; `EINVAL`: a thread is held that is not the main one.
    pub fn pid(&self) -> io::Result<Pid> {
        match self.info() {
            Ok(info) if info.pid == info.tgid => Ok(Pid(info.pid)),
            Ok(_) => Err(io::Error::from_raw_os_error(libc::EINVAL)),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(error),
            // Linux before 6.13.
            Err(_) => self.pid_of_fdinfo(),
        }
    }

    /// `PIDFD_GET_INFO`, of Linux 6.13.
    fn info(&self) -> io::Result<PidfdInfo> {
        let mut info = PidfdInfo {
            mask: PIDFD_INFO_PID,
            ..PidfdInfo::default()
        };
        // SAFETY: a pidfd (checked or made by the kernel when this was constructed); the kernel writes at most the bytes that the request's number
        // holds, which are those of `info` (include/uapi/linux/pidfd.h).
        let outcome = unsafe { libc::ioctl(self.0.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        match outcome {
            0 => Ok(info),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn pid_of_fdinfo(&self) -> io::Result<Pid> {
        let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", self.0.as_raw_fd()))?;
        let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
        // −1: it has ended; 0: it is in none of perfd's namespaces.
        match number.and_then(|number| number.trim().parse().ok()) {
            Some(pid) if pid > 0 => Ok(Pid(pid)),
            _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        }
    }

    /// A second hold on the same process.
    pub fn try_clone(&self) -> io::Result<PidFd> {
        self.0.try_clone().map(PidFd)
    }

    /// Whether the process still runs: a zombie does not.
    pub fn is_alive(&self) -> io::Result<bool> {
        let mut asked = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        loop {
            match poll(&mut asked, PollTimeout::ZERO) {
                Ok(n_ready) => return Ok(n_ready == 0),
                Err(nix::Error::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl PidFd {
    /// Waits until the process has ended, but no longer than `patience`; says whether it has.
    pub fn wait(&self, patience: Duration) -> io::Result<bool> {
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
        let mut asked = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        match poll(&mut asked, patience) {
            Ok(n_ready) => Ok(n_ready > 0),
            Err(nix::Error::EINTR) => Ok(!self.is_alive()?),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// File system of pidfds since Linux 6.9 (include/uapi/linux/magic.h).
const PIDFS_MAGIC: nix::libc::c_long = 0x5049_4446;
const PIDFD_INFO_PID: u64 = 1;
/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::Ioctl = 0xC040_FF0B;

/// `struct pidfd_info` in its first version, of 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct PidfdInfo {
    mask: u64,
    cgroupid: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    credentials: [u32; 8],
    exit_code: i32,
}
const _: () = assert!(std::mem::size_of::<PidfdInfo>() == 64);

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_itself_is_alive() {
        let own = PidFd::open(Pid(std::process::id())).unwrap();
        assert!(own.is_alive().unwrap());
    }

    #[test]
    fn a_passed_descriptor_says_which_process_it_holds_by_both_ways() {
        let own = PidFd::open(Pid(std::process::id())).unwrap();
        let passed = PidFd::from_passed(own.0.try_clone().unwrap()).unwrap();
        assert_eq!(passed.pid().unwrap(), Pid(std::process::id()));
        assert_eq!(passed.pid_of_fdinfo().unwrap(), Pid(std::process::id()));
    }

    #[test]
    fn what_is_no_hold_on_a_process_is_not_taken_for_one() {
        for path in ["/dev/null", "/proc/self/maps", "/proc/self", "Cargo.toml"] {
            let file = std::fs::File::open(path).unwrap();
            assert!(PidFd::from_passed(file.into()).is_err(), "{path}");
        }
        let (one, _other) = nix::unistd::pipe().unwrap();
        assert!(PidFd::from_passed(one).is_err());
    }

    #[test]
    fn a_number_that_no_process_has_is_refused() {
        let error = PidFd::open(Pid(u32::MAX)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }

    #[test]
    fn a_process_that_ended_is_not_alive_even_before_it_is_waited_for() {
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let held = PidFd::open(Pid(child.id())).unwrap();
        assert!(held.is_alive().unwrap());
        drop(child.stdin.take());
        let mut asked = [PollFd::new(held.as_fd(), PollFlags::POLLIN)];
        poll(&mut asked, PollTimeout::NONE).unwrap();
        assert!(!held.is_alive().unwrap());
        child.wait().unwrap();
    }
}
