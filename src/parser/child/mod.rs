//! The child: takes requests, reads files that come along, and answers. It opens nothing itself.

mod asker;
mod code;
mod shelf;
mod trees;

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use asker::Asker;
use code::Code;
use shelf::AskedShelf;
use trees::AskedTrees;

use super::message::{Answer, Bytes, Naming, NewModule, Request, SaidName, SaidNames, SaidTable};
use crate::debug_files::{self, DebugFiles};
use crate::model::{
    AddressKind, FileOffset, Frame, FrameName, Module, ModuleId, ModuleKind, Pid, SeenIn,
};
use crate::object::Elf;
use crate::python::{Looked, PythonFile};
use crate::symbolize::{CacheFolder, Config, Resolver};
use crate::sys::confinement::{self, Allowance};
use crate::sys::parcel::{ParcelError, Parcels};
use crate::unwind::Table;

/// What perfd is told on its command line to be one.
pub const COMMAND: &str = "parse";

/// Whether the process gives up its rights before it works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// It does.
    Confined,
    /// It does not: what tests and fuzzers call.
    Free,
}

/// The life of a child, whose standard input is the socket.
///
/// # Errors
/// It could not give up its rights.
pub fn run() -> io::Result<()> {
    let socket = confinement::take_socket()?;
    match serve(Parcels::of(socket), Confinement::Confined) {
        // perfd has no more use for it.
        Ok(()) | Err(ParcelError::Closed) => Ok(()),
        Err(ParcelError::Io(error)) => Err(error),
        Err(ParcelError::TimedOut | ParcelError::Nonsense) => {
            Err(io::ErrorKind::InvalidData.into())
        }
    }
}

/// Answers requests until there are no more.
///
/// # Errors
/// The other end is closed, or says what it may not.
pub fn serve(parcels: Parcels, confinement: Confinement) -> Result<(), ParcelError> {
    let asker = Arc::new(Asker::new(parcels));
    let (
        Request::Begin {
            memory,
            open_files,
            file_size,
            cpu,
            naming,
        },
        _,
    ) = asker.next()?
    else {
        return Err(ParcelError::Nonsense);
    };
    if confinement == Confinement::Confined {
        confinement::confine(Allowance {
            memory,
            open_files,
            file_size,
        })?;
    }
    let mut work = Work {
        resolver: Some(resolver(&naming, &asker)),
        code: Code::new(&asker, memory),
        modules: FxHashMap::default(),
        n_notes: 0,
    };
    asker.answer(Answer::Begun)?;
    loop {
        let (request, files) = asker.next()?;
        if confinement == Confinement::Confined {
            confinement::allow_cpu_time(cpu)?;
        }
        let answer = work.answer(request, files).ok_or(ParcelError::Nonsense)?;
        let is_last = matches!(answer, Answer::Finished);
        asker.answer(answer)?;
        if is_last {
            return Ok(());
        }
    }
}

fn resolver(naming: &Naming, asker: &Arc<Asker>) -> Resolver {
    let bytes = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let shelf = AskedShelf::new(Arc::clone(asker));
    let config = Config {
        // The kernel's own names are no foreign file: the parent reads them.
        kallsyms: Default::default(),
        inline: naming.inline,
        shown: naming.shown,
        wanted: naming.wanted,
        memory_budget: bytes(naming.memory_budget),
        ready_texts: bytes(naming.ready_texts),
        cache: naming.has_cache.then(|| CacheFolder::on(Arc::new(shelf))),
        // It opens nothing there.
        proc_root: PathBuf::new(),
        debug_files: debug_files::Config {
            roots: naming
                .debug_roots
                .iter()
                .cloned()
                .map(Bytes::into_path)
                .collect(),
            debuginfod: None,
        },
    };
    let trees = Box::new(AskedTrees::new(Arc::clone(asker)));
    let debug_files = DebugFiles::within(trees, config.debug_files.clone());
    Resolver::with_debug_files(config, debug_files)
}

