//! The threads that read modules and make their unwind tables, and the one that loads them into the kernel.
//!
//! They decide nothing but that a table is not built twice: who reads a module whose table is there, or being built, takes that one.

use std::collections::VecDeque;
use std::hash::RandomState;
use std::io;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use rustc_hash::FxHashMap;

use crate::bpf::{LoadError, LoadedTable, TableLoader, TableWords};
use crate::model::{Module, ModuleId, ModuleKind};
use crate::object::Elf;
use crate::parser::{self, Begin, Source};
use crate::procfs::module_file;
use crate::sys::Waker;
use crate::unwind::{Fingerprint, Table, TableInput};

/// Requests on their way to the threads; more wait in their [`Queue`].
const QUEUE: usize = 64;
/// Workers: building is bound by memory bandwidth, and the host has other work.
const BUILDERS: usize = 2;

/// A module whose table is wanted.
pub(super) type Wanted = (ModuleId, Arc<Module>);

/// What to do in the kernel.
pub(super) enum Load {
    In(Fingerprint, Arc<Table>),
    Out(LoadedTable),
}

/// What was done.
pub(super) enum Done {
    Built {
        module: ModuleId,
        /// `None`: the module has none and never will.
        table: Option<(Fingerprint, Arc<Table>)>,
        origin: Origin,
    },
    Loaded(Fingerprint, Result<LoadedTable, LoadError>),
}

/// Where a table is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Made from the module.
    Module,
    /// Another module with the same had it.
    Shared,
}

/// Requests in order, as many as there are.
pub(super) struct Queue<T> {
    waiting: VecDeque<T>,
    sender: Sender<T>,
}

impl<T> Queue<T> {
    pub(super) fn new() -> (Queue<T>, Receiver<T>) {
        let (sender, receiver) = bounded(QUEUE);
        let waiting = VecDeque::new();
        (Queue { waiting, sender }, receiver)
    }

    pub(super) fn push(&mut self, request: T) {
        self.waiting.push_back(request);
        self.feed();
    }

    /// Hands on what there is room for.
    pub(super) fn feed(&mut self) {
        while let Some(request) = self.waiting.pop_front() {
            match self.sender.try_send(request) {
                Ok(()) => (),
                Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) => {
                    self.waiting.push_front(request);
                    return;
                }
            }
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }
}

/// The ends of the threads' channels.
pub(super) struct Workers {
    pub(super) builds: Queue<Wanted>,
    pub(super) loads: Queue<Load>,
    pub(super) done: Receiver<Done>,
}

impl Workers {
    /// Starts the threads; `waker` is woken for everything that is done.
    pub(super) fn start(
        proc_root: &Path,
        begin: Option<&Begin>,
        waker: &Waker,
        loader: Option<&TableLoader>,
    ) -> io::Result<Workers> {
        let (builds, wanted) = Queue::new();
        let (loads, to_load) = Queue::new();
        let (sender, done) = bounded(QUEUE);
        let report = Report {
            done: sender,
            waker: waker.clone(),
        };
        let tables = Arc::new(Tables::default());
        for n in 0..BUILDERS {
            let mut builder = Builder {
                proc_root: proc_root.to_owned(),
                child: begin.map(|begin| parser::Tables::new(begin.clone(), Source::Program)),
                tables: tables.clone(),
                report: report.clone(),
            };
            let wanted = wanted.clone();
            thread::Builder::new()
                .name(format!("perfd-tables-{n}"))
                .spawn(move || builder.work(&wanted))?;
        }
        if let Some(loader) = loader.cloned() {
            // A thread of its own: it waits more than it works.
            thread::Builder::new()
                .name("perfd-loader".to_owned())
                .spawn(move || load(&loader, &to_load, &report))?;
        }
        Ok(Workers {
            builds,
            loads,
            done,
        })
    }
}

#[cfg(test)]
impl Workers {
    /// With the threads' ends of the channels.
    pub(super) fn without_threads() -> (Workers, Receiver<Wanted>, Sender<Done>) {
        let (builds, wanted) = Queue::new();
        let (loads, _) = Queue::new();
        let (sender, done) = bounded(QUEUE);
        let workers = Workers {
            builds,
            loads,
            done,
        };
        (workers, wanted, sender)
    }
}

