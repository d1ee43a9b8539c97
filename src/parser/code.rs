//! Names of code made at run time, by a child that reads what runtimes write.
//!
//! What a child knows of the times at which code was replaced dies with it. The next one is told of all processes again and reads their
//! files from the beginning: then what was replaced before has no name, and all else has.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::message::{Answer, MAX_CODE, MAX_NAME, MAX_NOTE, MAX_PROCESSES, Request, SaidFacts};
use super::process::{Begin, Parser, Source};
use crate::model::{JitFileNote, JitRates, Module, MonoNs, Pid, Span, Unnamed};
use crate::procfs::jit_file::ProcessRoot;
use crate::symbolize::jit::{Codes, JitFacts, open_dump};
use crate::sys;

/// Runs of addresses and dumps of one process that another child is told of.
const MAX_RANGES: usize = 1024;
const MAX_DUMPS: usize = 8;
/// Children that may die over the files of one process.
const MAX_DEATHS: u32 = 2;

/// The code of all processes of a run.
#[derive(Debug)]
pub struct Code {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    begin: Begin,
    parser: Parser,
    /// The number of the child that has been told of them.
    told: u64,
    processes: BTreeMap<Pid, Watched>,
}

/// What a child has to be told of a process.
#[derive(Debug)]
struct Watched {
    /// Since when it is known; with another program, since that began.
    since: MonoNs,
    ranges: Vec<(u64, u64)>,
    /// Jitdumps, or why one may not be read.
    dumps: Vec<Result<File, String>>,
    began_anew: Option<MonoNs>,
    n_deaths: u32,
}

impl Watched {
    fn new() -> Watched {
        Watched {
            since: sys::now(),
            ranges: Vec::new(),
            dumps: Vec::new(),
            began_anew: None,
            n_deaths: 0,
        }
    }

    /// Whether its files are left alone.
    fn is_blamed(&self) -> bool {
        self.n_deaths >= MAX_DEATHS
    }
}

impl Code {
    /// Looks after nobody yet.
    pub fn new(begin: Begin, source: Source) -> Code {
        Code {
            inner: Mutex::new(Inner {
                parser: Parser::new(begin.clone(), source),
                begin,
                told: 0,
                processes: BTreeMap::new(),
            }),
        }
    }

