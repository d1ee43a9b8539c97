//! Places that clients have opened and passed: checked, and each written by a thread of its own.
//!
//! A write goes as far as the client's own open went: its file, its quota, its offset. But some files act on who *writes*, and that is perfd, with rights that
//! the client lacks: files of `/proc`, `/sys` and their like, netlink, a socket at whose other end somebody asks who sent this. Those are
//! refused. So is whatever is not open for writing, or can be nothing but a mistake.
//!
//! A thread that is stuck in a write (a full FIFO, a file of a server that does not answer) costs its own output and nothing else: what comes
//! meanwhile is merged, window by window, so that it grows with distinct stacks and not with time, and only as far as there is room.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockType, SockaddrLike, SockaddrStorage, UnixAddr, getpeername, getsockname,
    getsockopt, sockopt,
};
use nix::sys::stat::{SFlag, fstat};
use nix::sys::statfs::fstatfs;

use super::bare::bare;
use super::clients::PhasedWindow;
use super::kept::Kept;
use crate::aggregate::{merge_into, profile_bytes};
use crate::control::{OutputFormat, Phase};
use crate::model::{Fault, FaultClass, Profile};
use crate::sink::View;
use crate::sink::encode::{folded, functions, json, svg};
use crate::sink::pprof::{self, Labels};
use crate::sys::Waker;

/// File systems whose files do something when they are written to, with the rights of the writer (include/uapi/linux/magic.h).
const ACTING: [(i64, &str); 15] = [
    (0x9fa0, "procfs"),
    (0x6265_6572, "sysfs"),
    (0x27_e0eb, "cgroup"),
    (0x6367_7270, "cgroup"),
    (0x6462_6720, "debugfs"),
    (0x7472_6163, "tracefs"),
    (0x7363_6673, "securityfs"),
    (0xcafe_4a11, "bpf"),
    (0xf97c_ff8c, "selinuxfs"),
    (0x4341_5d53, "smackfs"),
    (0xde5e_81e4, "efivarfs"),
    (0x4249_4e4d, "binfmt_misc"),
    (0x6265_6570, "configfs"),
    (0x0765_5821, "resctrl"),
    (0xabba_1974, "xenfs"),
];

/// Phases that may wait for a thread that is behind.
const MAX_WAITING: usize = 16;

/// A descriptor that may be written to.
#[derive(Debug)]
pub struct Writable {
    file: File,
    /// Whether it may have something of ours in it.
    is_begun: bool,
}

impl Writable {
    /// Looks at what a client has passed.
    ///
    /// # Errors
    /// What it is instead, in words about the client's own descriptor.
    pub fn check(fd: OwnedFd) -> Result<Writable, Fault> {
        match refusal(fd.as_fd()) {
            Ok(None) => Ok(Writable {
                file: File::from(fd),
                is_begun: false,
            }),
            Ok(Some(reason)) => Err(Fault::new(
                FaultClass::OutputFailed,
                format!("the descriptor for output {reason}"),
            )
            .hint("pass a regular file, a FIFO, one end of a socket pair or a TCP connection, open for writing")),
            Err(error) => Err(Fault::new(
                FaultClass::OutputFailed,
                format!("look at the descriptor for output: {error}"),
            )),
        }
    }

