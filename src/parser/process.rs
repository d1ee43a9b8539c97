//! A child process, and one request of it at a time.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::back_off::BackOff;
use super::blamed::Blamed;
use super::message::{Answer, Bytes, Naming, Request, Said, TO_PERFD, decode, encode};
use super::opener::Opener;
use super::tally::{Tally, count};
use super::{Limits, child};
use crate::model::Pid;
use crate::procfs::tasks::time_ready;
use crate::symbolize::Config;
use crate::sys::parcel::{ParcelError, Parcels};
use crate::sys::pidfd::PidFd;

/// How long a child that was killed is waited for. One that is in a file system that does not answer is left, and waited for later.
const REAPED_WITHIN: Duration = Duration::from_secs(1);
/// How often the time of a request may be added to it again, for a child that was ready all the while and did not get a CPU.
const MOST_READY: u32 = 3;
/// A request is made of one child, and once more of a fresh one: that it died may be somebody else's doing.
const ATTEMPTS: u32 = 2;

/// What all children of a run begin with.
#[derive(Clone, Debug)]
pub struct Begin {
    /// What they may take.
    pub limits: Limits,
    /// How they name, and where debug files and the cache are.
    pub config: Config,
    /// Where it is counted how they fare.
    pub tally: Arc<Tally>,
}

/// Where children come from.
pub enum Source {
    /// The program of [`Limits`].
    Program,
    /// A double, which is at the other end of what this returns.
    Double(Box<dyn FnMut() -> Parcels + Send>),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Program => "a program",
            Source::Double(_) => "a double",
        })
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// None is started now, since too many in a row have failed.
    NotStarted,
    /// The file is one over which children die.
    Blamed,
    /// The last moment has passed.
    TooLate,
}

/// A child that is there when it is needed.
#[derive(Debug)]
pub(super) struct Parser {
    begin: Begin,
    source: Source,
    opener: Opener,
    running: Option<Running>,
    /// Of how many children in a row the present one is the last.
    generation: u64,
    back_off: BackOff,
    blamed: Blamed,
    /// Killed, and not yet gone when they were waited for.
    not_gone: Vec<Child>,
}

#[derive(Debug)]
struct Running {
    parcels: Parcels,
    /// `None` of a double.
    process: Option<Child>,
    /// When it was at work the last time.
    worked: Instant,
}

/// A file that a request is about.
pub(super) struct About<'a> {
    pub(super) file: &'a File,
    pub(super) path: &'a Path,
    /// Whose it is.
    pub(super) pid: Option<Pid>,
}

impl Parser {
    /// Starts nothing yet.
    pub(super) fn new(begin: Begin, source: Source) -> Parser {
        Parser {
            opener: Opener::new(&begin.config),
            begin,
            source,
            running: None,
            generation: 0,
            back_off: BackOff::default(),
            blamed: Blamed::default(),
            not_gone: Vec::new(),
        }
    }

    /// How long the child may go on without work, until it is to give back what it takes. `None`: there is none.
    pub(super) fn idle(&self) -> Option<Duration> {
        let running = self.running.as_ref()?;
        Some(
            self.begin
                .limits
                .idle
                .saturating_sub(running.worked.elapsed()),
        )
    }

    /// The child, if there is one now.
    pub(super) fn child(&self) -> Option<Pid> {
        let process = self.running.as_ref()?.process.as_ref()?;
        Some(Pid(process.id()))
    }

    /// Files over which children have died.
    pub(super) fn blamed(&self) -> &Blamed {
        &self.blamed
    }

    /// Makes a request about a file. `request` is asked for it with the number of the child that will get it: another one than before knows
    /// nothing. It returns the file as well, if the child needs it.
    pub(super) fn ask<'a>(
        &mut self,
        about: &About<'a>,
        mut request: impl FnMut(u64) -> (Request, Option<&'a File>),
    ) -> Result<Answer, Failure> {
        if self.blamed.has(about.file) {
            return Err(Failure::Blamed);
        }
        for _ in 0..ATTEMPTS {
            let child = self.ready().ok_or(self.why_not_ready())?;
            self.opener.about(about);
            let (request, file) = request(child);
            if let Some(answer) = self.try_once(&request, file) {
                return Ok(answer);
            }
        }
        if self.is_too_late() {
            return Err(Failure::TooLate);
        }
        self.blamed.add(about.file, about.path);
        self.count_blamed();
        Err(Failure::Blamed)
    }

