//! An engine, and what it has said.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use perfd::model::{AskedEvent, Fault, Hz, LossReason, NameKind, Pid, Profile, Rate, TargetId};
use perfd::procfs::SysRoots;
use perfd::session::engine::{
    Authority, Engine, EngineEvent, EngineSpec, EngineStats, Limits, Member, Sampling, TargetEnd,
};
use perfd::session::tables::TABLE_BUDGET;
use perfd::session::{Backend, EventChoice};
use perfd::symbolize;
use perfd::sys::Waker;

use crate::worker::Worker;

/// Longer than any test takes: an engine that says nothing must not hold up the others.
const HANG: Duration = Duration::from_secs(600);

/// A window, and the token of the cut that has closed it.
type Told = (Arc<Profile>, Option<u64>);

pub struct Held {
    engine: Option<Engine>,
    events: Receiver<EngineEvent>,
    last: u32,
    last_token: u64,
    /// Cuts that have been made, and the first window behind each.
    cuts: BTreeMap<u64, u64>,
    /// The windows of each target that have not been taken.
    windows: BTreeMap<TargetId, Vec<Told>>,
    ended: BTreeMap<TargetId, TargetEnd>,
    attached: BTreeMap<TargetId, Result<Vec<String>, Fault>>,
    notes: BTreeMap<TargetId, Vec<String>>,
    finished: Option<EngineStats>,
}

/// A window that nobody waits for.
pub const LONG: Duration = Duration::from_secs(1000);

pub fn spec(backend: Backend) -> EngineSpec {
    let event: AskedEvent = "cpu-clock".parse().expect("it is one");
    EngineSpec {
        sampling: Sampling {
            events: EventChoice::Asked(vec![event]),
            rate: Rate::Frequency(Hz(997)),
            python: false,
        },
        backend,
        naming: symbolize::Config::default(),
        parsing: perfd::parser::Parsing::Here,
        interval: LONG,
        ring_pages: None,
        table_budget: TABLE_BUDGET,
        limits: Limits::default(),
        roots: SysRoots::default(),
    }
}

impl Held {
    pub fn start(spec: EngineSpec) -> Held {
        let (sender, events) = bounded(64);
        let waker = Waker::new().expect("a waker");
        let engine = Engine::start(spec, sender, waker).expect("an engine");
        Held {
            engine: Some(engine),
            events,
            last: 0,
            last_token: 0,
            cuts: BTreeMap::new(),
            windows: BTreeMap::new(),
            ended: BTreeMap::new(),
            attached: BTreeMap::new(),
            notes: BTreeMap::new(),
            finished: None,
        }
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("not ended")
    }

    /// Attaches to a process alone; it must be taken in.
    pub fn attach(&mut self, worker: &Worker) -> TargetId {
        self.ask(process(worker), Authority::Everything)
            .unwrap_or_else(|fault| panic!("{fault}"))
    }

    /// One more process, into a target that is there; it must be taken in.
    pub fn attach_another(&mut self, target: TargetId, worker: &Worker) {
        let engine = self.engine();
        engine.attach(target, process(worker), Authority::Everything);
        self.until(|held| held.attached.contains_key(&target));
        let taken_in = self.attached.remove(&target).expect("waited for above");
        taken_in.unwrap_or_else(|fault| panic!("{fault}"));
    }

    pub fn ask(&mut self, member: Member, authority: Authority) -> Result<TargetId, Fault> {
        self.last += 1;
        let target = TargetId(self.last);
        self.engine().attach(target, member, authority);
        self.until(|held| held.attached.contains_key(&target));
        let notes = self.attached.remove(&target).expect("waited for above")?;
        self.notes.insert(target, notes);
        if let Authority::User { .. } = authority {
            // The record of an exec just before may still be on its way: what is sampled until it is read is in doubt.
            self.cut(target);
        }
        Ok(target)
    }

    /// What was said of a target when it was taken in.
    pub fn notes(&self, target: TargetId) -> &[String] {
        &self.notes[&target]
    }

    /// What was sampled of a target until now, since that was last asked.
    pub fn cut(&mut self, target: TargetId) -> Windows {
        self.last_token += 1;
        let token = self.last_token;
        self.engine().cut(target, token);
        let is_it = |(_, cut): &Told| *cut == Some(token);
        self.until(|held| {
            held.windows
                .get(&target)
                .is_some_and(|all| all.iter().any(is_it))
        });
        self.take(target)
    }

    /// Asks for a cut, and waits until its moment has come.
    pub fn begin_cut(&mut self, target: TargetId) -> u64 {
        self.last_token += 1;
        let token = self.last_token;
        self.engine().cut(target, token);
        self.until(|held| held.cuts.contains_key(&token));
        self.cuts[&token]
    }

    /// Detaches, and gives what was sampled since that was last asked.
    pub fn detach(&mut self, target: TargetId) -> Windows {
        self.engine().detach(target);
        assert_eq!(self.wait_for_end(target), TargetEnd::Detached);
        self.take(target)
    }

