//! Unix stream sockets that carry lines and descriptors (`unix(7)`), and who is at the other end.
//!
//! Descriptors come with the first byte of the message that they were sent with. The kernel joins a message that has some to what was sent before it without
//! any, and does not tell where it begins: so [`LineStream::receive`] looks for the end of the line first and reads no further, and what comes
//! with the bytes of a line belongs to it.

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{
    ControlMessage, MsgFlags, getsockopt, recv, send, sendmsg, sockopt::PeerCredentials,
};

/// Descriptors that a message may bring.
pub const MAX_DESCRIPTORS: usize = 4;

/// Room for one control message of as many descriptors: header and data, both aligned.
const CONTROL_BYTES: usize = 32;
/// Bytes of so many descriptors.
const DESCRIPTOR_BYTES: libc::c_uint = 16;
const _: () = assert!(DESCRIPTOR_BYTES as usize == MAX_DESCRIPTORS * mem::size_of::<RawFd>());
// SAFETY: CMSG_SPACE computes a size and touches no memory (cmsg(3)).
const _: () = assert!(unsafe { libc::CMSG_SPACE(DESCRIPTOR_BYTES) } as usize == CONTROL_BYTES);

/// Bytes that are looked at for the end of a line.
const LOOK_AHEAD: usize = 4096;

/// Groups that a peer may be in: more than the kernel allows (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65536;

/// Who connected, as the kernel saw him at that moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Peer {
    /// Whether one of the peer's groups is this one.
    pub fn is_in(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

/// A socket that listens, non-blocking.
#[derive(Debug)]
pub struct LineListener(UnixListener);

impl LineListener {
    /// Makes a socket that everybody may connect to. A socket of that path on which nobody listens any more is replaced.
    ///
    /// # Errors
    /// `AddrInUse` if somebody listens there, or it is no socket.
    pub fn bind(path: &Path) -> io::Result<LineListener> {
        let is_left_over = || {
            let is_socket =
                std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
            let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            is_socket && UnixStream::connect(path).is_err_and(refused)
        };
        if is_left_over() {
            std::fs::remove_file(path)?;
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        LineListener::from_listener(listener)
    }

    /// Takes over a socket that a service manager has made.
    pub fn from_fd(fd: OwnedFd) -> io::Result<LineListener> {
        LineListener::from_listener(UnixListener::from(fd))
    }

    fn from_listener(listener: UnixListener) -> io::Result<LineListener> {
        listener.set_nonblocking(true)?;
        Ok(LineListener(listener))
    }

    /// The next client, if one is waiting.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`: no descriptor left for it; it goes on waiting.
    pub fn accept(&self) -> io::Result<Option<LineStream>> {
        loop {
            return match self.0.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    Ok(Some(LineStream(stream)))
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => Ok(None),
                    // It has gone again while it waited.
                    Some(libc::EINTR | libc::ECONNABORTED) => continue,
                    _ => Err(error),
                },
            };
        }
    }
}

impl AsFd for LineListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What came at once.
#[derive(Debug)]
pub enum Received {
    /// So many bytes, of one line at most, and what came with them.
    Bytes(usize, Vec<OwnedFd>),
    /// So many bytes; with them came more descriptors than may, or than perfd has room for. All are closed.
    TooManyDescriptors(usize),
    /// Nothing at present.
    Nothing,
    /// The other end sends no more.
    End,
}

/// A connected socket.
#[derive(Debug)]
pub struct LineStream(UnixStream);

impl LineStream {
    /// Connects and blocks where it must: for clients.
    pub fn connect(path: &Path) -> io::Result<LineStream> {
        UnixStream::connect(path).map(LineStream)
    }

    /// Two ends, non-blocking.
    pub fn pair() -> io::Result<(LineStream, LineStream)> {
        let (one, other) = UnixStream::pair()?;
        one.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        Ok((LineStream(one), LineStream(other)))
    }