#[derive(Clone)]
struct Report {
    done: Sender<Done>,
    waker: Waker,
}

impl Report {
    /// `false` if nobody listens any more.
    fn say(&self, done: Done) -> bool {
        let is_heard = self.done.send(done).is_ok();
        self.waker.wake();
        is_heard
    }
}

struct Builder {
    proc_root: PathBuf,
    /// Who reads files, if it is not this process.
    child: Option<parser::Tables>,
    tables: Arc<Tables>,
    report: Report,
}

impl Builder {
    fn work(&mut self, wanted: &Receiver<Wanted>) {
        while let Some((module, what)) = self.next(wanted) {
            if let (Some(child), ModuleKind::File { .. }) = (&mut self.child, &what.kind) {
                let table = child.table(&what).map(Arc::new);
                if !self.take(module, table) {
                    return;
                }
                continue;
            }
            // The bytes are foreign; whatever a parser makes of them must not end the run.
            let read = guarded(|| read(&self.proc_root, &what));
            let is_heard = match read {
                None => self.say(module, None, Origin::Module),
                Some(input) => self.make(module, &input),
            };
            if !is_heard {
                return;
            }
        }
    }

    /// The next module; `None` if there will be none. A child that has nothing to do gives back what it takes.
    fn next(&mut self, wanted: &Receiver<Wanted>) -> Option<Wanted> {
        if let Some(child) = &mut self.child
            && let Some(idle) = child.idle()
        {
            match wanted.recv_timeout(idle) {
                Err(RecvTimeoutError::Timeout) => child.rest(),
                received => return received.ok(),
            }
        }
        wanted.recv().ok()
    }

    /// Takes a table that a child has made; one that is equal may be there.
    fn take(&self, module: ModuleId, table: Option<Arc<Table>>) -> bool {
        let Some(table) = table else {
            return self.say(module, None, Origin::Module);
        };
        let fingerprint = Fingerprint::of_table(&table, &self.tables.secret);
        match self.tables.claim(fingerprint, module) {
            Claim::There(table) => self.say(module, Some((fingerprint, table)), Origin::Shared),
            Claim::InWork => true,
            Claim::Mine => self.made(module, fingerprint, Some(table)),
        }
    }

    fn make(&self, module: ModuleId, input: &TableInput) -> bool {
        let fingerprint = input.fingerprint(&self.tables.secret);
        match self.tables.claim(fingerprint, module) {
            Claim::There(table) => self.say(module, Some((fingerprint, table)), Origin::Shared),
            Claim::InWork => true,
            Claim::Mine => {
                let table = guarded(|| input.build().ok()).map(Arc::new);
                self.made(module, fingerprint, table)
            }
        }
    }

    /// Says what has become of a table that was claimed, to all who wait for it.
    fn made(&self, module: ModuleId, fingerprint: Fingerprint, table: Option<Arc<Table>>) -> bool {
        let sharing = self.tables.finish(fingerprint, table.as_ref());
        let table = table.map(|table| (fingerprint, table));
        self.say(module, table.clone(), Origin::Module)
            && sharing
                .into_iter()
                .all(|module| self.say(module, table.clone(), Origin::Shared))
    }

    fn say(
        &self,
        module: ModuleId,
        table: Option<(Fingerprint, Arc<Table>)>,
        origin: Origin,
    ) -> bool {
        self.report.say(Done::Built {
            module,
            table,
            origin,
        })
    }
}

fn guarded<T>(parse: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(parse)).ok().flatten()
}

fn read(proc_root: &Path, module: &Module) -> Option<TableInput> {
    let elf = Elf::parse(module_file::open(proc_root, module).ok()?).ok()?;
    match module.kind {
        ModuleKind::Vdso => TableInput::read_vdso(&elf).ok(),
        _ => TableInput::read(&elf).ok(),
    }
}

/// The tables that there are, and those that are being built.
#[derive(Default)]
struct Tables {
    secret: RandomState,
    known: Mutex<FxHashMap<Fingerprint, Known>>,
}

