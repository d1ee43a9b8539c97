//! The loop with clients of every kind, over real sockets and with a clock that is made up.

mod windows;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::*;
use crate::control::{
    Attach, EndReason, Event, GapReason, Message, Refusal, RefusalClass, TargetChoice, WindowBody,
};
use crate::model::{
    Ended, EventIdx, EventLedger, EventSpec, FrameName, Ledger, MonoNs, NameKind, Rate, Row,
    RunInfo, SampledEvent, TaskLabel, Weight, WindowSpan,
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

/// A window of one stack, whose names have as many bytes as asked for.
pub(in crate::daemon) fn window(
    sequence: u64,
    phase: Option<&str>,
    n_bytes: usize,
) -> PhasedWindow {
    let spec: EventSpec = crate::model::parse_events::<EventSpec>("cpu-clock").unwrap()[0].clone();
    let event = SampledEvent {
        modes: spec.modes,
        spec,
        rate: Rate::Period(1),
    };
    // A long name would be cut.
    const LONGEST: usize = 1000;
    let frames = (0..n_bytes.div_ceil(LONGEST)).map(|idx| FrameName {
        text: "f".repeat(LONGEST.min(n_bytes - idx * LONGEST)).into(),
        kind: NameKind::User,
        unnamed: None,
    });
    let row = Row {
        task: TaskLabel {
            comm: "comm".into(),
            pid: None,
            tid: None,
        },
        ended: Ended::Root,
        frames: frames.collect(),
        weights: vec![Weight::of(10)],
    };
    let profile = Profile {
        run: Arc::new(RunInfo {
            perfd_version: "0".into(),
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

#[test]
fn a_request_is_handed_on_and_its_answer_comes_under_its_number() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut client = stage.client();
    client.say(b"{\"id\":5,\"do\":\"detach\",\"target\":7}\n{\"id\":6,\"do\":\"list\"}\n");
    let heard = stage.turn();
    let [
        Heard::Request {
            client: id,
            id: Some(5),
            request,
            ..
        },
    ] = heard.as_slice()
    else {
        panic!("{heard:?}");
    };
    assert_eq!(request.word(), "detach");
    // The second one is read when the first one is answered.
    stage.clients.answer(*id, Some(5), &1);
    let heard = stage.turn();
    assert!(
        matches!(heard.as_slice(), [Heard::Request { id: Some(6), .. }]),
        "{heard:?}"
    );
    assert_eq!(client.line().unwrap(), "{\"id\":5,\"ok\":1}\n");
    assert_eq!(stage.clients.figures().requests, 2);
}

#[test]
fn what_is_no_request_is_answered_and_costs_nothing_else() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut client = stage.client();
    let deep = format!("{{\"do\":{}\n", "[".repeat(50_000));
    let lines: [&[u8]; 5] = [
        b"nonsense\n",
        b"\0\0\0\n",
        b"\xff\xfe\n",
        b"{\"do\":\"detach\",\"target\":123456789012345678901234567890}\n",
        deep.as_bytes(),
    ];
    for line in lines {
        client.say(line);
        let heard = stage.turn();
        assert!(heard.is_empty(), "{heard:?}");
        let (_, refusal) = client.refusal();
        assert_eq!(refusal.class, RefusalClass::Usage);
        assert!(refusal.message.len() < 300, "{}", refusal.message);
        assert_eq!(client.line(), None);
    }
    assert_eq!(stage.clients.figures().malformed, lines.len() as u64);
    client.say(b"{\"do\":\"list\"}\n");
    assert_eq!(stage.turn().len(), 1);
}

#[test]
fn a_request_that_is_too_long_is_told_so_and_ends_the_connection_wherever_it_would_have_ended() {
    for end in [&b"\n"[..], b"", b"\n{\"do\":\"list\"}\n"] {
        let mut stage = Stage::new(ClientLimits::default());
        let mut client = stage.client();
        client.say(&[&[b'x'; 70_000], end].concat());
        let heard = stage.turn();
        assert!(
            matches!(heard.as_slice(), [Heard::Gone(_, Leave::TooLong)]),
            "{heard:?}"
        );
        let (_, refusal) = client.refusal();
        assert_eq!(refusal.class, RefusalClass::Usage);
        assert!(refusal.message.contains("65536"), "{}", refusal.message);
        assert!(client.line().is_none_or(|line| line.is_empty()));
        assert_eq!(stage.clients.figures().connected, 0);
        assert_eq!(stage.clients.figures().malformed, 1);
    }
}

#[test]
fn descriptors_come_to_the_request_and_others_are_closed_with_an_error() {
    use crate::sys::unix_socket::LineStream;
    use std::os::fd::AsFd;
    let mut stage = Stage::new(ClientLimits::default());
    let client = stage.client();
    let stream = LineStream::from(client.0.get_ref().try_clone().unwrap());
    let mut client = client;
    let null = std::fs::File::open("/dev/null").unwrap();
    let asked = crate::control::Asked {
        id: Some(1),
        request: Request::Attach(Attach::to(TargetChoice::Pid(1))),
    };
    let two = [null.as_fd(); 2];
    stream.send_all(&asked.line(), &two).unwrap();
    let heard = stage.turn();
    let [
        Heard::Request {
            client: id,
            descriptors,
            ..
        },
    ] = heard.as_slice()
    else {
        panic!("{heard:?}");
    };
    assert_eq!(descriptors.len(), 2);
    stage.clients.answer(*id, Some(1), &());
    stage.turn();
    client.line().unwrap();
    for (line, n) in [
        (&b"{\"id\":2,\"do\":\"list\"}\n"[..], 1),
        (&asked.line(), 3),
        (&asked.line(), 9),
    ] {
        let descriptors = vec![null.as_fd(); n];
        stream.send_all(line, &descriptors).unwrap();
        assert!(stage.turn().is_empty());
        let (_, refusal) = client.refusal();
        assert!(refusal.message.contains("descriptors"), "{refusal:?}");
    }
}

#[test]
fn there_are_as_many_clients_as_may_be_and_one_that_leaves_makes_room() {
    // Of root, who has some more than others.
    let limits = ClientLimits {
        clients: 2,
        clients_per_user: 2,
        ..ClientLimits::default()
    };
    let mut stage = Stage::new(limits);
    let is_root = nix::unistd::geteuid().is_root();
    let most = if is_root { 6 } else { 2 };
    let mut clients: Vec<Client> = (0..most).map(|_| stage.client()).collect();
    let mut refused = stage.connect();
    stage.turn();
    assert_eq!(refused.farewell().class, RefusalClass::Limit);
    clients.pop();
    assert!(matches!(
        stage.turn().as_slice(),
        [Heard::Gone(_, Leave::Closed)]
    ));
    stage.client();
    let figures = stage.clients.figures();
    assert_eq!((figures.accepted, figures.refused), (most + 1, 1));
}

#[test]
fn a_half_sent_request_does_not_wait_for_ever() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut slow = stage.client();
    let mut idle = stage.client();
    slow.say(b"{\"do\":");
    assert!(stage.turn().is_empty());
    assert!(stage.pass(SECOND * 9).is_empty());
    // More of it does not start the time anew.
    slow.say(b"\"li");
    assert!(stage.turn().is_empty());
    let heard = stage.pass(SECOND);
    assert!(
        matches!(heard.as_slice(), [Heard::Gone(_, Leave::HalfRequest)]),
        "{heard:?}"
    );
    assert_eq!(slow.farewell().class, RefusalClass::TooSlow);
    assert!(stage.pass(SECOND * 1000).is_empty());
    assert_eq!(idle.line(), None);
}

#[test]
fn too_many_requests_are_refused_until_time_has_passed() {
    let limits = ClientLimits {
        requests_per_second: 1,
        ..ClientLimits::default()
    };
    let mut stage = Stage::new(limits);
    let mut client = stage.client();
    let mut n_heard = 0;
    for id in 0..20 {
        client.say(format!("{{\"id\":{id},\"do\":\"list\"}}\n").as_bytes());
        for heard in stage.turn() {
            let Heard::Request { client, id, .. } = heard else {
                panic!("{heard:?}");
            };
            n_heard += 1;
            stage.clients.answer(client, id, &());
        }
        stage.turn();
    }
    // Ten at once, and the one that is due now.
    assert_eq!(n_heard, 11);
    let refused = (0..20).filter(|_| client.line().unwrap().contains("\"limit\""));
    assert_eq!(refused.count(), 9);
    stage.pass(SECOND * 2);
    client.say(b"{\"do\":\"list\"}\n");
    assert_eq!(stage.turn().len(), 1);
}

#[test]
fn a_client_that_sends_no_more_still_gets_what_it_is_owed() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut client = stage.client();
    client.say(b"{\"do\":\"list\"}\n");
    client
        .0
        .get_ref()
        .shutdown(std::net::Shutdown::Write)
        .unwrap();
    let heard = stage.turn();
    let [Heard::Request { client: id, .. }] = heard.as_slice() else {
        panic!("{heard:?}");
    };
    assert!(stage.turn().is_empty());
    stage.clients.answer(*id, None, &1);
    let heard = stage.turn();
    assert!(
        matches!(heard.as_slice(), [Heard::Gone(_, Leave::Closed)]),
        "{heard:?}"
    );
    assert_eq!(client.line().unwrap(), "{\"ok\":1}\n");
    assert_eq!(client.line().unwrap(), "");
}