    /// Whether nothing is asked any more.
    pub(super) fn is_too_late(&self) -> bool {
        self.begin.limits.last_moment.has_passed()
    }

    fn why_not_ready(&self) -> Failure {
        match self.is_too_late() {
            true => Failure::TooLate,
            false => Failure::NotStarted,
        }
    }

    /// Something is not tried again.
    pub(super) fn count_blamed(&self) {
        count(&self.begin.tally.blamed);
    }

    /// Sees to it that there is a child, and returns its number; `None` if there can be none now.
    pub(super) fn ready(&mut self) -> Option<u64> {
        if self.is_too_late() {
            // It may be at something that takes long.
            self.end();
            return None;
        }
        if !self.ensure_running() {
            count(&self.begin.tally.refused);
            return None;
        }
        Some(self.generation)
    }

    /// Makes a request of the child that there is. `None`: it has failed, and is no more.
    pub(super) fn try_once(&mut self, request: &Request, file: Option<&File>) -> Option<Answer> {
        match self.exchange(request, file.map(AsFd::as_fd)) {
            Ok(answer) => {
                self.back_off.succeeded();
                Some(answer)
            }
            // Not its fault.
            Err(_) if self.is_too_late() => {
                self.end();
                None
            }
            Err(error) => {
                self.failed(&error);
                None
            }
        }
    }

    /// The child may read what the runtime of this process writes.
    pub(super) fn allow_code_of(&mut self, pid: Pid) {
        self.opener.watched(pid);
    }

    /// It may not any more.
    pub(super) fn forbid_code_of(&mut self, pid: Pid) {
        self.opener.not_watched(pid);
    }

    /// The answer is one that may not be.
    pub(super) fn said_nonsense(&mut self) {
        self.failed(&ParcelError::Nonsense);
    }

    /// Lets the child leave what it has learnt, and ends it.
    pub(super) fn finish(&mut self) {
        if self.running.is_some() {
            // Whatever it says: it has been asked to end, and is killed if it does not.
            let _ = self.exchange(&Request::Finish, None);
            self.end();
        }
    }

    fn ensure_running(&mut self) -> bool {
        if self.running.is_some() {
            return true;
        }
        if !self.back_off.may_start(Instant::now()) {
            return false;
        }
        let children = &self.begin.limits.children;
        self.not_gone.retain_mut(|child| !children.reap(child));
        let started = self.start();
        if started.is_err() {
            self.end();
            self.back_off.failed(Instant::now());
        }
        started.is_ok()
    }

    fn start(&mut self) -> Result<(), ParcelError> {
        self.running = Some(match &mut self.source {
            Source::Program => execute(&self.begin.limits)?,
            Source::Double(double) => Running {
                parcels: double().until(self.begin.limits.last_moment.clone()),
                process: None,
                worked: Instant::now(),
            },
        });
        self.generation += 1;
        self.opener.forget_child();
        count(&self.begin.tally.started);
        let allowance = self.begin.limits.allowance();
        let begin = Request::Begin {
            memory: allowance.memory,
            open_files: allowance.open_files,
            file_size: allowance.file_size,
            cpu: self.begin.limits.time.as_secs().max(1),
            naming: naming(&self.begin),
        };
        match self.exchange(&begin, None)? {
            Answer::Begun => Ok(()),
            _ => Err(ParcelError::Nonsense),
        }
    }

