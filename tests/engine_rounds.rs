//! An engine after many targets have come and gone is what it was before. A process of its own: it counts its threads and descriptors.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use perfd::model::{AskedEvent, Hz, Pid, Rate, TargetId};
use perfd::procfs::SysRoots;
use perfd::session::engine::{
    Authority, Engine, EngineEvent, EngineSpec, Limits, Member, Sampling, TargetEnd,
};
use perfd::session::tables::TABLE_BUDGET;
use perfd::session::{Backend, EventChoice};
use perfd::symbolize;
use perfd::sys::Waker;
use perfd::sys::pidfd::PidFd;

const ROUNDS: u32 = 100;
/// Rounds until all is there that stays: names, tables, what threads keep ready.
const FIRST: u32 = 20;
/// What an allocator keeps may differ by that, in 80 rounds. A table that grew by 4 KiB for each of 10 targets a round would take as much again.
const SLACK: u64 = 3 << 20;

fn count(folder: &str) -> usize {
    fs::read_dir(folder).expect("our own").count()
}

fn anonymous() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("our own");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: u64 = kib.expect("it is there").trim().parse().expect("a number");
    kib << 10
}

/// Waits for the ends of so many targets.
fn wait_for_ends(events: &Receiver<EngineEvent>, n: usize) {
    let mut ended = BTreeMap::new();
    while ended.len() < n {
        match events.recv().expect("the engine is alive") {
            EngineEvent::Ended { target, why } => {
                ended.insert(target, why);
            }
            EngineEvent::Opened(_) | EngineEvent::Attached { .. } | EngineEvent::Window(_) => (),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        ended.values().all(|why| *why == TargetEnd::Detached),
        "{ended:?}"
    );
}

#[test]
fn a_hundred_rounds_leave_nothing_behind() {
    let event: AskedEvent = "cpu-clock".parse().expect("an event");
    let spec = EngineSpec {
        sampling: Sampling {
            events: EventChoice::Asked(vec![event]),
            rate: Rate::Frequency(Hz(97)),
            python: false,
        },
        backend: Backend::Auto,
        naming: symbolize::Config::default(),
        parsing: perfd::parser::Parsing::Here,
        interval: Duration::from_secs(1000),
        ring_pages: None,
        table_budget: TABLE_BUDGET,
        limits: Limits::default(),
        roots: SysRoots::default(),
    };
    let (sender, events) = bounded(64);
    let engine = Engine::start(spec, sender, Waker::new().expect("a waker")).expect("an engine");
    let mut children: Vec<_> = (0..10)
        .map(|_| {
            let mut command = Command::new("cat");
            command.stdin(Stdio::piped()).spawn().expect("cat")
        })
        .collect();
    let mut base = None;
    for round in 0..ROUNDS {
        for (child, n) in children.iter().zip(0..) {
            let pid = Pid(child.id());
            let member = Member::Process {
                pid,
                pidfd: PidFd::open(pid).expect("it runs"),
                with_tree: true,
            };
            let target = TargetId(round * 100 + n);
            engine.attach(target, member, Authority::Everything);
            engine.detach(target);
        }
        wait_for_ends(&events, children.len());
        let now = (count("/proc/self/fd"), count("/proc/self/task"));
        if round < FIRST {
            continue;
        }
        let (n_descriptors, n_threads, memory) = *base.get_or_insert((now.0, now.1, anonymous()));
        assert_eq!(
            now,
            (n_descriptors, n_threads),
            "descriptors and threads in round {round}"
        );
        assert!(
            anonymous() < memory + SLACK,
            "{} B more",
            anonymous() - memory
        );
    }
    drop(engine);
    let last = events.iter().last();
    match last {
        Some(EngineEvent::Finished(stats)) => {
            for event in &stats.ledger.events {
                assert_eq!(event.unexplained(), Some(0), "{event:?}");
            }
        }
        other => panic!("{other:?}"),
    }
    for child in &mut children {
        drop(child.stdin.take());
        child.wait().expect("it is ours");
    }
}
