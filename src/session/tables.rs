//! Unwind tables of a run's modules: built beside the way of the samples, one for all modules that have the same, within a budget.
//!
//! A module's samples are walked in the kernel when its table is loaded there; else they come through the ring, where perfd's own copy is
//! needed. What is evicted is unknown again, and comes back by the same way when a sample needs it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};

use super::known_table::{IDLE, Known, Presence, State, usage};
use super::table_cache::{CopyId, Evicted, Need, Place, TableCache};
use super::table_workers::{Done, Load, Origin, Workers, words};
use crate::bpf::{LoadError, LoadedTable, MAX_MODULES, TableLoader};
use crate::model::{Frame, Module, ModuleId, ModuleKind, MonoNs, TableCost};
use crate::parser::Begin;
use crate::sys::{self, Waker};
use crate::unwind::{Fingerprint, RowSource, Rows, Table};

/// Bytes that tables may take, perfd's copies and the kernel's together. Both copies for clang and its libraries, one of the largest programs
/// there are, take 26 MB; those for 460 libraries, all that a development host has installed, 82 MB (`cargo bench --bench tables`). So this
/// is what a host needs that runs six times as much at once.
pub const TABLE_BUDGET: u64 = 512 << 20;

/// Neither mapped nor used for so long a copy is given back. To make it again takes some ms.
const STALE: Duration = Duration::from_secs(30);

/// How long the end of a run waits for the next table.
const PATIENCE: Duration = Duration::from_secs(5);

/// All tables, by module.
pub struct Tables {
    modules: Vec<Known>,
    cache: TableCache,
    /// Tables in the kernel; `None`: on their way.
    loaded: FxHashMap<Fingerprint, Option<LoadedTable>>,
    workers: Workers,
    loader: Option<TableLoader>,
    n_pending: usize,
    /// Refused before, long enough ago, and in use.
    again: Vec<ModuleId>,
    now: MonoNs,
    /// When copies were given back the last time.
    given_back: MonoNs,
    /// Since when the oldest sample waits.
    waiting_since: Option<MonoNs>,
    cost: TableCost,
}

impl Tables {
    /// Starts the workers; `waker` is woken for every table that is built.
    /// With `begin` files are read in children. With a `loader` the kernel gets each table too. All tables together take `budget` bytes.
    ///
    /// # Errors
    /// Those of starting a thread.
    pub fn start(
        proc_root: &Path,
        begin: Option<&Begin>,
        waker: &Waker,
        loader: Option<&TableLoader>,
        budget: u64,
    ) -> io::Result<Tables> {
        let workers = Workers::start(proc_root, begin, waker, loader)?;
        Ok(Tables::with(workers, loader, budget))
    }

    pub(super) fn with(workers: Workers, loader: Option<&TableLoader>, budget: u64) -> Tables {
        Tables {
            modules: Vec::new(),
            cache: TableCache::new(budget),
            loaded: FxHashMap::default(),
            workers,
            loader: loader.cloned(),
            n_pending: 0,
            again: Vec::new(),
            now: sys::now(),
            given_back: sys::now(),
            waiting_since: None,
            cost: TableCost::default(),
        }
    }

    /// Asks for a module's table ahead of its samples, unless that was done before.
    pub fn want(&mut self, id: ModuleId, module: &Arc<Module>) {
        let now = self.now;
        let known = self.known(id);
        if matches!(known.state, State::Unknown) && known.in_perfd.may_try(now) {
            self.request(id, module);
        }
    }

    /// Asks for the table that a sample waits for.
    pub(super) fn need(&mut self, id: ModuleId, module: &Arc<Module>) {
        self.waiting_since.get_or_insert(self.now);
        let known = self.known(id);
        known.is_needed = true;
        if matches!(known.state, State::Unknown) {
            self.request(id, module);
        }
    }

    fn known(&mut self, id: ModuleId) -> &mut Known {
        let idx = id.0 as usize;
        if self.modules.len() <= idx {
            self.modules.resize_with(idx + 1, Known::default);
        }
        &mut self.modules[idx]
    }

    fn request(&mut self, id: ModuleId, module: &Arc<Module>) {
        if let ModuleKind::Anonymous { .. } | ModuleKind::Kernel | ModuleKind::Python = module.kind
        {
            self.has_none(id);
            return;
        }
        self.known(id).state = State::Pending;
        self.n_pending += 1;
        self.workers.builds.push((id, module.clone()));
    }

    /// Notes that a stack was walked: through which modules, and where.
    pub(super) fn used(&mut self, place: Place, frames: &[Frame]) {
        let now = self.now;
        let mut before = None;
        for frame in frames {
            if before.replace(frame.module) == Some(frame.module) {
                continue;
            }
            let Some(known) = self.modules.get_mut(frame.module.0 as usize) else {
                continue;
            };
            known.at(place).used = now;
            let in_kernel = &mut known.in_kernel;
            if place == Place::Perfd && in_kernel.refused.is_some() && in_kernel.may_try(now) {
                in_kernel.refused = None;
                self.again.push(frame.module);
            }
        }
        if place == Place::Perfd {
            self.waiting_since = None;
        }
    }