    /// Makes a request, and serves what the child asks for until it answers.
    fn exchange(
        &mut self,
        request: &Request,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<Answer, ParcelError> {
        let Parser {
            running:
                Some(Running {
                    parcels,
                    process,
                    worked,
                }),
            opener,
            begin,
            ..
        } = self
        else {
            return Err(ParcelError::Closed);
        };
        let mut patience = Patience::new(begin, process.as_ref());
        parcels.send(&encode(request), file.as_slice(), patience.deadline())?;
        loop {
            patience.wait_for(parcels)?;
            let deadline = patience.deadline();
            let (bytes, _) = parcels.receive(TO_PERFD, deadline)?;
            match decode(&bytes).ok_or(ParcelError::Nonsense)? {
                Said::Answer(answer) => {
                    *worked = Instant::now();
                    return Ok(answer);
                }
                Said::Ask(ask) => {
                    let (reply, files) = opener.serve(ask).ok_or(ParcelError::Nonsense)?;
                    let files: Vec<BorrowedFd<'_>> = files.iter().map(AsFd::as_fd).collect();
                    parcels.send(&encode(&reply), &files, deadline)?;
                }
            }
        }
    }

    fn failed(&mut self, why: &ParcelError) {
        let tally = &self.begin.tally;
        count(match why {
            ParcelError::TimedOut => &tally.timed_out,
            ParcelError::Nonsense => &tally.nonsense,
            ParcelError::Closed | ParcelError::Io(_) => &tally.died,
        });
        self.back_off.failed(Instant::now());
        self.end();
    }

    /// Ends the child, whatever it does.
    fn end(&mut self) {
        self.opener.forget_child();
        let Some(Running {
            process: Some(mut process),
            ..
        }) = self.running.take()
        else {
            return;
        };
        // It may have ended by itself.
        let _ = process.kill();
        let held = PidFd::open(Pid(process.id()));
        let is_gone = held.is_ok_and(|held| held.wait(REAPED_WITHIN).unwrap_or(false));
        if !is_gone || !self.begin.limits.children.reap(&mut process) {
            self.not_gone.push(process);
        }
    }
}

/// How long a request may take: a time, and what the child was ready to run in it and did not get to. On a host that is busy with other things it is not the
/// file's fault when a child is late.
struct Patience<'a> {
    proc_root: &'a Path,
    child: Option<Pid>,
    began: Instant,
    time: Duration,
    ready_before: Duration,
    added: Duration,
}

impl<'a> Patience<'a> {
    fn new(begin: &'a Begin, process: Option<&Child>) -> Patience<'a> {
        let mut patience = Patience {
            proc_root: &begin.config.proc_root,
            child: process.map(|process| Pid(process.id())),
            began: Instant::now(),
            time: begin.limits.time,
            ready_before: Duration::ZERO,
            added: Duration::ZERO,
        };
        patience.ready_before = patience.ready();
        patience
    }

    /// No time where the kernel does not keep this account.
    fn ready(&self) -> Duration {
        let ready = self.child.map(|child| time_ready(self.proc_root, child));
        ready.and_then(Result::ok).unwrap_or_default()
    }

    fn deadline(&self) -> Option<Instant> {
        self.began.checked_add(self.time + self.added)
    }

    /// Waits for a message to begin.
    fn wait_for(&mut self, parcels: &Parcels) -> Result<(), ParcelError> {
        loop {
            let Some(deadline) = self.deadline() else {
                return Ok(());
            };
            match parcels.wait_for_message(deadline) {
                Err(ParcelError::TimedOut) => (),
                waited => return waited,
            }
            let ready = self.ready().saturating_sub(self.ready_before);
            let added = ready.min(self.time * MOST_READY);
            if added <= self.added {
                return Err(ParcelError::TimedOut);
            }
            self.added = added;
        }
    }
}

impl Drop for Parser {
    fn drop(&mut self) {
        self.end();
        let children = &self.begin.limits.children;
        self.not_gone.iter().for_each(|child| children.leave(child));
    }
}

fn execute(limits: &Limits) -> io::Result<Running> {
    let (parcels, other): (Parcels, OwnedFd) = Parcels::pair()?;
    let parcels = parcels.until(limits.last_moment.clone());
    let process = Command::new(&limits.program)
        .arg(child::COMMAND)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(other))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Ctrl-C is for perfd, which has work to do then.
        .process_group(0)
        .spawn()?;
    limits.children.came(&process);
    Ok(Running {
        parcels,
        process: Some(process),
        worked: Instant::now(),
    })
}

fn naming(begin: &Begin) -> Naming {
    let Begin { limits, config, .. } = begin;
    let bytes = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let memory_budget = limits.names_budget(config.memory_budget);
    Naming {
        inline: config.inline,
        shown: config.shown,
        wanted: config.wanted,
        memory_budget: bytes(memory_budget),
        ready_texts: bytes(config.ready_texts.min(memory_budget)),
        has_cache: config.cache.is_some(),
        debug_roots: config
            .debug_files
            .roots
            .iter()
            .map(|root| Bytes::of_path(root))
            .collect(),
    }
}
