//! What goes wrong with a sink: before the run, and during it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why an output cannot be opened. The second line of the text is the remedy.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The path is a directory.
    #[error("write {path}: it is a directory\n  try: -o {}", path.join("perfd.folded").display())]
    IsDirectory {
        /// As typed.
        path: PathBuf,
    },
    /// The directory of the file is missing.
    #[error("write {path}: there is no such directory\n  try: mkdir -p {folder}")]
    NoDirectory {
        /// As typed.
        path: PathBuf,
        /// What is missing.
        folder: PathBuf,
    },
    /// Not allowed.
    #[error(
        "write {path}: permission denied\n  try: a path in a directory that you may write, or -o - for standard output"
    )]
    Denied {
        /// As typed.
        path: PathBuf,
    },
    /// A FIFO that nobody reads.
    #[error(
        "write {path}: it is a FIFO and has no reader\n  start the reader first, for example: cat {path} &"
    )]
    NoReader {
        /// As typed.
        path: PathBuf,
    },
    /// A path that is a socket.
    #[error("write {path}: it is a socket\n  try: -o unix:{path}")]
    IsSocket {
        /// As typed.
        path: PathBuf,
    },
    /// Nobody listens on the socket.
    #[error(
        "connect {place}: nobody listens there\n  start the reader first, for example: {example}"
    )]
    NoListener {
        /// The socket.
        place: String,
        /// A command that listens.
        example: String,
    },
    /// There is no such socket.
    #[error(
        "connect {place}: there is no such socket\n  start the reader first, for example: {example}"
    )]
    NoSocket {
        /// The socket.
        place: String,
        /// A command that listens.
        example: String,
    },
    /// No answer in time.
    #[error("connect {place}: no answer within {timeout:?}")]
    TimedOut {
        /// The socket.
        place: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// Any other answer of the system.
    #[error("open {place}")]
    System {
        /// The place.
        place: String,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

/// Why a write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The reader has gone away: a pipe or socket was closed at the other end.
    #[error("write {place}: the reader has closed it")]
    Closed {
        /// The place.
        place: String,
    },
    /// The reader has not taken anything for too long.
    #[error("write {place}: the reader has taken nothing for {timeout:?}")]
    Stalled {
        /// The place.
        place: String,
        /// How long was waited.
        timeout: Duration,
    },
    /// An earlier write has failed in mid-text, so that nothing can follow it.
    #[error("write {place}: an earlier write has failed")]
    Broken {
        /// The place.
        place: String,
    },
    /// Disk full and the like.
    #[error("write {place}")]
    Io {
        /// The place.
        place: String,
        /// The system's word.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// Whether it is a matter of permission.
    pub fn is_denied(&self) -> bool {
        matches!(self, OpenError::Denied { .. })
            || matches!(self, OpenError::System { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether perfd itself has no descriptor left, whatever the place is like.
    pub fn is_out_of_descriptors(&self) -> bool {
        matches!(self, OpenError::System { source, .. } if source.raw_os_error() == Some(libc::EMFILE))
    }
}

impl WriteError {
    /// Whether the reader simply had enough, which ends its output quietly.
    pub fn is_closed(&self) -> bool {
        matches!(self, WriteError::Closed { .. })
    }

    pub(super) fn of(place: &str, source: io::Error, timeout: Option<Duration>) -> WriteError {
        let place = place.to_owned();
        match (source.kind(), timeout) {
            (io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset, _) => {
                WriteError::Closed { place }
            }
            (io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut, Some(timeout)) => {
                WriteError::Stalled { place, timeout }
            }
            _ => WriteError::Io { place, source },
        }
    }
}
