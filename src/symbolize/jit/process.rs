//! What is known of the code that one process has made at run time.

use std::fs::File;
use std::sync::Arc;

use super::dump_file::DumpFile;
use super::history::{Changed, Found, History};
use super::map_file::MapFile;
use super::report_file::ReportFile;
use super::roots::Root;
use crate::model::{JitFigures, JitFileNote, JitSource, MonoNs, Span, Unnamed};
use crate::procfs::jit_file::Refused;

/// Runs of addresses with code that are told apart; more are taken for one.
const MAX_RANGES: usize = 1024;

/// A process with code of its own making.
#[derive(Debug)]
pub(super) struct Process {
    /// `None`: it was gone before it could be looked at.
    root: Option<Box<dyn Root>>,
    map: MapFile,
    dumps: Vec<DumpFile>,
    /// Why the dump was not opened, if so.
    dump_refused: Option<String>,
    pub(super) report: ReportFile,
    /// Where it has code in memory without a file: sorted by start.
    ranges: Vec<(u64, u64)>,
    /// Since when it is known; with another program, since that began.
    pub(super) since: MonoNs,
    /// All that can be read was read, of a process that has ended.
    is_over: bool,
    /// When code took the place of other code for the last time, at the latest, if it did so since that was last asked.
    changed: Option<MonoNs>,
    /// Changes before this were told, or can make no difference any more.
    asked: MonoNs,
}

/// Dumps of one process: each program that it becomes by exec, and each runtime in it, has one of its own.
const MAX_DUMPS: usize = 8;

impl Process {
    pub(super) fn new(root: Option<Box<dyn Root>>, since: MonoNs) -> Process {
        Process {
            since,
            root,
            map: MapFile::default(),
            dumps: Vec::new(),
            dump_refused: None,
            report: ReportFile::default(),
            ranges: Vec::new(),
            is_over: false,
            changed: None,
            asked: MonoNs(0),
        }
    }

    /// It has code there.
    pub(super) fn add_range(&mut self, start: u64, end: u64) {
        if self
            .ranges
            .iter()
            .any(|(from, to)| *from <= start && end <= *to)
        {
            return;
        }
        let at = self.ranges.partition_point(|(known, _)| *known < start);
        self.ranges.insert(at, (start, end));
        if self.ranges.len() > MAX_RANGES {
            let end = self.ranges.iter().map(|(_, end)| *end).max();
            self.ranges = vec![(self.ranges[0].0, end.unwrap_or(u64::MAX))];
        }
    }

    /// It writes this dump, or one that could not be opened.
    pub(super) fn add_dump(&mut self, dump: Result<File, String>) {
        let root = self.root.as_ref();
        let checked = dump.and_then(|file| {
            let checked = root.map_or(Ok(()), |root| root.check(&file));
            checked.map(|()| file).map_err(|why| why.to_string())
        });
        match checked {
            Ok(file) if self.dumps.len() < MAX_DUMPS => self.dumps.push(DumpFile::new(file)),
            Ok(_) => self.dump_refused = Some("there are too many of them".to_owned()),
            Err(why) => self.dump_refused = Some(why),
        }
    }

    /// It is another program from now on.
    pub(super) fn began_anew(&mut self, root: Option<Box<dyn Root>>, at: MonoNs) {
        self.since = at;
        self.map.began_anew(at);
        for dump in &mut self.dumps {
            let when = super::history::When::exactly(at);
            // One that has no room for it gives no names.
            if dump.history.forget_all(when).is_err() {
                dump.history = History::default();
            }
            dump.history.settle();
            dump.close();
        }
        if root.is_some() {
            self.root = root;
        }
        self.is_over = false;
        self.note_changes();
    }

    /// Reads what its files have got since; `now` tells the time.
    pub(super) fn read(&mut self, now: &impl Fn() -> MonoNs) {
        let Some(root) = self.root.as_mut().filter(|_| !self.is_over) else {
            return;
        };
        // In this order: what a process has written before its end is read.
        let is_alive = root.is_alive();
        self.map.read(root.as_mut(), now);
        let own_pid = root.own_pid();
        self.dumps
            .iter_mut()
            .for_each(|dump| dump.read(own_pid, now));
        self.report.read(root.as_mut());
        if !is_alive {
            self.is_over = true;
            self.root = None;
            self.map.close();
        }
        self.note_changes();
    }