    /// Takes in what the workers have done; `true` if there was something. `mapped`: what living processes have mapped.
    pub(super) fn collect(&mut self, mapped: impl Fn() -> FxHashSet<ModuleId>) -> bool {
        self.now = sys::now();
        let mut is_something = false;
        while let Ok(done) = self.workers.done.try_recv() {
            self.take(done, &mapped);
            is_something = true;
        }
        for id in std::mem::take(&mut self.again) {
            if let State::Ready(table, rows) = &self.known(id).state {
                let (table, rows) = (*table, rows.clone());
                self.load(id, table, &rows, &mapped);
            }
        }
        self.feed();
        is_something
    }

    /// Waits for the next table, or until the kernel has it; `false` if nothing is on its way.
    pub fn wait(&mut self, mapped: impl Fn() -> FxHashSet<ModuleId>) -> bool {
        if self.wait_at_most(PATIENCE, mapped) {
            return true;
        }
        let is_in_vain = self.n_pending > 0;
        if is_in_vain {
            self.give_up();
        }
        is_in_vain
    }

    /// The same, but no longer than `patience`; `false` as well if nothing has come.
    pub(super) fn wait_at_most(
        &mut self,
        patience: Duration,
        mapped: impl Fn() -> FxHashSet<ModuleId>,
    ) -> bool {
        self.feed();
        if self.n_pending == 0 {
            return false;
        }
        let Ok(done) = self.workers.done.recv_timeout(patience) else {
            return false;
        };
        self.now = sys::now();
        self.take(done, &mapped);
        self.feed();
        true
    }

    /// Waits until all that were asked for are there, but no longer than `patience`.
    pub(super) fn wait_for_all(
        &mut self,
        patience: Duration,
        mapped: impl Fn() -> FxHashSet<ModuleId>,
    ) {
        let deadline = Instant::now() + patience;
        self.feed();
        while self.n_pending > 0
            && let Ok(done) = self.workers.done.recv_deadline(deadline)
        {
            self.now = sys::now();
            self.take(done, &mapped);
            self.feed();
        }
    }

    /// What tables have taken until now.
    pub fn cost(&self) -> TableCost {
        TableCost {
            bytes: self.cache.bytes(),
            ..self.cost
        }
    }

    fn feed(&mut self) {
        self.workers.builds.feed();
        self.workers.loads.feed();
    }

    /// A file that cannot be read (a file system that does not answer) must not hold up the end of the run.
    fn give_up(&mut self) {
        self.workers.builds.clear();
        self.n_pending = 0;
        for known in &mut self.modules {
            if matches!(known.state, State::Pending) {
                known.state = State::None;
            }
        }
    }

    fn take(&mut self, done: Done, mapped: &impl Fn() -> FxHashSet<ModuleId>) {
        match done {
            Done::Built {
                module,
                table,
                origin,
            } => {
                if !matches!(self.known(module).state, State::Pending) {
                    return;
                }
                self.n_pending -= 1;
                match origin {
                    _ if table.is_none() => (),
                    Origin::Module => self.cost.built += 1,
                    Origin::Shared => self.cost.shared += 1,
                }
                match table {
                    None => self.has_none(module),
                    Some((table, rows)) => self.keep(module, table, rows, mapped),
                }
            }
            Done::Loaded(table, loaded) => {
                // One that was announced and never came is not on its way any more.
                if let Some(None) = self.loaded.get(&table) {
                    self.n_pending = self.n_pending.saturating_sub(1);
                }
                self.loaded(table, loaded);
            }
        }
    }

    fn has_none(&mut self, id: ModuleId) {
        self.known(id).state = State::None;
        self.show(id, None);
    }

    /// Keeps perfd's copy of a table, if there is room, and sees to the kernel's.
    fn keep(
        &mut self,
        id: ModuleId,
        table: Fingerprint,
        rows: Arc<Table>,
        mapped: &impl Fn() -> FxHashSet<ModuleId>,
    ) {
        let need = match self.known(id).is_needed {
            true => Need::Now {
                since: self.waiting_since.unwrap_or(self.now),
            },
            false => self.later(),
        };
        let bytes = u64::try_from(rows.memory()).unwrap_or(u64::MAX);
        let copy = CopyId {
            table,
            place: Place::Perfd,
        };
        let is_kept = self.admit(copy, bytes, id, need, mapped);
        let now = self.now;
        let known = self.known(id);
        known.is_needed = false;
        known.state = State::Unknown;
        if is_kept {
            known.in_perfd = Presence::since(now);
            known.state = State::Ready(table, rows.clone());
            self.load(id, table, &rows, mapped);
        }
    }

