//! A client of the control socket, as docs/PROTOCOL.md has it, without the help of perfd's own.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Cursor, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::{Value, json};

/// How long an answer may take: only a test that has failed waits for so long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A connection.
pub struct Client {
    stream: UnixStream,
    lines: Box<dyn BufRead + Send>,
    /// What came unasked while an answer was waited for.
    events: VecDeque<Value>,
}

impl Client {
    /// Connects; the daemon's farewell, if it takes no more clients.
    pub fn connect(path: &Path) -> Result<Client, Value> {
        let stream = UnixStream::connect(path).expect("the control socket");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("a time limit");
        let reader = stream.try_clone().expect("a descriptor");
        let mut client = Client {
            stream,
            lines: Box::new(BufReader::new(reader)),
            events: VecDeque::new(),
        };
        match client.line() {
            Some(greeting) if greeting["protocol"] == 1 => Ok(client),
            Some(farewell) => Err(farewell["farewell"].clone()),
            None => Err(Value::Null),
        }
    }

    /// From now on all that comes is read at once, whether anybody asks for it or not.
    pub fn reads_ahead(self) -> Client {
        let Client {
            stream,
            mut lines,
            events,
        } = self;
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            while lines.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0)
                && send.send(std::mem::take(&mut bytes)).is_ok()
            {}
        });
        let lines = Box::new(BufReader::new(Ahead {
            lines: receive,
            rest: Cursor::default(),
        }));
        Client {
            stream,
            lines,
            events,
        }
    }

    /// A request and its answer.
    pub fn ask(&mut self, mut request: Value) -> Result<Value, Value> {
        request["id"] = json!(1);
        self.send(format!("{request}\n").as_bytes())
            .expect("the daemon reads");
        loop {
            let mut line = self.line().expect("an answer");
            if line["id"] == 1 {
                let refused = line.get("error").cloned();
                return refused.map_or_else(|| Ok(line["ok"].take()), Err);
            }
            self.events.push_back(line);
        }
    }

    /// A request that must be done. A test that looks again and again may ask faster than a client may: then it is made once more.
    pub fn done(&mut self, request: Value) -> Value {
        let is_too_soon = |error: &Value| {
            let message = error["message"].as_str().unwrap_or_default();
            message.contains("requests in a second")
        };
        loop {
            match self.ask(request.clone()) {
                Ok(answer) => return answer,
                Err(error) if is_too_soon(&error) => std::thread::yield_now(),
                Err(error) => panic!("{request}: {error}"),
            }
        }
    }

    /// A request that must be done, and that is made again while the answer is that there are too many for the moment.
    pub fn in_the_end(&mut self, request: Value) -> Result<Value, Value> {
        loop {
            match self.ask(request.clone()) {
                Err(error) if error["class"] == "limit" => std::thread::yield_now(),
                answer => return answer,
            }
        }
    }

    /// Attaches to a process; the target's number.
    pub fn attach(&mut self, pid: u32) -> u64 {
        let attached = self.done(json!({"do": "attach", "target": {"pid": pid}}));
        attached["target"].as_u64().expect("a number")
    }

    /// The next event of a target: `{"window": …}`, `{"end": …}`.
    pub fn event(&mut self, target: u64) -> Value {
        let of_target = |event: &Value| {
            let event = event.as_object().and_then(|event| event.values().next());
            event.is_some_and(|event| event["target"] == target)
        };
        if let Some(at) = self.events.iter().position(of_target) {
            return self.events.remove(at).expect("just found");
        }
        loop {
            let line = self.line().expect("an event");
            if of_target(&line) {
                return line;
            }
            self.events.push_back(line);
        }
    }

    /// Sends what may be no request at all.
    pub fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        (&self.stream).write_all(bytes)
    }

    /// The next line; `None` at the end of the connection.
    pub fn line(&mut self) -> Option<Value> {
        let mut text = String::new();
        match self.lines.read_line(&mut text) {
            Ok(0) => None,
            Ok(_) => {
                Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
            }
            // What was sent behind a line that the daemon did not take is thrown away with the connection.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("no line: {error}"),
        }
    }

    /// The connection itself.
    pub fn stream(&self) -> &UnixStream {
        &self.stream
    }
}

/// What another thread has read.
struct Ahead {
    lines: Receiver<Vec<u8>>,
    rest: Cursor<Vec<u8>>,
}

impl Read for Ahead {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.rest.read(to)? {
                0 => match self.lines.recv_timeout(PATIENCE) {
                    Ok(line) => self.rest = Cursor::new(line),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(0),
                    Err(late) => return Err(std::io::Error::other(late)),
                },
                n => return Ok(n),
            }
        }
    }
}