    /// Who is at the other end.
    pub fn peer(&self) -> io::Result<Peer> {
        let credentials = getsockopt(&self.0, PeerCredentials)?;
        Ok(Peer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            groups: peer_groups(self.as_fd())?,
        })
    }

    /// Reads into `buffer`, to the end of the line at most.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        let length = buffer.len().min(LOOK_AHEAD);
        let fd = self.0.as_raw_fd();
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        let seen = match recv(fd, &mut buffer[..length], flags) {
            Ok(0) => return Ok(Received::End),
            Ok(n) => n,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(Received::Nothing),
            Err(errno) => return Err(errno.into()),
        };
        let line_end = buffer[..seen].iter().position(|byte| *byte == b'\n');
        let wanted = line_end.map_or(seen, |at| at + 1);
        receive_with_descriptors(self.as_fd(), &mut buffer[..wanted])
    }

    /// Writes what the socket takes at once; `None` if that is nothing at present.
    ///
    /// # Errors
    /// `EPIPE` if the other end is closed; no signal is sent.
    pub fn send(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        match send(self.0.as_raw_fd(), bytes, flags) {
            Ok(n) => Ok(Some(n)),
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes all, the descriptors with the first byte; blocks where it must.
    pub fn send_all(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let mut control: &[ControlMessage<'_>] = match numbers.is_empty() {
            true => &[],
            false => &rights,
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            let parts = [IoSlice::new(rest)];
            match sendmsg::<()>(
                self.0.as_raw_fd(),
                &parts,
                control,
                MsgFlags::MSG_NOSIGNAL,
                None,
            ) {
                Ok(n) => {
                    rest = &rest[n..];
                    control = &[];
                }
                Err(nix::Error::EINTR) => (),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// The stream itself, for a client that reads with the standard library.
    pub fn into_stream(self) -> UnixStream {
        self.0
    }

    /// A second handle of the same connection.
    pub fn try_clone(&self) -> io::Result<LineStream> {
        self.0.try_clone().map(LineStream)
    }
}

/// Blocks or not as it did; what is received comes at once or not at all.
impl From<UnixStream> for LineStream {
    fn from(stream: UnixStream) -> LineStream {
        LineStream(stream)
    }
}

impl AsFd for LineStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Memory for control messages, aligned as their headers are.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

fn receive_with_descriptors(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: all zeroes are a valid msghdr: null pointers and lengths of 0.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: the message points to `part`, which points to `buffer`, and to `control`; all three live in this frame or its caller's and are
    // as long as the lengths say (recvmsg(2)).
    let n = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
    let Ok(n) = usize::try_from(n) else {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::EAGAIN | libc::EINTR) => Ok(Received::Nothing),
            _ => Err(error),
        };
    };
    let descriptors = descriptors_of(&message);
    Ok(match (n, message.msg_flags & libc::MSG_CTRUNC) {
        (0, _) => Received::End,
        (n, 0) => Received::Bytes(n, descriptors),
        (n, _) => Received::TooManyDescriptors(n),
    })
}

/// Takes ownership of the descriptors in a message that the kernel has just filled in. Called once for each.
fn descriptors_of(message: &libc::msghdr) -> Vec<OwnedFd> {
    let mut descriptors = Vec::new();
    // SAFETY: msg_control and msg_controllen are those that recvmsg has set, within `control` of the caller.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give null or a whole, aligned header within the control memory (cmsg(3)).
    while let Some(found) = unsafe { header.as_ref() } {
        if (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            // SAFETY: a size; no memory is touched.
            let head = unsafe { libc::CMSG_LEN(0) } as usize;
            let n = found.cmsg_len.saturating_sub(head) / mem::size_of::<RawFd>();
            for idx in 0..n {
                // SAFETY: a pointer behind the header, which is whole (above).
                let data = unsafe { libc::CMSG_DATA(header) }.cast::<RawFd>();
                // SAFETY: the data of the header are `cmsg_len − head` bytes of descriptors, which `idx` is within.
                let at = unsafe { data.add(idx) };
                // SAFETY: as above; it may not be aligned on every platform, hence `read_unaligned`.
                let number = unsafe { at.read_unaligned() };
                // SAFETY: the kernel has just made this descriptor for us (SCM_RIGHTS in unix(7)); nobody else owns it.
                descriptors.push(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        // SAFETY: as CMSG_FIRSTHDR above.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
    descriptors
}

/// `SO_PEERGROUPS`, of Linux 4.13.
fn peer_groups(fd: BorrowedFd<'_>) -> io::Result<Vec<u32>> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut bytes = libc::socklen_t::try_from(mem::size_of_val(groups.as_slice()))
            .map_err(io::Error::other)?;
        // SAFETY: the kernel writes at most `bytes` bytes to `groups`, which has as many, and then how many there are to `bytes`.
        let outcome = unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let n = bytes as usize / mem::size_of::<libc::gid_t>();
        if outcome == 0 {
            groups.truncate(n);
            return Ok(groups);
        }
        let error = io::Error::last_os_error();
        // Too small: `bytes` says how much it takes.
        if error.raw_os_error() != Some(libc::ERANGE) || n > MAX_GROUPS || n <= groups.len() {
            return Err(error);
        }
        groups.resize(n, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn files(n: usize) -> Vec<File> {
        (0..n).map(|_| File::open("/dev/null").unwrap()).collect()
    }

    fn borrowed(files: &[File]) -> Vec<BorrowedFd<'_>> {
        files.iter().map(AsFd::as_fd).collect()
    }

    #[test]
    fn descriptors_come_with_the_line_that_they_were_sent_with() {
        let (client, server) = LineStream::pair().unwrap();
        let files = files(2);
        client.send_all(b"first\n", &[]).unwrap();
        client.send_all(b"second\nthi", &borrowed(&files)).unwrap();
        client.send_all(b"rd\n", &[]).unwrap();
        let mut buffer = [0; 64];
        let mut lines = Vec::new();
        while let Received::Bytes(n, descriptors) = server.receive(&mut buffer).unwrap() {
            lines.push((buffer[..n].to_vec(), descriptors.len()));
        }
        let expected = [(b"first\n".to_vec(), 0), (b"second\n".to_vec(), 2)];
        assert_eq!(lines[..2], expected);
        let third: Vec<u8> = lines[2..]
            .iter()
            .flat_map(|(bytes, _)| bytes.clone())
            .collect();
        assert_eq!(third, b"third\n");
        assert!(lines[2..].iter().all(|(_, n)| *n == 0));
        drop(client);
        assert!(matches!(
            server.receive(&mut buffer).unwrap(),
            Received::End
        ));
    }

    #[test]
    fn more_descriptors_than_may_come_are_all_closed() {
        let (client, server) = LineStream::pair().unwrap();
        // Told apart from other tests' descriptors by the file.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("passed");
        let files: Vec<File> = (0..9).map(|_| File::create(&path).unwrap()).collect();
        client.send_all(b"x\n", &borrowed(&files)).unwrap();
        drop(files);
        let mut buffer = [0; 64];
        let received = server.receive(&mut buffer).unwrap();
        assert!(
            matches!(received, Received::TooManyDescriptors(2)),
            "{received:?}"
        );
        let links = std::fs::read_dir("/proc/self/fd").unwrap();
        let is_left = |entry: &std::fs::DirEntry| {
            std::fs::read_link(entry.path()).is_ok_and(|target| target == path)
        };
        assert_eq!(links.filter_map(Result::ok).filter(is_left).count(), 0);
    }

    #[test]
    fn a_closed_end_is_an_error_of_the_write_and_a_full_one_takes_nothing() {
        let (client, server) = LineStream::pair().unwrap();
        let block = [b'x'; 4096];
        while server.send(&block).unwrap().is_some() {}
        drop(client);
        let error = server.send(&block).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
    }

    #[test]
    fn the_peer_is_who_connected_with_all_groups() {
        let (client, _server) = LineStream::pair().unwrap();
        let peer = client.peer().unwrap();
        assert_eq!(peer.uid, nix::unistd::geteuid().as_raw());
        assert!(peer.is_in(nix::unistd::getegid().as_raw()));
        let mut own: Vec<u32> = nix::unistd::getgroups()
            .unwrap()
            .iter()
            .map(|gid| gid.as_raw())
            .collect();
        let mut groups = peer.groups;
        own.sort_unstable();
        groups.sort_unstable();
        assert_eq!(groups, own);
    }

    #[test]
    fn a_socket_that_was_left_over_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let first = LineListener::bind(&path).unwrap();
        let error = LineListener::bind(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = LineListener::bind(&path).unwrap();
        // Looking whether it is in use has left a connection to the first one alone.
        assert!(second.accept().unwrap().is_none());
        let _client = LineStream::connect(&path).unwrap();
        assert!(second.accept().unwrap().is_some());
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o666);
    }
}
