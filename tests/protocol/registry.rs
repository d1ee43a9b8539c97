//! A daemon that has the loop of connections and nothing else: one target, number 7, with two windows for everybody who follows it.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use perfd::control::{
    Attached, Detached, EndReason, Listed, ListedTarget, Marked, Refusal, RefusalClass, Request,
    SnapshotFormat, Snapshotted, Stats, Tailing, TargetChoice, TargetState,
};
use perfd::daemon::clients::{ClientLimits, Clients, Heard, PhasedWindow, TailSpec};
use perfd::model::{
    Ended, EventIdx, EventLedger, FrameName, Ledger, NameKind, Profile, Rate, Row, RunInfo,
    SampledEvent, TaskLabel, Weight, WindowSpan, parse_events,
};
use perfd::sink::{Measure, View};
use perfd::sys::pidfd::PidFd;
use perfd::sys::unix_socket::LineListener;
use perfd::sys::{self, Poller, Waker, Wakeup};

const STOP: Wakeup = Wakeup(0);

/// A running one; ends when it is dropped.
pub struct Registry {
    folder: tempfile::TempDir,
    stop: Waker,
    thread: Option<JoinHandle<()>>,
    attached: Mutex<Receiver<AttachedTo>>,
}

/// What an `attach` said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachedTo {
    /// The process whose pidfd and maps came with it.
    pub pid: u32,
    /// Samples a second, if it says.
    pub frequency: Option<u64>,
}

impl Registry {
    pub fn start() -> Registry {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = LineListener::bind(&folder.path().join("socket")).expect("bound");
        let stop = Waker::new().expect("an eventfd");
        let (sender, attached) = mpsc::sync_channel(16);
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || serve(listener, &stopped, &sender));
        Registry {
            folder,
            stop,
            thread: Some(thread),
            attached: Mutex::new(attached),
        }
    }

    pub fn socket(&self) -> PathBuf {
        Path::new(self.folder.path()).join("socket")
    }

    /// What came with `attach`, since this was asked last.
    pub fn attached(&self) -> Vec<AttachedTo> {
        self.attached
            .lock()
            .expect("one at a time")
            .try_iter()
            .collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop.wake();
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(matches!(ended, Some(Ok(()))) || std::thread::panicking());
    }
}

fn serve(listener: LineListener, stop: &Waker, attached: &mpsc::SyncSender<AttachedTo>) {
    let poller = Poller::new().expect("epoll");
    poller.add(stop, STOP).expect("added");
    let mut clients = Clients::new(listener, ClientLimits::default(), &poller).expect("added");
    let (mut ready, mut heard) = (Vec::new(), Vec::new());
    loop {
        clients.flush(&poller, sys::now(), &mut heard);
        poller.wait(&mut ready).expect("epoll");
        for wakeup in ready.drain(..) {
            if wakeup == STOP {
                return;
            }
            clients.ready(wakeup, &poller, sys::now(), &mut heard);
        }
        for heard in heard.drain(..) {
            answer(&mut clients, heard, attached);
        }
    }
}

fn answer(clients: &mut Clients, heard: Heard, attached: &mpsc::SyncSender<AttachedTo>) {
    let Heard::Request {
        client,
        id,
        request,
        descriptors,
        ..
    } = heard
    else {
        return;
    };
    let number = match &request {
        Request::Detach(detach) => detach.target,
        Request::Mark(mark) => mark.target,
        Request::Snapshot(snapshot) => snapshot.target,
        Request::Tail(tail) => tail.target,
        _ => 7,
    };
    if number != 7 {
        let refusal = Refusal::new(RefusalClass::NoSuchTarget, format!("no target {number}"));
        return clients.refuse(client, id, &refusal);
    }
    let events = vec!["cpu-clock".to_owned()];
    match request {
        Request::Attach(attach) => {
            let TargetChoice::Pid(pid) = attach.target else {
                let said = "attach to the host: only administrators may";
                let refusal = Refusal::new(RefusalClass::Permission, said);
                return clients.refuse(client, id, &refusal);
            };
            let mut descriptors = descriptors.into_iter();
            let pidfd = PidFd::from_passed(descriptors.next().expect("a pidfd")).expect("a pidfd");
            assert_eq!(pidfd.pid().expect("it lives").0, pid);
            let maps = descriptors.next().expect("maps");
            let link = format!(
                "/proc/self/fd/{}",
                std::os::fd::AsRawFd::as_raw_fd(&maps.as_fd())
            );
            let link = std::fs::read_link(link).expect("open");
            assert!(link.ends_with(format!("{pid}/maps")), "{link:?}");
            let frequency = attach.frequency;
            attached
                .try_send(AttachedTo { pid, frequency })
                .expect("room");
            let ok = Attached {
                target: 7,
                name: "bench".to_owned(),
                events,
                notes: Vec::new(),
            };
            clients.answer(client, id, &ok);
        }
        Request::Detach(_) => clients.answer(client, id, &Detached { target: 7 }),
        Request::List(_) => {
            let target = ListedTarget {
                target: 7,
                name: "bench".to_owned(),
                what: TargetChoice::Pid(42),
                state: TargetState::Running,
                why: None,
                owner: Some(0),
                events,
                phase: None,
                sequence: 2,
                age_ns: 1,
                samples: 2,
                lost: 0,
                tails: 0,
                keep: true,
            };
            let targets = vec![target];
            clients.answer(client, id, &Listed { targets });
        }
        Request::Stats(_) => clients.answer(client, id, &Stats::default()),
        Request::Mark(_) => clients.answer(client, id, &Marked { sequence: 2 }),
        Request::Snapshot(_) => {
            let ok = Snapshotted {
                lacks_ns: None,
                format: SnapshotFormat::Folded,
                from: 0,
                to: 1,
                text: Some("comm;f 20\n".to_owned()),
                base64: None,
                written: None,
            };
            clients.answer(client, id, &ok);
        }
        Request::Tail(tail) => {
            let spec = TailSpec {
                target: 7,
                format: tail.format,
                view: View {
                    event: EventIdx(0),
                    measure: Measure::Weight,
                },
                heartbeat: None,
            };
            clients.tail(client, spec, sys::now()).expect("room");
            let ok = Tailing {
                target: 7,
                format: tail.format,
                events,
                sequence: 0,
            };
            clients.answer(client, id, &ok);
            // Two phases, so that they stay two windows.
            for (sequence, phase) in [(0, None), (1, Some("measure"))] {
                let phase = phase.map(|phase| perfd::control::Phase(phase.to_owned()));
                clients.window(&PhasedWindow {
                    target: 7,
                    phase,
                    profile: window(sequence),
                });
            }
            clients.end(7, EndReason::Exited);
        }
        Request::Shutdown(_) => {
            let said = "end the daemon: only administrators may";
            let refusal = Refusal::new(RefusalClass::Permission, said);
            clients.refuse(client, id, &refusal);
        }
    }
}

fn window(sequence: u64) -> Arc<Profile> {
    let spec: perfd::model::EventSpec = parse_events("cpu-clock").expect("an event").remove(0);
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
            text: "f".into(),
            kind: NameKind::User,
            unnamed: None,
        }],
        weights: vec![Weight::of(10)],
    };
    let start = sys::now();
    Arc::new(Profile {
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
            start,
            end: start,
            start_unix_ns: 0,
            is_last: false,
        },
        rows: vec![row],
        processes: Vec::new(),
        ledger: Ledger {
            events: vec![EventLedger::default()],
            ..Ledger::default()
        },
        whole_run: None,
    })
}