enum Known {
    /// And modules that wait for it.
    InWork(Vec<ModuleId>),
    /// As long as somebody keeps it.
    There(Weak<Table>),
}

enum Claim {
    There(Arc<Table>),
    /// Who builds it reports for this module too.
    InWork,
    /// The caller is to build it.
    Mine,
}

impl Tables {
    fn claim(&self, fingerprint: Fingerprint, module: ModuleId) -> Claim {
        let mut known = self.lock();
        match known.get_mut(&fingerprint) {
            Some(Known::InWork(waiting)) => {
                waiting.push(module);
                return Claim::InWork;
            }
            Some(Known::There(table)) => {
                if let Some(table) = table.upgrade() {
                    return Claim::There(table);
                }
            }
            None => (),
        }
        known.insert(fingerprint, Known::InWork(Vec::new()));
        Claim::Mine
    }

    /// Says what has become of a table that was claimed; returns the modules that have waited for it.
    fn finish(&self, fingerprint: Fingerprint, table: Option<&Arc<Table>>) -> Vec<ModuleId> {
        let mut known = self.lock();
        let before = match table {
            Some(table) => known.insert(fingerprint, Known::There(Arc::downgrade(table))),
            None => known.remove(&fingerprint),
        };
        // Of those that are gone no more than their names would stay, but for ever.
        known.retain(|_, known| match known {
            Known::InWork(_) => true,
            Known::There(table) => table.strong_count() > 0,
        });
        match before {
            Some(Known::InWork(waiting)) => waiting,
            Some(Known::There(_)) | None => Vec::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, FxHashMap<Fingerprint, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what has been asked for meanwhile together.
fn load(loader: &TableLoader, to_load: &Receiver<Load>, report: &Report) {
    for first in to_load {
        let mut tables = Vec::new();
        for request in iter::once(first).chain(to_load.try_iter()) {
            match request {
                Load::In(fingerprint, table) => tables.push((fingerprint, table)),
                // What the kernel does not give back is counted as taken.
                Load::Out(table) => drop(loader.unload(table)),
            }
        }
        let words: Vec<TableWords<'_>> = tables.iter().map(|(_, table)| words(table)).collect();
        let mut is_heard = true;
        loader.load(&words, |index, loaded| {
            is_heard &= report.say(Done::Loaded(tables[index].0, loaded));
        });
        if !is_heard {
            return;
        }
    }
}

/// The parts of a table that the kernel gets.
pub(super) fn words(table: &Table) -> TableWords<'_> {
    TableWords {
        first_page: table.first_page(),
        index: table.index(),
        rows: table.rows(),
        rules: table.rules(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Arc<Table> {
        Arc::new(Table::from_rows([]).expect("within limits"))
    }

    #[test]
    fn a_table_is_built_by_the_first_who_asks_and_shared_as_long_as_it_is_kept() {
        let tables = Tables::default();
        let fingerprint = Fingerprint::of_number(1);
        assert!(matches!(
            tables.claim(fingerprint, ModuleId(1)),
            Claim::Mine
        ));
        assert!(matches!(
            tables.claim(fingerprint, ModuleId(2)),
            Claim::InWork
        ));
        assert!(matches!(
            tables.claim(Fingerprint::of_number(2), ModuleId(3)),
            Claim::Mine
        ));
        let table = table();
        assert_eq!(tables.finish(fingerprint, Some(&table)), [ModuleId(2)]);
        assert!(matches!(
            tables.claim(fingerprint, ModuleId(4)),
            Claim::There(_)
        ));
        drop(table);
        assert!(matches!(
            tables.claim(fingerprint, ModuleId(5)),
            Claim::Mine
        ));
    }

    #[test]
    fn who_waits_for_a_table_that_cannot_be_built_hears_of_it() {
        let tables = Tables::default();
        let fingerprint = Fingerprint::of_number(1);
        for module in [1, 2, 3] {
            tables.claim(fingerprint, ModuleId(module));
        }
        assert_eq!(tables.finish(fingerprint, None), [ModuleId(2), ModuleId(3)]);
        assert!(tables.lock().is_empty());
    }
}
