//! Unwind tables of a run's modules, built by worker threads beside the way of the samples.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::bpf::{Prepared, TableLoader, TableWords};
use crate::model::{Module, ModuleId, ModuleKind};
use crate::object::Elf;
use crate::procfs::module_file;
use crate::sys::Waker;
use crate::unwind::{RowSource, Rows, Table};

/// Requests on their way to the workers; more wait in [`Tables::waiting`].
const QUEUE: usize = 64;
/// Workers: building is bound by memory bandwidth, and the host has other work.
const WORKERS: usize = 2;
/// Tables that are shown to the kernel at a time: each waits for a grace period, some 10 ms, and takes no time of a CPU meanwhile.
const SHOWING: usize = 4;

/// How long the end of a run waits for the next table.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) type Request = (ModuleId, Arc<Module>);
pub(super) type Built = (ModuleId, Option<Table>);

enum State {
    /// Nobody has asked for it.
    Unknown,
    Pending,
    Ready(Table),
    /// There is none and never will be.
    None,
}

/// All tables, by module.
pub(super) struct Tables {
    states: Vec<State>,
    n_pending: usize,
    waiting: VecDeque<Request>,
    requests: Sender<Request>,
    built: Receiver<Built>,
    loader: Option<TableLoader>,
}

impl Tables {
    /// Starts the workers; `waker` is woken for every table that is built.
    /// With a `loader` the kernel gets each table too.
    pub(super) fn start(
        proc_root: &Path,
        waker: &Waker,
        loader: Option<&TableLoader>,
    ) -> std::io::Result<Tables> {
        let (tables, todo, done) = Tables::without_workers(loader);
        let kernel = loader.map(ToKernel::start).transpose()?;
        for n in 0..WORKERS {
            let (todo, done, waker) = (todo.clone(), done.clone(), waker.clone());
            let (proc_root, kernel) = (proc_root.to_owned(), kernel.clone());
            thread::Builder::new()
                .name(format!("perfd-tables-{n}"))
                .spawn(move || work(&proc_root, &todo, &done, &waker, kernel.as_ref()))?;
        }
        Ok(tables)
    }

    /// With the workers' ends of both queues.
    pub(super) fn without_workers(
        loader: Option<&TableLoader>,
    ) -> (Tables, Receiver<Request>, Sender<Built>) {
        let (requests, todo) = bounded(QUEUE);
        let (done, built) = bounded(QUEUE);
        let tables = Tables {
            states: Vec::new(),
            n_pending: 0,
            waiting: VecDeque::new(),
            requests,
            built,
            loader: loader.cloned(),
        };
        (tables, todo, done)
    }

    /// Asks for a module's table, unless that was done before.
    pub(super) fn want(&mut self, id: ModuleId, module: &Arc<Module>) {
        let idx = id.0 as usize;
        if self.states.len() <= idx {
            self.states.resize_with(idx + 1, || State::Unknown);
        }
        if !matches!(self.states[idx], State::Unknown) {
            return;
        }
        if let ModuleKind::Anonymous { .. } | ModuleKind::Kernel = module.kind {
            self.states[idx] = State::None;
            if let Some(loader) = &self.loader {
                show(loader, id, prepare(loader, None));
            }
            return;
        }
        self.states[idx] = State::Pending;
        self.n_pending += 1;
        self.waiting.push_back((id, module.clone()));
        self.feed();
    }

    /// Takes in what the workers have built; `true` if there was something.
    pub(super) fn collect(&mut self) -> bool {
        let before = self.n_pending;
        while let Ok(built) = self.built.try_recv() {
            self.store(built);
        }
        self.feed();
        self.n_pending < before
    }

    /// Waits for the next table; `false` if none is being built.
    pub(super) fn wait(&mut self) -> bool {
        self.feed();
        if self.n_pending == 0 {
            return false;
        }
        let Ok(built) = self.built.recv_timeout(PATIENCE) else {
            self.give_up();
            return true;
        };
        self.store(built);
        self.feed();
        true
    }