    /// The child, if there is one now: for who wants to know what it takes.
    pub fn child(&self) -> Option<Pid> {
        self.inner().parser.child()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Codes for Code {
    fn watch(&self, pid: Pid, code: Option<(u64, u64)>) {
        let mut inner = self.inner();
        let Some(watched) = inner.watched(pid) else {
            return;
        };
        if let Some(range) = code
            && !watched.ranges.contains(&range)
            && watched.ranges.len() < MAX_RANGES
        {
            watched.ranges.push(range);
        }
        inner.tell(pid, &Request::Watch { pid: pid.0, code }, None);
    }

    fn add_dump(&self, pid: Pid, module: &Module) {
        let mut inner = self.inner();
        if inner.watched(pid).is_none() {
            return;
        }
        let proc_root = &inner.begin.config.proc_root;
        let dump = open_dump(proc_root, module).and_then(|file| {
            // As for any other file of a runtime's; a root that is gone says nothing of it.
            let checked = ProcessRoot::open(proc_root, pid).map(|root| root.check(&file, u64::MAX));
            match checked {
                Ok(Err(why)) => Err(why.to_string()),
                Ok(Ok(())) | Err(_) => Ok(file),
            }
        });
        let refused = dump.as_ref().err().cloned();
        let request = Request::AddDump {
            pid: pid.0,
            refused,
        };
        let file = dump.as_ref().ok().and_then(|file| file.try_clone().ok());
        inner.tell(pid, &request, file.as_ref());
        if let Some(watched) = inner.processes.get_mut(&pid)
            && watched.dumps.len() < MAX_DUMPS
        {
            watched.dumps.push(dump);
        }
    }

    fn began_anew(&self, pid: Pid, at: MonoNs) {
        let mut inner = self.inner();
        inner.tell(
            pid,
            &Request::BeganAnew {
                pid: pid.0,
                at: at.0,
            },
            None,
        );
        if let Some(watched) = inner.processes.get_mut(&pid) {
            watched.since = at;
            watched.began_anew = Some(at);
            watched.dumps.clear();
        }
    }

    fn forget(&self, pids: &[Pid], by: MonoNs) {
        let mut inner = self.inner();
        for pid in pids {
            if inner.processes.get(pid).is_some_and(|one| one.since < by) {
                inner.processes.remove(pid);
                inner.parser.forbid_code_of(*pid);
                // A child that comes later is not told of it.
                if inner.parser.child().is_some() {
                    let _ = inner
                        .parser
                        .try_once(&Request::ForgetCode { pid: pid.0 }, None);
                }
            }
        }
    }

    fn read(&self, pids: &[Pid]) -> Vec<(Pid, MonoNs)> {
        let mut inner = self.inner();
        let mut changed = Vec::new();
        for pid in pids {
            let request = Request::ReadCode {
                pid: pid.0,
                asks: true,
            };
            if let Some(Answer::CodeRead(Some(at))) = inner.tell(*pid, &request, None) {
                changed.push((*pid, MonoNs(at)));
            }
        }
        changed
    }

    fn read_all(&self) {
        let mut inner = self.inner();
        let pids: Vec<Pid> = inner.processes.keys().copied().collect();
        for pid in pids {
            let request = Request::ReadCode {
                pid: pid.0,
                asks: false,
            };
            inner.tell(pid, &request, None);
        }
    }

    fn facts(&self) -> Vec<JitFacts> {
        let mut inner = self.inner();
        let said = match inner.ask(&Request::CodeFacts) {
            Some(Answer::CodeFacts(said)) => said,
            Some(_) => {
                inner.parser.said_nonsense();
                Vec::new()
            }
            None => Vec::new(),
        };
        let is_possible = |said: &SaidFacts| {
            inner.processes.contains_key(&Pid(said.pid))
                && said.notes.iter().all(|(_, why)| why.len() <= MAX_NOTE)
        };
        let said = said.into_iter().filter(is_possible);
        let mut facts: BTreeMap<Pid, JitFacts> =
            said.map(|said| (Pid(said.pid), of_process(said))).collect();
        for (pid, _) in inner.processes.iter().filter(|(_, one)| one.is_blamed()) {
            facts.insert(*pid, failed(*pid));
        }
        facts.into_values().collect()
    }

    fn names(&self, asked: &[(Pid, u64, Span)]) -> Vec<Result<Arc<str>, Unnamed>> {
        let mut inner = self.inner();
        let mut names = Vec::with_capacity(asked.len());
        for asked in asked.chunks(MAX_CODE) {
            names.extend(inner.name(asked));
        }
        names
    }
}

impl Inner {
    /// A process that is looked after from now on, if it was not; `None` if there are too many.
    fn watched(&mut self, pid: Pid) -> Option<&mut Watched> {
        let has_room = self.processes.len() < MAX_PROCESSES;
        match self.processes.entry(pid) {
            Entry::Vacant(_) if !has_room => None,
            entry => Some(entry.or_insert_with(Watched::new)),
        }
    }

    /// Tells the child something of a process that is looked after; `None` if that has come to nothing.
    fn tell(&mut self, pid: Pid, request: &Request, file: Option<&File>) -> Option<Answer> {
        loop {
            if self.processes.get(&pid)?.is_blamed() {
                return None;
            }
            self.ready()?;
            self.parser.allow_code_of(pid);
            if let Some(answer) = self.parser.try_once(request, file) {
                // Another's doing, or it has changed.
                self.processes.get_mut(&pid)?.n_deaths = 0;
                return Some(answer);
            }
            self.died_over(pid);
        }
    }

    /// Asks the child something of all processes.
    fn ask(&mut self, request: &Request) -> Option<Answer> {
        // Without processes there is nothing to ask, and no child for it.
        if self.processes.values().all(Watched::is_blamed) {
            return None;
        }
        for _ in 0..MAX_DEATHS {
            self.ready()?;
            let answer = self.parser.try_once(request, None);
            if answer.is_some() {
                return answer;
            }
        }
        None
    }

    /// Names of at most [`MAX_CODE`] places.
    fn name(&mut self, asked: &[(Pid, u64, Span)]) -> Vec<Result<Arc<str>, Unnamed>> {
        let request = Request::NameCode(
            asked
                .iter()
                .map(|(pid, address, span)| (pid.0, *address, span.first.0, span.last.0))
                .collect(),
        );
        let is_watched = |pid: &Pid| match self.processes.get(pid) {
            Some(watched) if watched.is_blamed() => Err(Unnamed::ParserFailed),
            Some(_) => Ok(()),
            None => Err(Unnamed::Anonymous),
        };
        let are_watched: Vec<Result<(), Unnamed>> =
            asked.iter().map(|(pid, ..)| is_watched(pid)).collect();
        let named = match self.ask(&request) {
            Some(Answer::CodeNamed(named)) if are_possible(&named, asked.len()) => named,
            Some(_) => {
                self.parser.said_nonsense();
                Vec::new()
            }
            None => Vec::new(),
        };
        let unanswered = match self.parser.is_too_late() {
            true => Unnamed::TooLate,
            false => Unnamed::ParserFailed,
        };
        let mut named = named.into_iter();
        let name = |is_watched: Result<(), Unnamed>| {
            let named = named.next().unwrap_or(Err(unanswered));
            is_watched.and(named.map(Arc::from))
        };
        are_watched.into_iter().map(name).collect()
    }

    /// Sees to it that there is a child that has been told of all processes.
    fn ready(&mut self) -> Option<()> {
        while self.parser.ready()? != self.told {
            self.tell_all();
        }
        Some(())
    }

    /// Tells a new child of all processes, as far as it lives.
    fn tell_all(&mut self) {
        let Some(child) = self.parser.ready() else {
            return;
        };
        let pids: Vec<Pid> = self.processes.keys().copied().collect();
        for pid in pids {
            if self.tell_again(pid).is_none() {
                self.died_over(pid);
                return;
            }
        }
        self.told = child;
    }

    /// `None`: the child has died over it.
    fn tell_again(&mut self, pid: Pid) -> Option<()> {
        let Inner {
            parser, processes, ..
        } = self;
        let Some(watched) = processes.get(&pid).filter(|one| !one.is_blamed()) else {
            return Some(());
        };
        parser.allow_code_of(pid);
        let number = pid.0;
        let mut tell = |request: &Request, file: Option<&File>| parser.try_once(request, file);
        let watch = |code| Request::Watch { pid: number, code };
        tell(&watch(None), None)?;
        for range in &watched.ranges {
            tell(&watch(Some(*range)), None)?;
        }
        if let Some(at) = watched.began_anew {
            let request = Request::BeganAnew {
                pid: number,
                at: at.0,
            };
            tell(&request, None)?;
        }
        for dump in &watched.dumps {
            let request = Request::AddDump {
                pid: number,
                refused: dump.as_ref().err().cloned(),
            };
            tell(&request, dump.as_ref().ok())?;
        }
        Some(())
    }

    fn died_over(&mut self, pid: Pid) {
        if let Some(watched) = self.processes.get_mut(&pid) {
            watched.n_deaths += 1;
            if watched.is_blamed() {
                self.parser.count_blamed();
            }
        }
    }
}

fn are_possible(named: &[Result<String, Unnamed>], n_asked: usize) -> bool {
    let is_short =
        |name: &Result<String, Unnamed>| name.as_ref().map_or(true, |name| name.len() <= MAX_NAME);
    named.len() == n_asked && named.iter().all(is_short)
}

fn of_process(said: SaidFacts) -> JitFacts {
    let note = |(file, reason): (u32, String)| {
        let file = usize::try_from(file).unwrap_or(usize::MAX);
        let file = JitFileNote::FILES.get(file)?;
        Some(JitFileNote { file, reason })
    };
    JitFacts {
        pid: Pid(said.pid),
        figures: said.figures,
        rates: said.rates,
        notes: said.notes.into_iter().filter_map(note).collect(),
    }
}

/// Of a process over whose files children have died.
fn failed(pid: Pid) -> JitFacts {
    JitFacts {
        pid,
        figures: None,
        rates: JitRates::default(),
        notes: vec![JitFileNote {
            file: JitFileNote::FILES[0],
            reason: "the parser failed on it".to_owned(),
        }],
    }
}
