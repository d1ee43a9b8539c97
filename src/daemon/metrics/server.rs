//! A minimal HTTP server: it answers `GET /metrics` and nothing else.
//!
//! Sockets are waited for by a thread each, connections served by one each, a few at a time; every read and write has a deadline. The text
//! is made by the main loop, which is asked for it ([`Question`]).

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, bounded};

use super::text::CONTENT_TYPE;
use crate::sys::Waker;

/// Connections at a time; others are closed.
const MAX_CONNECTIONS: usize = 8;
/// Bytes that a request may have.
const MAX_HEADER: usize = 8 << 10;
/// How long all of a connection may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// The pause after a connection that could not be taken, for want of descriptors for example.
const PAUSE: Duration = Duration::from_millis(100);

/// Somebody waits for the text: it is sent here.
#[derive(Debug)]
pub struct Question(Sender<String>);

impl Question {
    /// Answers it.
    pub fn answer(self, text: String) {
        // Who asked may have given up.
        let _ = self.0.send(text);
    }
}

/// Questions of all sockets.
pub type Answers = Receiver<Question>;

/// Serves the sockets; `waker` is woken for each question.
///
/// # Errors
/// One is no listening socket, or a thread cannot be started.
pub fn serve(sockets: Vec<OwnedFd>, waker: &Waker) -> io::Result<Answers> {
    let (questions, answers) = bounded(MAX_CONNECTIONS);
    let connections = Arc::new(AtomicUsize::new(0));
    for socket in sockets {
        let listener = Listener::of(socket)?;
        let asking = Asking {
            questions: questions.clone(),
            waker: waker.clone(),
            connections: connections.clone(),
        };
        thread::Builder::new()
            .name("perfd-metrics".to_owned())
            .spawn(move || asking.accept_all(&listener))?;
    }
    Ok(answers)
}

enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// A connection.
trait Stream: Read + Write + Send {
    fn set_deadline(&self, rest: Duration) -> io::Result<()>;
}

impl Stream for UnixStream {
    fn set_deadline(&self, rest: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(rest))?;
        self.set_write_timeout(Some(rest))
    }
}

impl Stream for TcpStream {
    fn set_deadline(&self, rest: Duration) -> io::Result<()> {
        self.set_read_timeout(Some(rest))?;
        self.set_write_timeout(Some(rest))
    }
}

impl Listener {
    fn of(socket: OwnedFd) -> io::Result<Listener> {
        // Only a unix socket has an address of that kind.
        let unix = UnixListener::from(socket.try_clone()?);
        if unix.local_addr().is_ok() {
            unix.set_nonblocking(false)?;
            return Ok(Listener::Unix(unix));
        }
        let tcp = TcpListener::from(socket);
        tcp.local_addr()?;
        tcp.set_nonblocking(false)?;
        Ok(Listener::Tcp(tcp))
    }

    fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Listener::Unix(listener) => Box::new(listener.accept()?.0),
            Listener::Tcp(listener) => Box::new(listener.accept()?.0),
        })
    }
}

#[derive(Clone)]
struct Asking {
    questions: Sender<Question>,
    waker: Waker,
    connections: Arc<AtomicUsize>,
}

impl Asking {
    fn accept_all(&self, listener: &Listener) {
        loop {
            let Ok(stream) = listener.accept() else {
                let _ = after(PAUSE).recv();
                continue;
            };
            if self.connections.fetch_add(1, Ordering::AcqRel) >= MAX_CONNECTIONS {
                self.connections.fetch_sub(1, Ordering::AcqRel);
                continue;
            }
            let asking = self.clone();
            let serving = thread::Builder::new()
                .name("perfd-metrics".to_owned())
                .spawn(move || {
                    // A connection that breaks off is its own end.
                    let _ = asking.serve(stream);
                    asking.connections.fetch_sub(1, Ordering::AcqRel);
                });
            if serving.is_err() {
                self.connections.fetch_sub(1, Ordering::AcqRel);
            }
        }
    }

