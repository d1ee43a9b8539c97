//! The loop with clients of every kind, over real sockets and with a clock that is made up.

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

/// A window of one stack, whose name has as many bytes as asked for.
pub(in crate::daemon) fn window(
    sequence: u64,
    phase: Option<&str>,
    name_length: usize,
) -> PhasedWindow {
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
        frames: vec![FrameName {
            text: "f".repeat(name_length).into(),
            kind: NameKind::User,
            unnamed: None,
        }],
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
    let long = [vec![b'x'; 70_000], b"\n".to_vec()].concat();
    let deep = format!("{{\"do\":{}\n", "[".repeat(50_000));
    let lines: [&[u8]; 6] = [
        b"nonsense\n",
        b"\0\0\0\n",
        b"\xff\xfe\n",
        b"{\"do\":\"detach\",\"target\":123456789012345678901234567890}\n",
        deep.as_bytes(),
        &long,
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

#[test]
fn windows_and_the_end_come_in_order() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut client = stage.client();
    stage.follow(&mut client, None);
    for sequence in 0..3 {
        stage.clients.window(&window(sequence, Some("warm-up"), 3));
        stage.turn();
        let Event::Window(window) = client.event() else {
            panic!("another event");
        };
        assert_eq!(
            (window.from, window.to, window.samples),
            (sequence, sequence, 1)
        );
        assert_eq!(window.phase, Some(Phase("warm-up".to_owned())));
        assert_eq!(window.body, WindowBody::Folded("comm;fff 10\n".to_owned()));
    }
    stage.clients.end(7, EndReason::Exited);
    stage.clients.window(&window(3, None, 3));
    assert_eq!(stage.clients.tails_of(7), 1);
    stage.turn();
    let Event::Window(_) = client.event() else {
        panic!("another event");
    };
    assert!(matches!(client.event(), Event::End(end) if end.reason == EndReason::Exited));
    assert_eq!(stage.clients.tails_of(7), 0);
    stage.clients.window(&window(4, None, 3));
    stage.turn();
    assert_eq!(client.line(), None);
}

#[test]
fn while_a_client_is_behind_its_windows_are_merged_by_phase_and_nothing_is_lost() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut behind = stage.client();
    let mut prompt = stage.client();
    stage.follow(&mut behind, None);
    stage.follow(&mut prompt, None);
    // The first ones fill the socket; the rest waits.
    const LARGE: usize = 1 << 20;
    const N: u64 = 30;
    for sequence in 0..N {
        let phase = if sequence < 20 { "one" } else { "two" };
        stage.clients.window(&window(sequence, Some(phase), LARGE));
        // The prompt one takes everything at once.
        let mut line = String::new();
        while !line.ends_with('\n') {
            stage.turn();
            let _ = prompt.0.read_line(&mut line);
        }
    }
    assert!(stage.clients.figures().windows_merged >= 26);
    let mut next = 0;
    let mut weight = 0;
    let mut n_merged = 0;
    while next < N {
        let mut line = String::new();
        while !line.ends_with('\n') {
            stage.turn();
            let _ = behind.0.read_line(&mut line);
        }
        let Message::Event(Event::Window(window)) = Message::parse(line.as_bytes()).unwrap() else {
            panic!("another line");
        };
        assert_eq!(window.from, next);
        next = window.to + 1;
        n_merged += window.to - window.from;
        let phase = if window.to < 20 { "one" } else { "two" };
        assert_eq!(window.phase, Some(Phase(phase.to_owned())));
        let WindowBody::Folded(text) = window.body else {
            panic!("another form");
        };
        weight += text
            .trim_end()
            .rsplit(' ')
            .next()
            .unwrap()
            .parse::<u64>()
            .unwrap();
    }
    assert_eq!(weight, N * 10);
    assert_eq!(n_merged, stage.clients.figures().windows_merged);
    assert_eq!(stage.clients.figures().windows_dropped, 0);
}

