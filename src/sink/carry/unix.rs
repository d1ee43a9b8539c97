//! A unix stream socket that somebody listens on.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::Carry;
use crate::sink::OpenError;

/// A connected unix socket.
#[derive(Debug)]
pub struct UnixCarrier {
    stream: UnixStream,
}

impl UnixCarrier {
    /// Connects. A write that the reader does not take within `timeout` fails.
    pub fn connect(path: &Path, timeout: Duration) -> Result<UnixCarrier, OpenError> {
        let place = || format!("unix:{}", path.display());
        let example = || format!("socat UNIX-LISTEN:{} -", path.display());
        let connected = UnixStream::connect(path).and_then(|stream| {
            stream.set_write_timeout(Some(timeout))?;
            Ok(UnixCarrier { stream })
        });
        connected.map_err(|source| match source.kind() {
            io::ErrorKind::ConnectionRefused => OpenError::NoListener {
                place: place(),
                example: example(),
            },
            io::ErrorKind::NotFound => OpenError::NoSocket {
                place: place(),
                example: example(),
            },
            io::ErrorKind::PermissionDenied => OpenError::Denied {
                path: path.to_owned(),
            },
            _ => OpenError::System {
                place: place(),
                source,
            },
        })
    }
}

impl Write for UnixCarrier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Carry for UnixCarrier {}
