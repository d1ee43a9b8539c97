//! Names of frames in files, which a child looks up; those of all else are known here.

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::{FxHashMap, FxHashSet};

use super::message::{
    Answer, Bytes, MAX_FRAMES, MAX_NAME, MAX_NOTE, MAX_NOTES, NewModule, Request, SaidName,
    SaidNames,
};
use super::opener::begins_as_elf;
use super::process::{About, Begin, Failure, Parser, Source};
use crate::model::{
    AddressKind, Frame, FrameName, Module, ModuleId, ModuleKind, MonoNs, NameKind, Pid, Unnamed,
};
use crate::procfs::module_file;
use crate::symbolize::jit::JitNames;
use crate::symbolize::{Resolver, unnamed, why_unopened};
use crate::sys;

/// Files of modules that are kept open: their processes may be gone when another child needs them.
const MAX_OPEN: usize = 4096;
/// How long a file stays open that nobody asks for names of. As long as a process has it mapped, it can be opened again.
const KEPT: Duration = Duration::from_secs(60);
/// How long a file that could not be opened is not tried again: its process may have been just becoming another program.
const NOT_TRIED: Duration = Duration::from_secs(5);
/// Modules that one child is given, so that its descriptors suffice: each may come with some files for debugging.
const MODULES_OF_CHILD: usize = 512;

/// A module's file, or why there is none.
struct Opened {
    file: Result<File, Unnamed>,
    /// When it was opened, or asked for last if there is one.
    at: MonoNs,
}

impl Opened {
    /// How long it stays.
    fn kept(&self) -> Duration {
        if self.file.is_ok() { KEPT } else { NOT_TRIED }
    }
}

/// Names frames of one run, whose module ids it goes by. Like a [`Resolver`] it remembers files and not names.
pub struct Names {
    begin: Begin,
    parser: Parser,
    /// Names what is in no foreign file: the kernel, its vDSO, memory without a file.
    own: Resolver,
    files: FxHashMap<ModuleId, Opened>,
    /// The modules that the child of that number has been given.
    given: (u64, FxHashSet<ModuleId>),
    /// Names that were looked up ahead.
    ready: FxHashMap<Frame, Vec<FrameName>>,
    notes: Vec<String>,
}

impl Names {
    /// Starts nothing yet.
    pub fn new(begin: Begin, source: Source, jit: JitNames) -> Names {
        Names {
            own: Resolver::new(begin.config.clone()).with_jit(jit),
            parser: Parser::new(begin.clone(), source),
            begin,
            files: FxHashMap::default(),
            given: (0, FxHashSet::default()),
            ready: FxHashMap::default(),
            notes: Vec::new(),
        }
    }

    /// How long to wait for more work before [`Names::rest`]; `None`: for ever.
    pub fn idle(&self) -> Option<Duration> {
        self.parser.idle()
    }

    /// The child, if there is one now: for who wants to know what it takes.
    pub fn child(&self) -> Option<Pid> {
        self.parser.child()
    }

    /// There is nothing to do: what the child takes is given back.
    pub fn rest(&mut self) {
        self.parser.finish();
    }

    /// Closes the files that nobody has asked for names of for a while.
    pub fn close_unused(&mut self) {
        let now = sys::now();
        self.files
            .retain(|_, opened| now.since(opened.at) < opened.kept());
    }

    /// The names of code made at run time.
    pub fn jit(&mut self) -> &mut JitNames {
        self.own.jit()
    }