    /// Sees to the kernel's copy.
    fn load(
        &mut self,
        id: ModuleId,
        table: Fingerprint,
        rows: &Arc<Table>,
        mapped: &impl Fn() -> FxHashSet<ModuleId>,
    ) {
        if self.loader.is_none() {
            return;
        }
        if id.0 as usize >= MAX_MODULES {
            self.cost.beyond_kernel += 1;
            return;
        }
        self.known(id).in_kernel = Presence::since(self.now);
        let copy = CopyId {
            table,
            place: Place::Kernel,
        };
        if self.cache.share(copy, id) {
            if let Some(Some(loaded)) = self.loaded.get(&table) {
                self.show(id, Some(loaded));
            }
            return;
        }
        let bytes = words(rows).bytes_in_kernel();
        if self.admit(copy, bytes, id, self.later(), mapped) {
            self.loaded.insert(table, None);
            self.n_pending += 1;
            self.workers.loads.push(Load::In(table, rows.clone()));
        }
    }

    fn loaded(&mut self, table: Fingerprint, loaded: Result<LoadedTable, LoadError>) {
        let copy = CopyId {
            table,
            place: Place::Kernel,
        };
        match loaded {
            Ok(loaded) => {
                for id in self.cache.modules(copy) {
                    self.show(*id, Some(&loaded));
                }
                self.loaded.insert(table, Some(loaded));
            }
            // The kernel has no room for it: what can be done without it goes on.
            Err(_) => {
                self.loaded.remove(&table);
                let modules = self.cache.remove(copy);
                modules.iter().for_each(|id| self.hide(*id));
                self.refuse(Place::Kernel, &modules);
            }
        }
    }

    /// What the kernel does not take in goes through the ring.
    fn show(&self, id: ModuleId, table: Option<&LoadedTable>) {
        if let Some(loader) = &self.loader {
            let _ = loader.show(id, table);
        }
    }

    /// What is shown without its table goes through the ring sample by sample, each behind a walk to no end.
    fn hide(&self, id: ModuleId) {
        if let Some(loader) = &self.loader {
            let _ = loader.hide(id);
        }
    }

    fn later(&self) -> Need {
        Need::Later {
            idle_since: self.now.minus(IDLE),
        }
    }

    /// Makes room for a copy and lets it in; `false` if it is refused.
    fn admit(
        &mut self,
        copy: CopyId,
        bytes: u64,
        module: ModuleId,
        need: Need,
        mapped: &impl Fn() -> FxHashSet<ModuleId>,
    ) -> bool {
        if self.cache.share(copy, module) {
            return true;
        }
        let mapped = match self.cache.has_room(bytes) {
            true => FxHashSet::default(),
            false => mapped(),
        };
        let usage = usage(&self.modules, &self.loaded, &mapped);
        let admitted = self.cache.admit(copy, bytes, module, need, usage);
        let is_admitted = admitted.is_some();
        admitted
            .into_iter()
            .flatten()
            .for_each(|evicted| self.evict(evicted));
        if !is_admitted {
            self.refuse(copy.place, &[module]);
        }
        is_admitted
    }

    fn evict(&mut self, evicted: Evicted) {
        self.cost.evicted += 1;
        self.let_go(evicted, self.now);
    }

    /// Gives back the copies of what no living process has mapped (`mapped`: what they have), and no sample has led through for a while: on a
    /// host where programs come and go that would else be all of the budget, in the end.
    pub(super) fn give_back(&mut self, mapped: impl FnOnce() -> FxHashSet<ModuleId>) {
        let before = self.now.minus(STALE);
        if self.cache.bytes() == 0 || before < self.given_back {
            return;
        }
        self.given_back = self.now;
        let mapped = mapped();
        let usage = usage(&self.modules, &self.loaded, &mapped);
        let stale = self.cache.take_stale(before, usage);
        for stale in stale {
            // There is room for it: it may come back at once.
            self.let_go(stale, MonoNs(0));
        }
        self.workers.loads.feed();
    }

    /// `refused`: when there was no room for it.
    fn let_go(&mut self, Evicted { copy, modules }: Evicted, refused: MonoNs) {
        match copy.place {
            Place::Perfd => {
                for id in modules {
                    let known = self.known(id);
                    if matches!(known.state, State::Ready(..)) {
                        known.state = State::Unknown;
                    }
                }
            }
            Place::Kernel => {
                let hidden = self.loader.as_ref().map(|loader| {
                    let mut ids = modules.iter();
                    ids.try_for_each(|id| loader.hide(*id))
                });
                // Programs must not be left with the number of a table that is gone.
                if let (Some(Some(loaded)), Some(Ok(()))) =
                    (self.loaded.remove(&copy.table), hidden)
                {
                    self.workers.loads.push(Load::Out(loaded));
                }
                for id in modules {
                    self.known(id).in_kernel.refused = Some(refused);
                }
            }
        }
    }

    fn refuse(&mut self, place: Place, modules: &[ModuleId]) {
        self.cost.refused += 1;
        let now = self.now;
        for id in modules {
            self.known(*id).at(place).refused = Some(now);
        }
    }
}

impl RowSource for Tables {
    fn rows(&self, module: ModuleId) -> Rows<'_> {
        match self
            .modules
            .get(module.0 as usize)
            .map(|known| &known.state)
        {
            Some(State::Ready(_, table)) => Rows::Table(table),
            Some(State::None) => Rows::None,
            Some(State::Unknown | State::Pending) | None => Rows::Pending,
        }
    }
}

#[cfg(test)]
mod tests;
