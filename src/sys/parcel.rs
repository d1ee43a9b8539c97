//! Messages with open files between two processes, over a pair of connected sockets.
//!
//! ```text
//! length u32 · number of files u32 · bytes        little endian; the files come beside the first byte (SCM_RIGHTS)
//! ```
//!
//! Neither end trusts the other: lengths are bounded before memory is taken, memory grows with what has really come, files that were not
//! to be expected are closed by the kernel, and whoever sets a deadline waits no longer, whatever the other does or does not.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recv,
    recvmsg, sendmsg, socketpair,
};

use super::LastMoment;
use super::poller::has_input;

/// Files that one message may carry.
pub const MAX_FILES: usize = 8;
const HEADER: usize = 8;
/// Memory is taken in steps of that many bytes, as they come.
const STEP: usize = 256 << 10;

/// Why a message was not sent or received.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// The other end is closed.
    #[error("the other end is closed")]
    Closed,
    /// The deadline has passed.
    #[error("no answer in time")]
    TimedOut,
    /// The message is larger than it may be, or carries what it may not.
    #[error("a message that may not be")]
    Nonsense,
    /// The system refused.
    #[error("exchange messages")]
    Io(#[from] io::Error),
}

impl From<Errno> for ParcelError {
    fn from(errno: Errno) -> ParcelError {
        match errno {
            Errno::EPIPE | Errno::ECONNRESET => ParcelError::Closed,
            errno => ParcelError::Io(errno.into()),
        }
    }
}

/// What a message may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes.
    pub bytes: usize,
    /// Files.
    pub files: usize,
}

/// One end of a connection.
#[derive(Debug)]
pub struct Parcels {
    socket: OwnedFd,
    last_moment: Option<LastMoment>,
}

impl Parcels {
    /// Two ends; the second is for another process.
    pub fn pair() -> io::Result<(Parcels, OwnedFd)> {
        let (own, other) = socketpair(
            AddressFamily::Unix,
            SockType::Stream,
            None,
            SockFlag::SOCK_CLOEXEC,
        )?;
        Ok((Parcels::of(own), other))
    }

    /// An end that was handed over.
    pub fn of(socket: OwnedFd) -> Parcels {
        Parcels {
            socket,
            last_moment: None,
        }
    }

    /// Waits no longer than until then, whatever deadlines there are.
    pub fn until(self, last_moment: LastMoment) -> Parcels {
        Parcels {
            last_moment: Some(last_moment),
            ..self
        }
    }