    /// Looks up names of frames that will be asked for next, many at a time: `frames` are in the order of their modules.
    pub fn prepare<'a>(&mut self, frames: impl Iterator<Item = (Frame, &'a Module)>) {
        self.ready.clear();
        self.close_unused();
        let mut batch: Vec<Frame> = Vec::with_capacity(MAX_FRAMES);
        let mut of_batch: Option<&Module> = None;
        let in_files = frames.filter(|(_, module)| is_foreign(module));
        for (frame, module) in in_files {
            let is_other = batch
                .first()
                .is_some_and(|first| first.module != frame.module);
            if let (true, Some(module)) = (is_other || batch.len() == MAX_FRAMES, of_batch) {
                self.look_up(module, &std::mem::take(&mut batch));
            }
            batch.push(frame);
            of_batch = Some(module);
        }
        if let Some(module) = of_batch {
            self.look_up(module, &batch);
        }
    }

    /// Names of one frame, outermost function first, its inlined callees after it. Never empty.
    pub fn name(&mut self, module: &Module, frame: Frame) -> Vec<FrameName> {
        if !is_foreign(module) {
            return self.own.name(module, frame);
        }
        if !self.ready.contains_key(&frame) {
            self.look_up(module, &[frame]);
        }
        let names = self.ready.remove(&frame);
        names.unwrap_or_else(|| vec![unnamed(module, frame, Unnamed::ParserFailed)])
    }

    /// What the user should know of the search for names.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if self.begin.config.debug_files.debuginfod.is_some() {
            let note = "debuginfod servers are not asked where files are read in a child";
            notes.push(note.to_owned());
        }
        notes.extend(self.begin.tally.facts().note());
        let blamed = self.parser.blamed().paths().iter();
        notes.extend(blamed.map(|path| format!("the parser failed on {}", path.display())));
        notes
    }

    /// Leaves for later runs what was learnt.
    pub fn finish(mut self) {
        self.parser.finish();
    }

    /// Looks up names of frames of one module.
    fn look_up(&mut self, module: &Module, frames: &[Frame]) {
        let Some(first) = frames.first() else {
            return;
        };
        let named = self.ask(first.module, module, frames);
        for (idx, frame) in frames.iter().enumerate() {
            let names = match &named {
                Ok(named) => named.get(idx).cloned().unwrap_or_default(),
                Err(why) => vec![unnamed(module, *frame, *why)],
            };
            self.ready.insert(*frame, names);
        }
    }

    /// The names of each frame, as many as there are frames, and none of them empty.
    fn ask(
        &mut self,
        id: ModuleId,
        module: &Module,
        frames: &[Frame],
    ) -> Result<Vec<Vec<FrameName>>, Unnamed> {
        if self.parser.is_too_late() {
            return Err(Unnamed::TooLate);
        }
        let file = self.file(id, module)?;
        let about = About {
            file: &file,
            path: &module.path,
            pid: module.seen_in.map(|seen_in| seen_in.pid),
        };
        if self.given.1.len() >= MODULES_OF_CHILD {
            self.parser.finish();
        }
        let given = &mut self.given;
        let answer = self.parser.ask(&about, |child| {
            if given.0 != child {
                *given = (child, FxHashSet::default());
            }
            let is_new = given.1.insert(id);
            let request = Request::Name {
                module: id.0,
                new: is_new.then(|| NewModule {
                    path: Bytes::of_path(&module.path),
                    pid: about.pid.map(|pid| pid.0),
                }),
                frames: frames
                    .iter()
                    .map(|frame| (frame.kind == AddressKind::Return, frame.offset.0))
                    .collect(),
            };
            (request, is_new.then_some(about.file))
        });
        match answer.map_err(why_unanswered)? {
            Answer::Named { names, notes }
                if names.len() == frames.len() && are_possible(&names) && are_short(&notes) =>
            {
                let room = MAX_NOTES.saturating_sub(self.notes.len());
                self.notes.extend(notes.into_iter().take(room));
                Ok(names
                    .into_iter()
                    .map(|names| names.0.into_iter().map(of_frame).collect())
                    .collect())
            }
            _ => {
                self.parser.said_nonsense();
                Err(Unnamed::ParserFailed)
            }
        }
    }

    /// The file of a module, opened once.
    fn file(&mut self, id: ModuleId, module: &Module) -> Result<File, Unnamed> {
        let open = || {
            let file = module_file::open_as_file(&self.begin.config.proc_root, module)
                .map_err(|error| why_unopened(&error))?;
            match begins_as_elf(&file) {
                Ok(true) => Ok(file),
                // As of any file that is not what it should be.
                Ok(false) | Err(_) => Err(Unnamed::FileCorrupt),
            }
        };
        if !self.files.contains_key(&id) {
            if self.files.len() >= MAX_OPEN {
                self.files.clear();
            }
            let opened = Opened {
                file: open(),
                at: sys::now(),
            };
            self.files.insert(id, opened);
        }
        match self.files.get_mut(&id) {
            Some(Opened {
                file: Ok(file), at, ..
            }) => {
                *at = sys::now();
                file.try_clone().map_err(|_| Unnamed::FileUnreadable)
            }
            Some(Opened { file: Err(why), .. }) => Err(*why),
            None => Err(Unnamed::FileUnreadable),
        }
    }
}

/// Whether names of the module are in a file that is not the kernel's.
fn is_foreign(module: &Module) -> bool {
    matches!(module.kind, ModuleKind::File { .. })
}

fn why_unanswered(failure: Failure) -> Unnamed {
    match failure {
        Failure::NotStarted | Failure::Blamed => Unnamed::ParserFailed,
        Failure::TooLate => Unnamed::TooLate,
    }
}

/// Whether a child can have found these.
fn are_possible(names: &[SaidNames]) -> bool {
    let is_possible = |name: &SaidName| {
        let is_of_file = matches!(name.kind, NameKind::User | NameKind::Inlined);
        is_of_file && name.text.len() <= MAX_NAME
    };
    names
        .iter()
        .all(|names| !names.0.is_empty() && names.0.iter().all(is_possible))
}

fn are_short(notes: &[String]) -> bool {
    notes.iter().all(|note| note.len() <= MAX_NOTE)
}

fn of_frame(said: SaidName) -> FrameName {
    FrameName {
        text: Arc::from(said.text),
        kind: said.kind,
        unnamed: said.unnamed,
    }
}