    pub fn wait_for_end(&mut self, target: TargetId) -> TargetEnd {
        self.until(|held| held.ended.contains_key(&target));
        self.ended[&target]
    }

    pub fn take(&mut self, target: TargetId) -> Windows {
        let windows = self.windows.remove(&target).unwrap_or_default();
        Windows(windows.into_iter().map(|(profile, _)| profile).collect())
    }

    /// Ends the engine. Its account adds up, with nothing that is not explained.
    pub fn finish(mut self) -> EngineStats {
        drop(self.engine.take());
        self.until(|held| held.finished.is_some());
        let stats = self.finished.take().expect("waited for above");
        for event in &stats.ledger.events {
            assert_eq!(event.unexplained(), Some(0), "{event:?}");
            // What events of whole CPUs have not raised is known from their own counts alone.
            if event.kernel_walk.is_some() {
                assert_eq!(event.lost.get(&LossReason::NotRaised), None, "{event:?}");
            }
        }
        stats
    }

    fn until(&mut self, is_there: impl Fn(&Held) -> bool) {
        while !is_there(self) {
            let event = self.events.recv_timeout(HANG);
            let event = event.unwrap_or_else(|_| {
                let windows = self.windows.iter().map(|(target, all)| (target, all.len()));
                let windows: Vec<_> = windows.collect();
                panic!(
                    "it says nothing; windows {windows:?}, ended {:?}",
                    self.ended
                )
            });
            match event {
                EngineEvent::Opened(events) => assert_eq!(events.len(), 1),
                EngineEvent::Attached { target, notes } => {
                    self.attached.insert(target, Ok(notes));
                }
                EngineEvent::Refused { target, fault } => {
                    self.attached.insert(target, Err(fault));
                }
                EngineEvent::Cut {
                    target,
                    token,
                    sequence,
                } => {
                    assert!(!self.ended.contains_key(&target), "after its end");
                    assert_eq!(self.cuts.insert(token, sequence), None, "one moment");
                }
                EngineEvent::Window(window) => {
                    if let Some(token) = window.cut {
                        let behind = window.profile.span.sequence + 1;
                        assert_eq!(self.cuts.get(&token), Some(&behind), "cut before it closes");
                    }
                    assert!(!self.ended.contains_key(&window.target), "after its end");
                    let of_target = self.windows.entry(window.target).or_default();
                    of_target.push((window.profile, window.cut));
                }
                EngineEvent::Ended { target, why } => {
                    assert_eq!(self.ended.insert(target, why), None, "one end");
                }
                EngineEvent::Failed(fault) => panic!("{fault}"),
                EngineEvent::Finished(stats) => self.finished = Some(*stats),
            }
        }
    }
}

pub fn process(worker: &Worker) -> Member {
    Member::Process {
        pid: worker.pid(),
        pidfd: worker.pidfd(),
        with_tree: false,
    }
}

/// Consecutive windows of a target.
pub struct Windows(pub Vec<Arc<Profile>>);

impl Windows {
    /// Samples of a process.
    pub fn of(&self, pid: Pid) -> u64 {
        self.count(|_, of| of == Some(pid))
    }

    pub fn all(&self) -> u64 {
        self.count(|_, _| true)
    }

    /// Samples in kernel mode.
    pub fn in_kernel(&self) -> u64 {
        self.count(|row, _| {
            row.frames
                .last()
                .is_some_and(|leaf| leaf.kind == NameKind::Kernel)
        })
    }

    /// Samples with a function of this name in their stack.
    pub fn through(&self, name: &str) -> u64 {
        self.count(|row, _| row.frames.iter().any(|frame| &*frame.text == name))
    }

    /// Samples of threads of this name.
    pub fn of_comm(&self, comm: &str) -> u64 {
        self.count(|row, _| &*row.task.comm == comm)
    }

    /// Samples lost for this reason.
    pub fn lost(&self, why: LossReason) -> i64 {
        let events = self.0.iter().flat_map(|profile| &profile.ledger.events);
        events.filter_map(|event| event.lost.get(&why)).sum()
    }

    fn count(&self, of: impl Fn(&perfd::model::Row, Option<Pid>) -> bool) -> u64 {
        for profile in &self.0 {
            let weights = profile.rows.iter().flat_map(|row| &row.weights);
            let delivered: u64 = profile
                .ledger
                .events
                .iter()
                .map(|event| event.delivered)
                .sum();
            assert_eq!(weights.map(|weight| weight.samples).sum::<u64>(), delivered);
        }
        let rows = self.0.iter().flat_map(|profile| &profile.rows);
        let rows = rows.filter(|row| of(row, row.task.pid));
        rows.flat_map(|row| &row.weights)
            .map(|weight| weight.samples)
            .sum()
    }
}
