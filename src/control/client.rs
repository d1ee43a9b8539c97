//! A client's end of a connection: asks, and waits for the answer; hears events.
//!
//! Blocks. Events that come while an answer is waited for are kept, in order.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::{Asked, Event, Greeting, Message, Refusal, Request, VERSION};
use crate::sys::unix_socket::LineStream;

/// Bytes that a line of the daemon may have: beyond all that it sends.
const MAX_LINE: u64 = 256 << 20;

/// A connection to the daemon.
#[derive(Debug)]
pub struct Connection {
    writer: LineStream,
    reader: BufReader<UnixStream>,
    events: VecDeque<Event>,
    next_id: u64,
    /// The daemon's version.
    pub perfd: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens, or it may not be connected to.
    #[error("connect")]
    Connect(#[source] io::Error),
    /// The connection failed.
    #[error("talk to the daemon")]
    Io(#[from] io::Error),
    /// The daemon has closed the connection.
    #[error("the daemon has closed the connection")]
    Closed,
    /// The daemon has said why it closes the connection.
    #[error("the daemon has closed the connection: {}", .0.message)]
    Farewell(Refusal),
    /// What was asked for was not done.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// It speaks, but something else.
    #[error("what the daemon says is not understood")]
    Malformed(#[from] serde_json::Error),
    /// It speaks another version.
    #[error(
        "the daemon (perfd {perfd}) speaks version {protocol} of the protocol, and this program version {VERSION}"
    )]
    Version {
        /// The daemon's version.
        perfd: String,
        /// Its protocol's.
        protocol: u32,
    },
}

impl Connection {
    /// Connects and hears the greeting.
    pub fn open(path: &Path) -> Result<Connection, ClientError> {
        let writer = LineStream::connect(path).map_err(ClientError::Connect)?;
        let reader = BufReader::new(writer.try_clone()?.into_stream());
        let mut connection = Connection {
            writer,
            reader,
            events: VecDeque::new(),
            next_id: 1,
            perfd: String::new(),
        };
        let line = connection.line()?;
        let greeting: Greeting = match serde_json::from_slice(&line) {
            Ok(greeting) => greeting,
            // It may have been turned away instead.
            Err(error) => {
                return Err(match Message::parse(&line) {
                    Ok(Message::Event(Event::Farewell(refusal))) => ClientError::Refused(refusal),
                    _ => error.into(),
                });
            }
        };
        if greeting.protocol != VERSION {
            return Err(ClientError::Version {
                perfd: greeting.perfd,
                protocol: greeting.protocol,
            });
        }
        connection.perfd = greeting.perfd;
        Ok(connection)
    }

    /// Asks, and waits for the answer to it.
    ///
    /// # Errors
    /// Among others: the daemon has refused it.
    pub fn ask<T: DeserializeOwned>(
        &mut self,
        request: Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<T, ClientError> {
        let asked = Asked {
            id: Some(self.next_id),
            request,
        };
        self.next_id += 1;
        // A daemon that turns a client away does not read what it asks; why stands in what it has sent.
        let sent = self.writer.send_all(&asked.line(), descriptors);
        loop {
            match self.message() {
                Ok(Message::Done { id, ok }) if id == asked.id => return Ok(Message::read(ok)?),
                Ok(Message::Refused { id, refusal }) if id == asked.id || id.is_none() => {
                    return Err(ClientError::Refused(refusal));
                }
                Ok(Message::Event(event)) => self.events.push_back(event),
                Ok(_) => (),
                Err(ClientError::Closed) => {
                    sent?;
                    return Err(ClientError::Closed);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next event; waits for it.
    pub fn event(&mut self) -> Result<Event, ClientError> {
        if let Some(event) = self.events.pop_front() {
            return Ok(event);
        }
        loop {
            if let Message::Event(event) = self.message()? {
                return Ok(event);
            }
        }
    }

    /// Whether something of the daemon's has been received and not been heard yet; else the descriptor says when there is more.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty() || !self.reader.buffer().is_empty()
    }

    fn message(&mut self) -> Result<Message, ClientError> {
        let line = self.line()?;
        match Message::parse(&line)? {
            Message::Event(Event::Farewell(refusal)) => Err(ClientError::Farewell(refusal)),
            message => Ok(message),
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, ClientError> {
        let mut line = Vec::new();
        let n = match (&mut self.reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)
        {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => return Err(error.into()),
        };
        match (n, line.last()) {
            (0, _) => Err(ClientError::Closed),
            (_, Some(b'\n')) => Ok(line),
            // Cut by its end, or longer than anything.
            _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.get_ref().as_fd()
    }
}