#[test]
fn who_takes_nothing_for_too_long_is_sent_away_and_who_takes_a_little_is_not() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut dead = stage.client();
    let mut slow = stage.client();
    stage.follow(&mut dead, None);
    stage.follow(&mut slow, None);
    for sequence in 0..3 {
        stage.clients.window(&window(sequence, None, 1 << 20));
    }
    stage.turn();
    assert!(stage.pass(SECOND * 9).is_empty());
    let mut some = [0; 1 << 16];
    for _ in 0..8 {
        std::io::Read::read(slow.0.get_mut(), &mut some).unwrap();
    }
    stage.turn();
    let heard = stage.pass(SECOND * 2);
    assert!(
        matches!(heard.as_slice(), [Heard::Gone(_, Leave::TookNothing)]),
        "{heard:?}"
    );
    assert_eq!(stage.clients.figures().connected, 1);
    assert_eq!(stage.clients.figures().too_slow, 1);
}

#[test]
fn what_cannot_be_kept_or_sent_is_a_gap() {
    let limits = ClientLimits {
        queue: 4 << 20,
        ..ClientLimits::default()
    };
    let mut stage = Stage::new(limits);
    let mut client = stage.client();
    stage.follow(&mut client, None);
    // Larger than a line may be.
    stage.clients.window(&window(0, None, 5 << 20));
    stage.turn();
    let Event::Gap(gap) = client.event() else {
        panic!("another event");
    };
    assert_eq!((gap.from, gap.to, gap.reason), (0, 0, GapReason::TooLarge));
    // More phases than may wait.
    stage.clients.window(&window(1, None, 3 << 20));
    stage.turn();
    for sequence in 2..42 {
        stage
            .clients
            .window(&window(sequence, Some(&format!("{sequence}")), 3));
    }
    let mut lines = String::new();
    while lines.matches('\n').count() < 17 {
        stage.turn();
        let _ = client.0.read_line(&mut lines);
    }
    let mut next = 1;
    for line in lines.lines() {
        let (from, to) = match Message::parse(line.as_bytes()).unwrap() {
            Message::Event(Event::Window(window)) => (window.from, window.to),
            Message::Event(Event::Gap(gap)) => {
                assert_eq!(gap.reason, GapReason::TooSlow);
                (gap.from, gap.to)
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(from, next);
        next = to + 1;
    }
    assert_eq!(next, 42);
    let figures = stage.clients.figures();
    assert_eq!(figures.windows_dropped + figures.windows_sent, 42);
}

#[test]
fn a_sign_of_life_comes_when_nothing_else_does() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut client = stage.client();
    stage.follow(&mut client, Some(SECOND * 5));
    stage.pass(SECOND * 4);
    assert_eq!(client.line(), None);
    stage.clients.window(&window(0, None, 3));
    stage.pass(SECOND);
    assert!(matches!(client.event(), Event::Window(_)));
    stage.pass(SECOND * 4);
    assert_eq!(client.line(), None);
    stage.pass(SECOND);
    let Event::Heartbeat(heartbeat) = client.event() else {
        panic!("another event");
    };
    assert_eq!((heartbeat.target, heartbeat.sequence), (7, Some(0)));
}

#[test]
fn a_thousand_clients_that_come_and_go_leave_nothing_behind() {
    let mut stage = Stage::new(ClientLimits::default());
    for _ in 0..1000 {
        let mut client = stage.connect();
        let _ = client.0.get_mut().write_all(b"{\"do\":\"list\"}\n{\"do\":");
        stage
            .clients
            .flush(&stage.poller, stage.now, &mut Vec::new());
    }
    let mut n_gone = 0;
    for _ in 0..100 {
        let heard = stage.turn();
        n_gone += heard
            .iter()
            .filter(|heard| matches!(heard, Heard::Gone(..)))
            .count();
        for heard in heard {
            if let Heard::Request { client, id, .. } = heard {
                stage.clients.answer(client, id, &());
            }
        }
    }
    let figures = stage.clients.figures();
    assert_eq!(figures.connected, 0);
    assert_eq!(figures.accepted, n_gone as u64);
}

#[test]
fn the_end_of_the_daemon_is_told_to_everybody() {
    let mut stage = Stage::new(ClientLimits::default());
    let mut client = stage.client();
    let Stage { clients, .. } = stage;
    clients.stop(&Refusal::new(RefusalClass::Stopping, "the daemon ends"));
    assert_eq!(client.farewell().class, RefusalClass::Stopping);
}
