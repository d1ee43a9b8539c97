//! Descriptors that perfd was started with: sockets that a service manager holds, and standard input.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// The first descriptor that a service manager passes (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// More than a service of perfd's is ever passed.
const MOST: usize = 64;

/// Takes the descriptors from 3 on that a service manager has passed, and makes each close-on-exec.
///
/// # Errors
/// It says that there are more than perfd takes, one of them is not open, or they have been taken already.
pub fn passed(n: usize) -> io::Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if n > MOST {
        return Err(io::Error::other(format!(
            "{n} descriptors were passed, more than {MOST}"
        )));
    }
    if n > 0 && TAKEN.swap(true, Ordering::Relaxed) {
        return Err(io::Error::other(
            "the passed descriptors have been taken already",
        ));
    }
    let numbers = (FIRST..).take(n);
    // All of them before one is owned: a number that is not open must not be closed again.
    for number in numbers.clone() {
        // SAFETY: F_GETFD and F_SETFD on a number; the borrow ends with the call, and a number that is not open is an EBADF.
        let fd = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
        fcntl(fd, FcntlArg::F_GETFD)?;
        fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    }
    let own = |number| {
        // SAFETY: the number is open (asked above). That nothing else in perfd owns it is the protocol of the service manager, which gives these
        // numbers to the program's main function; `TAKEN` sees that it is done once.
        unsafe { OwnedFd::from_raw_fd(number) }
    };
    Ok(numbers.map(own).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_passed_is_nothing_taken_and_too_much_is_refused() {
        assert!(passed(0).expect("nothing to take").is_empty());
        assert!(passed(MOST + 1).is_err());
    }
}