    /// When code took the place of other code for the last time, if it did so since this was last asked; `now` is the present.
    pub(super) fn take_changed(&mut self, now: MonoNs) -> Option<MonoNs> {
        self.asked = now;
        self.changed.take()
    }

    /// The function at `address` while samples of `span` were taken, or why it has no name.
    pub(super) fn name(&self, address: u64, span: Span) -> Result<Arc<str>, Unnamed> {
        let histories = self.histories();
        let mut is_replaced = false;
        for history in histories {
            match history.at(address, span) {
                Found::Function(name) => return Ok(name),
                Found::Replaced => is_replaced = true,
                Found::Nothing => (),
            }
        }
        let is_refused = !self.notes().is_empty();
        let is_known = self.map.is_known() || !self.dumps.is_empty();
        Err(match (is_replaced, is_refused, is_known) {
            (true, ..) => Unnamed::CodeReplaced,
            (false, true, _) => Unnamed::JitFileRefused,
            (false, false, true) => Unnamed::NotCovered,
            (false, false, false) => Unnamed::Anonymous,
        })
    }

    /// What was made, by the file that says most; `None` if none says anything.
    pub(super) fn figures(&self) -> Option<JitFigures> {
        let is_code = |start: u64, end: u64| {
            let behind = self.ranges.partition_point(|(known, _)| *known < end);
            // A range that began long before may reach further than those behind it.
            self.ranges[..behind]
                .iter()
                .rev()
                .any(|(_, known)| start < *known)
        };
        let of = |history: &History, source| {
            let made = history.made(is_code);
            JitFigures {
                source,
                functions: made.functions,
                compiled_again: made.again,
                code_bytes: made.bytes,
                live_bytes: made.live_bytes,
            }
        };
        let map = self
            .map
            .is_known()
            .then(|| of(&self.map.history, JitSource::PerfMap));
        let dumps = self.dumps.iter().filter(|dump| dump.given_up.is_none());
        let dumps = dumps.map(|dump| of(&dump.history, JitSource::Jitdump));
        let dump = dumps.reduce(|sum, dump| JitFigures {
            source: JitSource::Jitdump,
            functions: sum.functions + dump.functions,
            compiled_again: sum.compiled_again + dump.compiled_again,
            code_bytes: sum.code_bytes + dump.code_bytes,
            live_bytes: sum.live_bytes + dump.live_bytes,
        });
        [map, dump]
            .into_iter()
            .flatten()
            .max_by_key(|figures| figures.functions)
    }

    /// Which of its files are not believed, and why.
    pub(super) fn notes(&self) -> Vec<JitFileNote> {
        let note = |file: &'static str, reason: String| JitFileNote { file, reason };
        let map = self
            .map
            .refused
            .map(|why: Refused| note("perf map", why.to_string()));
        let dump = self
            .dumps
            .iter()
            .find_map(|dump| dump.given_up.map(|why| note("jitdump", why.to_string())));
        let unopened = self
            .dump_refused
            .as_ref()
            .map(|why| note("jitdump", why.clone()));
        let report = self
            .report
            .refused
            .map(|why| note("report", why.to_string()));
        [map, dump.or(unopened), report]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Bytes of memory held, estimated.
    pub(super) fn memory(&self) -> usize {
        self.histories().map(History::memory).sum()
    }

    /// Gives up all names: there is no room for them.
    pub(super) fn give_up(&mut self) {
        *self = Process {
            dump_refused: Some("all processes together have written down too much".to_owned()),
            is_over: true,
            ..Process::new(None, MonoNs(0))
        };
    }

    fn histories(&self) -> impl Iterator<Item = &History> {
        std::iter::once(&self.map.history).chain(self.dumps.iter().map(|dump| &dump.history))
    }

    fn note_changes(&mut self) {
        let histories = std::iter::once(&mut self.map.history)
            .chain(self.dumps.iter_mut().map(|dump| &mut dump.history));
        for history in histories {
            for Changed { start, end, latest } in history.take_changed() {
                // V8 tells of bytecode too, which lies in its heap.
                let is_code = self.ranges.is_empty()
                    || self
                        .ranges
                        .iter()
                        .any(|(from, to)| start < *to && *from < end);
                // What is told that late finds nothing to be told apart any more.
                if is_code && self.asked <= latest {
                    self.changed = self.changed.max(Some(latest));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