    /// Takes away what was in a file that is written from its beginning on: not before there is something in its place, and of what goes behind
    /// something else (`>>`) nothing. Whoever can open a file for writing can do that too.
    fn begin(&mut self) -> io::Result<()> {
        if self.is_begun {
            return Ok(());
        }
        self.is_begun = true;
        let metadata = self.file.metadata()?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Ok(());
        }
        let flags = OFlag::from_bits_retain(fcntl(&self.file, FcntlArg::F_GETFL)?);
        match flags.contains(OFlag::O_APPEND) || self.file.stream_position()? > 0 {
            true => Ok(()),
            false => self.file.set_len(0),
        }
    }

    /// Writes all; waits where the client has made the descriptor non-blocking.
    pub(super) fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        self.begin()?;
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut asked = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut asked, PollTimeout::NONE) {
                        Ok(_) | Err(nix::Error::EINTR) => (),
                        Err(errno) => return Err(errno.into()),
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Why a descriptor is not written to.
fn refusal(fd: BorrowedFd<'_>) -> nix::Result<Option<String>> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    if flags.contains(OFlag::O_PATH) {
        return Ok(Some("is open with O_PATH".to_owned()));
    }
    if flags & OFlag::O_ACCMODE == OFlag::O_RDONLY {
        return Ok(Some("is not open for writing".to_owned()));
    }
    let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
    match kind {
        SFlag::S_IFREG => {
            let found = fstatfs(fd)?.filesystem_type().0;
            let acting = ACTING.iter().find(|(magic, _)| *magic == found);
            Ok(acting.map(|(_, name)| format!("is a file of {name}, which acts on who writes")))
        }
        SFlag::S_IFIFO => Ok(None),
        SFlag::S_IFSOCK => refused_socket(fd),
        SFlag::S_IFDIR => Ok(Some("is a directory".to_owned())),
        _ => Ok(Some(
            "is neither a regular file nor a FIFO nor a socket".to_owned(),
        )),
    }
}

fn refused_socket(fd: BorrowedFd<'_>) -> nix::Result<Option<String>> {
    if getsockopt(&fd, sockopt::SockType)? != SockType::Stream {
        return Ok(Some("is no stream socket".to_owned()));
    }
    let raw = fd.as_raw_fd();
    let family = getsockname::<SockaddrStorage>(raw)?.family();
    Ok(match family {
        Some(AddressFamily::Inet | AddressFamily::Inet6) => None,
        // A service with a name may ask the kernel who sent what it reads, and would hear: perfd.
        Some(AddressFamily::Unix) => {
            let peer = getpeername::<UnixAddr>(raw)?;
            let has_name = peer.path().is_some() || peer.as_abstract().is_some();
            has_name.then(|| "is connected to a unix socket with a name".to_owned())
        }
        _ => Some("is a socket of another kind".to_owned()),
    })
}

/// How an output is written.
#[derive(Clone, Debug)]
pub struct OutputSpec {
    /// In which form.
    pub format: OutputFormat,
    /// The event that is shown, where the form shows one.
    pub view: View,
    /// What a pprof says of all its samples.
    pub labels: Labels,
    /// Its memory.
    pub room: Room,
}

/// Bytes of memory that an output may take, as estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// For windows that wait for the thread. The newest one as it came does not count: others have it too.
    pub waiting: u64,
    /// For all of it, in forms that are written at the end; the lightest stacks beyond stand in one line.
    pub whole: u64,
}

/// What an output is at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutputState {
    /// It takes windows.
    Open,
    /// All is written, and the descriptor closed.
    Done,
    /// The reader has closed it.
    Closed,
    /// It takes nothing any more.
    Failed(String),
}

/// A passed place that windows go to.
#[derive(Debug)]
pub struct Output {
    shared: Arc<Shared>,
    /// Bytes that may wait.
    room: u64,
}

#[derive(Debug)]
struct Shared {
    mailbox: Mutex<Mailbox>,
    changed: Condvar,
}

#[derive(Debug)]
struct Mailbox {
    waiting: VecDeque<(Option<Phase>, Arc<Profile>)>,
    merged: u64,
    dropped: u64,
    is_ended: bool,
    state: OutputState,
}

impl Shared {
    /// A panic of the writer leaves a mailbox that is whole: each change of it is one assignment.
    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Output {
    /// Starts the thread. `waker` is woken when the state changes.
    pub fn start(to: Writable, spec: OutputSpec, waker: Waker) -> io::Result<Output> {
        let shared = Arc::new(Shared {
            mailbox: Mutex::new(Mailbox {
                waiting: VecDeque::new(),
                merged: 0,
                dropped: 0,
                is_ended: false,
                state: OutputState::Open,
            }),
            changed: Condvar::new(),
        });
        let (theirs, room) = (shared.clone(), spec.room.waiting);
        thread::Builder::new()
            .name("perfd-output".to_owned())
            .spawn(move || {
                let state = match write_all(to, &spec, &theirs) {
                    Ok(()) => OutputState::Done,
                    Err(error) => match error.kind() {
                        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                            OutputState::Closed
                        }
                        _ => OutputState::Failed(error.to_string()),
                    },
                };
                let mut mailbox = theirs.lock();
                mailbox.state = state;
                mailbox.waiting.clear();
                drop(mailbox);
                waker.wake();
            })?;
        Ok(Output { shared, room })
    }

