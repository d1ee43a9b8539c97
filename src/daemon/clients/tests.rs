//! The loop with clients of every kind, over real sockets and with a clock that is made up.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::*;
use crate::control::{
    Attach, EndReason, Event, GapReason, Message, Refusal, RefusalClass, TargetChoice, WindowBody,
};
use crate::model::{
    Ended, EventIdx, EventLedger, EventSpec, FrameName, Ledger, MonoNs, Rate, Row, RunInfo,
    SampledEvent, SoftwareEvent, TaskLabel, Weight, WindowSpan,
};
use crate::sink::Measure;
use crate::sys::unix_socket::LineListener;
use crate::sys::{Poller, Waker};

const SECOND: Duration = Duration::from_secs(1);

/// A loop that never waits.
struct Stage {
    clients: Clients,
    poller: Poller,
    now: MonoNs,
    folder: tempfile::TempDir,
    _awake: Waker,
}

impl Stage {
    fn new(limits: ClientLimits) -> Stage {
        let folder = tempfile::tempdir().unwrap();
        let poller = Poller::new().unwrap();
        let listener = LineListener::bind(&folder.path().join("socket")).unwrap();
        let awake = Waker::new().unwrap();
        poller.add(&awake, Wakeup(0)).unwrap();
        awake.wake();
        Stage {
            clients: Clients::new(listener, limits, &poller).unwrap(),
            poller,
            now: MonoNs(1),
            folder,
            _awake: awake,
        }
    }

    /// Turns until nothing more comes of it.
    fn turn(&mut self) -> Vec<Heard> {
        let mut heard = Vec::new();
        let mut ready = Vec::new();
        for _ in 0..20 {
            self.clients.flush(&self.poller, self.now, &mut heard);
            self.poller.wait(&mut ready).unwrap();
            for wakeup in ready.drain(..).filter(|wakeup| Clients::is_own(*wakeup)) {
                self.clients
                    .ready(wakeup, &self.poller, self.now, &mut heard);
            }
        }
        heard
    }

    fn pass(&mut self, time: Duration) -> Vec<Heard> {
        self.now = self.now.plus(time);
        let mut heard = Vec::new();
        self.clients.tick(&self.poller, self.now, &mut heard);
        heard.extend(self.turn());
        heard
    }

    fn connect(&self) -> Client {
        let stream = UnixStream::connect(self.folder.path().join("socket")).unwrap();
        stream.set_nonblocking(true).unwrap();
        Client(BufReader::new(stream))
    }

    /// A client that has been greeted.
    fn client(&mut self) -> Client {
        let mut client = self.connect();
        self.turn();
        assert!(client.line().unwrap().contains("\"protocol\":1"));
        client
    }

    fn follow(&mut self, client: &mut Client, heartbeat: Option<Duration>) -> ClientId {
        client.say(b"{\"do\":\"list\"}\n");
        let heard = self.turn();
        let [Heard::Request { client: id, .. }] = heard.as_slice() else {
            panic!("{heard:?}");
        };
        let spec = TailSpec {
            target: 7,
            format: TailFormat::Folded,
            view: View {
                event: EventIdx(0),
                measure: Measure::Weight,
            },
            heartbeat,
        };
        self.clients.tail(*id, spec, self.now).unwrap();
        self.clients.answer(*id, None, &());
        self.turn();
        assert_eq!(client.line().unwrap(), "{\"ok\":null}\n");
        *id
    }
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn say(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    /// A line that has come; at the end of the connection an empty one.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).ok().map(|_| line)
    }

    fn event(&mut self) -> Event {
        let line = self.line().expect("a line has come");
        match Message::parse(line.as_bytes()).unwrap() {
            Message::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(&mut self) -> (Option<u64>, Refusal) {
        let line = self.line().expect("a line has come");
        match Message::parse(line.as_bytes()).unwrap() {
            Message::Refused { id, refusal } => (id, refusal),
            other => panic!("{other:?}"),
        }
    }

    fn farewell(&mut self) -> Refusal {
        let Event::Farewell(refusal) = self.event() else {
            panic!("another event");
        };
        assert_eq!(self.line().as_deref(), Some(""));
        refusal
    }
}

/// A window of one stack, whose name has as many bytes as asked for.
fn window(sequence: u64, phase: Option<&str>, name_length: usize) -> PhasedWindow {
    let spec: EventSpec = crate::model::parse_events::<EventSpec>("cpu-clock").unwrap()[0].clone();
    let event = SampledEvent {
        modes: spec.modes,
        spec,
        rate: Rate::Period(1),
    };
    let row = Row {
        task: TaskLabel {
            comm: "comm".into(),
            pid: None,
            tid: None,
        },
        ended: Ended::Root,
        frames: vec![FrameName::function("f".repeat(name_length))],
        weights: vec![Weight::of(10)],
    };
    let profile = Profile {
        run: Arc::new(RunInfo {
            perfd_version: "0",
            hostname: String::new(),
            kernel: String::new(),
            target: String::new(),
            events: vec![event],
            notes: Vec::new(),
        }),
        span: WindowSpan {
            sequence,
            start: MonoNs(sequence * 100),
            end: MonoNs(sequence * 100 + 100),
            start_unix_ns: 0,
            is_last: false,
        },
        rows: vec![row],
        processes: Vec::new(),
        ledger: Ledger {
            events: vec![EventLedger {
                delivered: 1,
                ..EventLedger::default()
            }],
            ..Ledger::default()
        },
        whole_run: None,
    };
    PhasedWindow {
        target: 7,
        phase: phase.map(|phase| Phase(phase.to_owned())),
        profile: Arc::new(profile),
    }
}