struct Work {
    code: Code,
    /// `None` when it is finished.
    resolver: Option<Resolver>,
    modules: FxHashMap<u32, Module>,
    /// Notes that were told.
    n_notes: usize,
}

impl Work {
    /// `None` for a request that may not be.
    fn answer(&mut self, request: Request, mut files: Vec<OwnedFd>) -> Option<Answer> {
        match request {
            Request::Begin { .. } => None,
            Request::Name {
                module,
                new,
                frames,
            } => {
                if let Some(new) = new {
                    self.add_module(module, new, File::from(files.pop()?))?;
                }
                self.name(module, &frames)
            }
            Request::Table => {
                let table = table(File::from(files.pop()?));
                Some(Answer::Table(table.map(|table| said_table(&table))))
            }
            Request::Python { name } => {
                let file = File::from(files.pop()?);
                Some(Answer::Python(python(file, &name)))
            }
            Request::Watch { .. }
            | Request::AddDump { .. }
            | Request::BeganAnew { .. }
            | Request::ForgetCode { .. }
            | Request::ReadCode { .. }
            | Request::CodeFacts
            | Request::NameCode(_) => self.code.answer(request, files.pop().map(File::from)),
            Request::Finish => {
                if let Some(resolver) = self.resolver.take() {
                    resolver.finish();
                }
                Some(Answer::Finished)
            }
        }
    }

    fn add_module(&mut self, number: u32, new: NewModule, file: File) -> Option<()> {
        let module = Module {
            // Which file it is was perfd's business.
            kind: ModuleKind::File { dev: 0, inode: 0 },
            path: new.path.into_path(),
            seen_in: new.pid.map(|pid| SeenIn {
                pid: Pid(pid),
                start: 0,
                end: 0,
                version: None,
            }),
        };
        let resolver = self.resolver.as_mut()?;
        resolver.give_module(ModuleId(number), &module, Box::new(file));
        self.modules.insert(number, module);
        Some(())
    }

    fn name(&mut self, number: u32, frames: &[(bool, u64)]) -> Option<Answer> {
        let module = self.modules.get(&number)?;
        let resolver = self.resolver.as_mut()?;
        let names = frames.iter().map(|(is_return, offset)| {
            let frame = Frame {
                module: ModuleId(number),
                kind: match is_return {
                    true => AddressKind::Return,
                    false => AddressKind::Interrupted,
                },
                offset: FileOffset(*offset),
            };
            let names = resolver.name(module, frame);
            SaidNames(names.into_iter().map(said_name).collect())
        });
        let names = names.collect();
        let notes = resolver.notes().split_off(self.n_notes);
        self.n_notes += notes.len();
        Some(Answer::Named { names, notes })
    }
}

/// A panic of a parser costs the table, as in perfd itself.
fn table(file: File) -> Option<Table> {
    let build = || Table::build(&Elf::parse(Box::new(file)).ok()?).ok();
    catch_unwind(AssertUnwindSafe(build)).ok().flatten()
}

/// A panic costs the interpreter, as in perfd itself.
fn python(file: File, name: &str) -> Looked {
    let look = || match Elf::parse(Box::new(file)) {
        Ok(elf) => PythonFile::read(&elf, name),
        Err(_) => Ok(None),
    };
    catch_unwind(AssertUnwindSafe(look)).unwrap_or(Ok(None))
}

fn said_name(name: FrameName) -> SaidName {
    SaidName {
        text: name.text.as_ref().to_owned(),
        kind: name.kind,
        unnamed: name.unnamed,
    }
}

fn said_table(table: &Table) -> SaidTable {
    let parts = table.to_parts();
    SaidTable {
        first_page: parts.first_page,
        index: Bytes(parts.index),
        rows: Bytes(parts.rows),
        rules: Bytes(parts.rules),
        skipped: parts.skipped,
    }
}