    fn serve(&self, mut stream: Box<dyn Stream>) -> io::Result<()> {
        let until = Instant::now() + DEADLINE;
        let answer = match read_request(&mut *stream, until)? {
            Err(status) => response(status, "text/plain", &format!("{status}\n")),
            Ok(()) => {
                let (sender, text) = bounded(1);
                self.questions
                    .send_timeout(Question(sender), DEADLINE)
                    .map_err(|_| io::ErrorKind::TimedOut)?;
                self.waker.wake();
                let text = text
                    .recv_timeout(DEADLINE)
                    .map_err(|_| io::ErrorKind::TimedOut)?;
                response("200 OK", CONTENT_TYPE, &text)
            }
        };
        stream.set_deadline(DEADLINE)?;
        stream.write_all(answer.as_bytes())?;
        stream.flush()
    }
}

/// Reads a request to the end of its header; the error is the status that it is answered with.
fn read_request(stream: &mut dyn Stream, until: Instant) -> io::Result<Result<(), &'static str>> {
    let mut header = Vec::new();
    let mut piece = [0; 1024];
    loop {
        if let Some(end) = header.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            return Ok(judge(&header[..end]));
        }
        if header.len() >= MAX_HEADER {
            return Ok(Err("431 Request Header Fields Too Large"));
        }
        let rest = until.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Ok(Err("408 Request Timeout"));
        }
        stream.set_deadline(rest)?;
        match stream.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => header.extend_from_slice(&piece[..n]),
        }
    }
}

/// Whether the request is the one that is answered.
fn judge(header: &[u8]) -> Result<(), &'static str> {
    let line = header
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, path, version) = (words.next(), words.next(), words.next());
    let (Some(method), Some(path), Some(version), None) = (method, path, version, words.next())
    else {
        return Err("400 Bad Request");
    };
    if !version.starts_with(b"HTTP/1.") {
        return Err("400 Bad Request");
    }
    if method != b"GET" {
        return Err("405 Method Not Allowed");
    }
    match path.split(|byte| *byte == b'?').next() {
        Some(b"/metrics" | b"/") => Ok(()),
        _ => Err("404 Not Found"),
    }
}

fn response(status: &str, content_type: &str, body: &str) -> String {
    let allow = match status.starts_with("405") {
        true => "Allow: GET\r\n",
        false => "",
    };
    format!(
        "HTTP/1.0 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{allow}X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_request_is_answered_and_the_others_are_refused_in_words() {
        let check = |header: &str, expected: Result<(), &str>| {
            assert_eq!(judge(header.as_bytes()), expected, "{header}");
        };
        check("GET /metrics HTTP/1.1\r\nHost: x", Ok(()));
        check("GET /metrics?x=1 HTTP/1.0", Ok(()));
        check("GET /other HTTP/1.1", Err("404 Not Found"));
        check("POST /metrics HTTP/1.1", Err("405 Method Not Allowed"));
        for nonsense in [
            "",
            "GET",
            "GET /metrics",
            "GET /metrics HTTP/2",
            "GET  /metrics HTTP/1.1",
            "\0\0\0",
        ] {
            check(nonsense, Err("400 Bad Request"));
        }
    }

    /// A server, and what it says to a client that sends `request`.
    fn ask(request: &[u8]) -> String {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("metrics");
        let listener = UnixListener::bind(&path).expect("bound");
        let waker = Waker::new().expect("an eventfd");
        let answers = serve(vec![listener.into()], &waker).expect("served");
        let answering = thread::spawn(move || {
            if let Ok(question) = answers.recv_timeout(DEADLINE) {
                question.answer("perfd_up 1\n".to_owned());
            }
        });
        let mut stream = UnixStream::connect(&path).expect("connected");
        // What is too long is answered before all of it is read.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        drop(answering);
        String::from_utf8(answer).expect("text")
    }

    #[test]
    fn the_text_comes_with_its_length_and_type() {
        let answer = ask(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
        assert!(answer.contains("Content-Length: 11\r\n"), "{answer}");
        assert!(answer.contains("version=0.0.4"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nperfd_up 1\n"), "{answer}");
    }

    #[test]
    fn a_header_without_end_is_refused() {
        let answer = ask(&b"GET /metrics HTTP/1.1\r\nX: "
            .iter()
            .copied()
            .chain([b'x'; MAX_HEADER])
            .collect::<Vec<u8>>());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.0 431"),
            "{answer}"
        );
    }
}
