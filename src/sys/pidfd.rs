//! A hold on one process that survives the reuse of its number (`pidfd_open(2)`).
//!
//! A pid read from the command line may belong to somebody else a moment later; a pidfd taken first and
//! asked again after each step says whether everything done in between was done to the same process.
//! It does not wait for a child's status: `spawn::Child` does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

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