    /// Puts a window into the mailbox; never waits for the thread.
    pub fn window(&self, window: &PhasedWindow) {
        let mut mailbox = self.shared.lock();
        if mailbox.state != OutputState::Open {
            return;
        }
        let waiting = mailbox.waiting.iter();
        let n_bytes: u64 = waiting.map(|(_, profile)| profile_bytes(profile)).sum();
        let has_room = n_bytes + profile_bytes(&window.profile) <= self.room;
        if let Some((phase, profile)) = mailbox.waiting.back_mut()
            && *phase == window.phase
            && has_room
        {
            merge_into(Arc::make_mut(profile), &window.profile);
            mailbox.merged += 1;
        } else if mailbox.waiting.is_empty() || has_room && mailbox.waiting.len() < MAX_WAITING {
            let window = (window.phase.clone(), window.profile.clone());
            mailbox.waiting.push_back(window);
        } else {
            mailbox.dropped += 1;
        }
        drop(mailbox);
        self.shared.changed.notify_one();
    }

    /// There will be no more windows: what waits is written, then what a form writes at its end, and the descriptor is closed.
    pub fn end(&self) {
        self.shared.lock().is_ended = true;
        self.shared.changed.notify_one();
    }

    /// What it is at.
    pub fn state(&self) -> OutputState {
        self.shared.lock().state.clone()
    }

    /// Windows that were merged into others, and windows that had no room, because the thread was behind.
    pub fn merged_and_dropped(&self) -> (u64, u64) {
        let mailbox = self.shared.lock();
        (mailbox.merged, mailbox.dropped)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.end();
    }
}

/// Until the end, or the first write that fails.
fn write_all(mut to: Writable, spec: &OutputSpec, shared: &Shared) -> io::Result<()> {
    let mut whole = Kept::new(spec.room.whole);
    let mut first = None;
    loop {
        let mut mailbox = shared.lock();
        while mailbox.waiting.is_empty() && !mailbox.is_ended {
            mailbox = shared
                .changed
                .wait(mailbox)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let next = mailbox.waiting.pop_front();
        drop(mailbox);
        let Some((_, window)) = next else {
            break;
        };
        first.get_or_insert(window.span);
        let window = match spec.format {
            OutputFormat::Pprof => window,
            _ => Arc::new(bare(&window)),
        };
        match spec.format {
            OutputFormat::Folded => to.encode(|out| folded::encode(&window, spec.view, out))?,
            OutputFormat::Jsonl => to.encode(|out| json::encode_window(&window, out))?,
            _ => (),
        }
        match spec.format {
            OutputFormat::Folded => (),
            // Those that are written at once need the account alone at their end.
            OutputFormat::Jsonl | OutputFormat::Json => whole.add(&Profile {
                rows: Vec::new(),
                ..Profile::clone(&window)
            }),
            _ => whole.add(&window),
        }
    }
    let (Some(whole), Some(first)) = (whole.since_start(), first) else {
        return to.begin();
    };
    let whole = &whole.profile;
    match spec.format {
        OutputFormat::Folded => to.begin(),
        OutputFormat::Functions => to.encode(|out| functions::encode(whole, spec.view, out)),
        OutputFormat::Svg => to.encode(|out| svg::encode(whole, spec.view, out)),
        OutputFormat::Json => to.encode(|out| json::encode(whole, first, out)),
        OutputFormat::Jsonl => to.encode(|out| json::encode_end(whole, first, out)),
        OutputFormat::Pprof => to.encode(|out| pprof::encode(whole, &spec.labels, spec.view, out)),
    }
}

impl Writable {
    /// A window stands in the output whole, as far as writes go: it is encoded before the first byte is written.
    fn encode(&mut self, encode: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
        let mut bytes = Vec::new();
        encode(&mut bytes)?;
        self.put(&bytes)
    }
}

#[cfg(test)]
mod tests;