    /// Sends a message, at most [`MAX_FILES`] files with it.
    ///
    /// # Errors
    /// The other end is closed, or does not take it before `deadline`.
    pub fn send(
        &self,
        bytes: &[u8],
        files: &[BorrowedFd<'_>],
        deadline: Option<Instant>,
    ) -> Result<(), ParcelError> {
        let length = u32::try_from(bytes.len()).map_err(|_| ParcelError::Nonsense)?;
        let n_files = u32::try_from(files.len()).map_err(|_| ParcelError::Nonsense)?;
        let header = [length.to_le_bytes(), n_files.to_le_bytes()].concat();
        let raw: Vec<RawFd> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let whole = HEADER + bytes.len();
        let mut n_sent = 0;
        while n_sent < whole {
            let parts = [
                IoSlice::new(header.get(n_sent..).unwrap_or_default()),
                IoSlice::new(&bytes[n_sent.saturating_sub(HEADER)..]),
            ];
            let beside = [ControlMessage::ScmRights(&raw)];
            let beside = match n_sent == 0 && !raw.is_empty() {
                true => &beside[..],
                false => &[],
            };
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.socket.as_raw_fd(), &parts, beside, flags, None) {
                Ok(n_bytes) => n_sent += n_bytes,
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLOUT, deadline)?,
                Err(Errno::EINTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Receives a message within `bounds`.
    ///
    /// # Errors
    /// The other end is closed, sends nothing before `deadline`, or what it sends goes beyond the bounds.
    pub fn receive(
        &self,
        bounds: Bounds,
        deadline: Option<Instant>,
    ) -> Result<(Vec<u8>, Vec<OwnedFd>), ParcelError> {
        let mut header = [0; HEADER];
        let (n_read, files) = self.receive_first(&mut header, bounds.files, deadline)?;
        self.fill(&mut header[n_read..], deadline)?;
        let [length, n_files] = [&header[..4], &header[4..]].map(|word| {
            let word: [u8; 4] = word.try_into().unwrap_or_default();
            usize::try_from(u32::from_le_bytes(word)).unwrap_or(usize::MAX)
        });
        if length > bounds.bytes || n_files != files.len() {
            return Err(ParcelError::Nonsense);
        }
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let start = bytes.len();
            bytes.resize(length.min(start + STEP), 0);
            self.fill(&mut bytes[start..], deadline)?;
        }
        Ok((bytes, files))
    }

    /// Waits for a message to begin, or for the other end to be closed.
    ///
    /// # Errors
    /// Nothing comes before `deadline`.
    pub fn wait_for_message(&self, deadline: Instant) -> Result<(), ParcelError> {
        while !has_input(&self.socket) {
            self.wait(PollFlags::POLLIN, Some(deadline))?;
        }
        Ok(())
    }

    /// The first bytes of a message, and the files beside it.
    fn receive_first(
        &self,
        header: &mut [u8],
        max_files: usize,
        deadline: Option<Instant>,
    ) -> Result<(usize, Vec<OwnedFd>), ParcelError> {
        let mut room = nix::cmsg_space!([RawFd; MAX_FILES]);
        loop {
            let mut parts = [IoSliceMut::new(header)];
            // Without room for them the kernel closes what comes.
            let room = (max_files > 0).then_some(room.as_mut_slice());
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let received = recvmsg::<()>(self.socket.as_raw_fd(), &mut parts, room, flags);
            match received {
                Ok(message) if message.bytes == 0 => return Err(ParcelError::Closed),
                Ok(message) => {
                    let mut files = Vec::new();
                    if max_files > 0 {
                        for beside in message.cmsgs()? {
                            if let ControlMessageOwned::ScmRights(raw) = beside {
                                files.extend(raw.into_iter().map(|fd| {
                                    // SAFETY: the kernel has just made this descriptor for us (SCM_RIGHTS,
                                    // unix(7)), and nobody else knows its number.
                                    unsafe { OwnedFd::from_raw_fd(fd) }
                                }));
                            }
                        }
                    }
                    let is_cut = message.flags.contains(MsgFlags::MSG_CTRUNC);
                    return match is_cut || files.len() > max_files {
                        true => Err(ParcelError::Nonsense),
                        false => Ok((message.bytes, files)),
                    };
                }
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN, deadline)?,
                Err(Errno::EINTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn fill(&self, mut buf: &mut [u8], deadline: Option<Instant>) -> Result<(), ParcelError> {
        while !buf.is_empty() {
            match recv(self.socket.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return Err(ParcelError::Closed),
                Ok(n_bytes) => buf = &mut buf[n_bytes..],
                Err(Errno::EAGAIN) => self.wait(PollFlags::POLLIN, deadline)?,
                Err(Errno::EINTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// Waits until there is something to do, or to look at the time again; it may be that the other end is closed.
    fn wait(&self, what: PollFlags, deadline: Option<Instant>) -> Result<(), ParcelError> {
        let mut polled = [PollFd::new(self.socket.as_fd(), what)];
        let left = match (&self.last_moment, deadline) {
            (None, None) => None,
            (None, Some(deadline)) => Some(deadline.saturating_duration_since(Instant::now())),
            (Some(last_moment), _) => Some(last_moment.wait_for(deadline).unwrap_or_default()),
        };
        let timeout = match left {
            None => PollTimeout::NONE,
            Some(Duration::ZERO) => return Err(ParcelError::TimedOut),
            // Up to the next millisecond, so that the last one is not spent polling.
            Some(left) => {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
        };
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

const _: () = assert!(HEADER == 2 * size_of::<u32>());

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::thread;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        bytes: 4 << 20,
        files: 2,
    };

    fn pair() -> (Parcels, Parcels) {
        let (own, other) = Parcels::pair().expect("a pair");
        (own, Parcels::of(other))
    }

    fn file(content: &str) -> File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(content.as_bytes()).expect("written");
        file.rewind().expect("a file");
        file
    }

    #[test]
    fn messages_of_any_size_come_with_their_files_and_in_order() {
        let (own, other) = pair();
        let sizes = [0, 1, STEP, 3 * STEP + 1];
        let sender = thread::spawn(move || {
            for size in sizes {
                let (one, two) = (file("one"), file("two"));
                own.send(&vec![7; size], &[one.as_fd(), two.as_fd()], None)
                    .expect("sent");
            }
        });
        for size in sizes {
            let (bytes, files) = other.receive(BOUNDS, None).expect("received");
            assert_eq!(bytes, vec![7; size]);
            let contents = files.into_iter().map(|fd| {
                let mut content = String::new();
                File::from(fd).read_to_string(&mut content).expect("a file");
                content
            });
            assert_eq!(contents.collect::<Vec<_>>(), ["one", "two"]);
        }
        sender.join().expect("sent");
        assert!(matches!(
            other.receive(BOUNDS, None),
            Err(ParcelError::Closed)
        ));
    }

    #[test]
    fn what_goes_beyond_the_bounds_is_not_taken() {
        let (own, other) = pair();
        own.send(&[1; 100], &[], None).expect("sent");
        let small = Bounds {
            bytes: 99,
            files: 0,
        };
        assert!(matches!(
            other.receive(small, None),
            Err(ParcelError::Nonsense)
        ));
        let (own, other) = pair();
        let one = file("one");
        for files in [0, 1] {
            let sent: Vec<BorrowedFd<'_>> = vec![one.as_fd(); files + 1];
            own.send(b"", &sent, None).expect("sent");
            let bounds = Bounds { bytes: 9, files };
            let received = other.receive(bounds, None);
            assert!(matches!(received, Err(ParcelError::Nonsense)), "{files}");
        }
    }

    #[test]
    fn who_waits_for_a_silent_end_waits_until_its_deadline() {
        let (own, _other) = pair();
        let passed = Some(Instant::now());
        assert!(matches!(
            own.receive(BOUNDS, passed),
            Err(ParcelError::TimedOut)
        ));
        // More than a socket holds, which nobody reads.
        let soon = Some(Instant::now() + Duration::from_millis(1));
        assert!(matches!(
            own.send(&vec![0; 4 << 20], &[], soon),
            Err(ParcelError::TimedOut)
        ));
    }

    #[test]
    fn the_last_moment_ends_a_wait_without_a_deadline() {
        let (own, _other) = pair();
        let last_moment = LastMoment::default();
        let own = own.until(last_moment.clone());
        let waits = thread::spawn(move || own.receive(BOUNDS, None).map(drop));
        last_moment.set(crate::sys::now());
        let waited = waits.join().expect("it does not panic");
        assert!(matches!(waited, Err(ParcelError::TimedOut)));
    }

    #[test]
    fn a_closed_end_is_told_from_a_silent_one() {
        let (own, other) = pair();
        drop(other);
        assert!(matches!(
            own.send(b"x", &[], None),
            Err(ParcelError::Closed)
        ));
        assert!(matches!(
            own.receive(BOUNDS, None),
            Err(ParcelError::Closed)
        ));
    }
}