    /// Waits until all that were asked for are built, but no longer than `patience`.
    pub(super) fn wait_for_all(&mut self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.feed();
        while self.n_pending > 0
            && let Ok(built) = self.built.recv_deadline(deadline)
        {
            self.store(built);
            self.feed();
        }
    }

    fn store(&mut self, (id, table): Built) {
        let state = &mut self.states[id.0 as usize];
        if matches!(state, State::Pending) {
            self.n_pending -= 1;
            *state = table.map_or(State::None, State::Ready);
        }
    }

    /// A file that cannot be read (a file system that does not answer) must not hold up the end of the run.
    fn give_up(&mut self) {
        self.waiting.clear();
        self.n_pending = 0;
        for state in &mut self.states {
            if matches!(state, State::Pending) {
                *state = State::None;
            }
        }
    }

    fn feed(&mut self) {
        while let Some(request) = self.waiting.pop_front() {
            match self.requests.try_send(request) {
                Ok(()) => (),
                Err(TrySendError::Full(request) | TrySendError::Disconnected(request)) => {
                    self.waiting.push_front(request);
                    return;
                }
            }
        }
    }
}

impl RowSource for Tables {
    fn rows(&self, module: ModuleId) -> Rows<'_> {
        match self.states.get(module.0 as usize) {
            Some(State::Ready(table)) => Rows::Table(table),
            Some(State::None) => Rows::None,
            Some(State::Unknown | State::Pending) | None => Rows::Pending,
        }
    }
}

fn work(
    proc_root: &Path,
    todo: &Receiver<Request>,
    done: &Sender<Built>,
    waker: &Waker,
    kernel: Option<&ToKernel>,
) {
    for (id, module) in todo {
        // The bytes are foreign; whatever a parser makes of them must not end the run.
        let table = catch_unwind(AssertUnwindSafe(|| build(proc_root, &module)))
            .ok()
            .flatten();
        let prepared = kernel.and_then(|kernel| prepare(&kernel.loader, table.as_ref()));
        if done.send((id, table)).is_err() {
            return;
        }
        waker.wake();
        if let Some(kernel) = kernel {
            let _ = kernel.prepared.send((id, prepared));
        }
    }
}

/// The way of a table into the kernel, by way of threads that wait there, so that none that builds tables has to.
#[derive(Clone)]
struct ToKernel {
    loader: TableLoader,
    prepared: Sender<(ModuleId, Option<Prepared>)>,
}

impl ToKernel {
    fn start(loader: &TableLoader) -> std::io::Result<ToKernel> {
        let (prepared, todo) = bounded::<(ModuleId, Option<Prepared>)>(QUEUE);
        for n in 0..SHOWING {
            let (loader, todo) = (loader.clone(), todo.clone());
            thread::Builder::new()
                .name(format!("perfd-show-{n}"))
                .spawn(move || {
                    for (id, prepared) in todo {
                        show(&loader, id, prepared);
                    }
                })?;
        }
        Ok(ToKernel {
            loader: loader.clone(),
            prepared,
        })
    }
}

fn build(proc_root: &Path, module: &Module) -> Option<Table> {
    let elf = Elf::parse(module_file::open(proc_root, module).ok()?).ok()?;
    match module.kind {
        ModuleKind::Vdso => Table::build_vdso(&elf).ok(),
        _ => Table::build(&elf).ok(),
    }
}

/// Copies a table into the kernel.
fn prepare(loader: &TableLoader, table: Option<&Table>) -> Option<Prepared> {
    let words = table.map(|table| TableWords {
        first_page: table.first_page(),
        index: table.index(),
        rows: table.rows(),
        rules: table.rules(),
    });
    loader.prepare(words.as_ref()).ok()
}

/// Shows it to the kernel's walk. If that fails, samples in the module go on coming through the ring.
fn show(loader: &TableLoader, id: ModuleId, prepared: Option<Prepared>) {
    if let Some(prepared) = prepared {
        let _ = loader.show(id, prepared);
    }
}
