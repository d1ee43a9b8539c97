//! A TCP socket that somebody listens on.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Carry;
use crate::sink::OpenError;

/// A connected TCP socket.
#[derive(Debug)]
pub struct TcpCarrier {
    stream: TcpStream,
}

impl TcpCarrier {
    /// Connects to the first of the host's addresses that answers. Each step, and later each write, fails if it takes
    /// longer than `timeout`.
    pub fn connect(address: &str, timeout: Duration) -> Result<TcpCarrier, OpenError> {
        connect(address, timeout).map_err(|source| {
            let place = format!("tcp:{address}");
            match source.kind() {
                io::ErrorKind::ConnectionRefused => OpenError::NoListener {
                    example: format!("nc -l {}", address.rsplit(':').next().unwrap_or(address)),
                    place,
                },
                io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                    OpenError::TimedOut { place, timeout }
                }
                _ => OpenError::System { place, source },
            }
        })
    }
}

fn connect(address: &str, timeout: Duration) -> io::Result<TcpCarrier> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, timeout) {
            Ok(stream) => {
                stream.set_write_timeout(Some(timeout))?;
                // A window is written in few large pieces and must not wait for the next one.
                stream.set_nodelay(true)?;
                return Ok(TcpCarrier { stream });
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Write for TcpCarrier {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Carry for TcpCarrier {}
