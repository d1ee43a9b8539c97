//! The loaded programs, and the maps that feed them.

mod whom;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, PerCpuValues};
use aya::programs::{PerfEvent, Program, ProgramError, RawTracePoint};
use aya::{Ebpf, EbpfError, EbpfLoader};
use rustc_hash::{FxHashMap, FxHashSet};

use super::domains::Domains;
use super::drain::{self, Set, WalkedSamples};
use super::meter::{self, Meter, SAMPLE_PROGRAMS};
use super::python::{Python, PythonNames, PythonProcess, PythonSide};
use super::room::Room;
use super::spaces;
use super::tables::TableLoader;
use super::wire::{
    Account, Change, Control, EVERYBODY, MAX_EVENTS, MAX_TABLES, MappingBlock, MappingBlockKey,
    NEW_PROCESS, Space,
};
use crate::model::{
    AddressSpace, Avma, BpfCost, BpfTime, EventIdx, KernelWalkLedger, Mapping, MonoNs, Pid,
};
use crate::sys::EventFd;

/// The programs; `bpf/build` makes them from the sources beside them.
const OBJECT: &[u8] = aya::include_bytes_aligned!("../../bpf/perfd.bpf.o");

/// What only `Python::Read` needs. (`python_walks` is one for each CPU.)
const PYTHON_MAPS: [&str; 3] = ["pythons", "python_names", "python_threads"];

/// By then a library is mapped whose place was taken: a loader first takes a place for all of it, and then maps its code there.
const PLACE_FILLED: Duration = Duration::from_millis(100);

/// Why stacks are not walked in the kernel.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object or the kernel's answer to it.
    #[error("load the BPF programs")]
    Load(#[from] EbpfError),
    /// The kernel did not take a program.
    #[error("load a BPF program")]
    Program(#[from] ProgramError),
    /// A map could not be used.
    #[error("use a BPF map")]
    Map(#[from] MapError),
    /// As many tables are loaded as can be at a time.
    #[error("{} tables are loaded already", MAX_TABLES - 1)]
    TooManyTables,
    /// More events than there are programs.
    #[error("{0} events are more than the {MAX_EVENTS} that can be walked in the kernel")]
    TooManyEvents(usize),
}

/// What has a count of its own in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CountEach {
    /// The samples of a thread and event with the same stack.
    Stack,
    /// Every sample, with its time and CPU.
    Sample,
}

/// Programs on events, their maps, and what they have counted.
pub struct KernelWalk {
    ebpf: Ebpf,
    n_events: usize,
    loader: TableLoader,
    spaces: HashMap<MapData, u32, Space>,
    mappings: HashMap<MapData, MappingBlockKey, MappingBlock>,
    changes: HashMap<MapData, u32, Change>,
    /// What each process's mappings are known by.
    published: FxHashMap<Pid, Published>,
    /// Those that there was no room for.
    untold: FxHashSet<Pid>,
    only_targets: bool,
    domains: Domains,
    generation: u32,
    control: Array<MapData, Control>,
    state: Control,
    python: Option<PythonSide>,
    accounts: PerCpuArray<MapData, Account>,
    /// Samples that were counted before the last drain.
    n_drained: u64,
    /// Counts and stacks, twice.
    sets: [[MapData; 2]; 2],
    /// Of all maps but those of single tables.
    map_fds: Vec<OwnedFd>,
    meter: Option<Meter>,
}

/// A published list of mappings.
#[derive(Clone, Copy)]
struct Published {
    generation: u32,
    n_blocks: u32,
    as_of: MonoNs,
}

impl KernelWalk {
    /// Loads a program for each of `n_events`. `seeds`: random numbers that no target can know.
    ///
    /// With `only_targets` samples of processes without published mappings are left out, unless a parent that has some forked them since
    /// [`KernelWalk::forks_are_known_since`], or they are in a domain.
    pub fn load(
        n_events: usize,
        only_targets: bool,
        count_each: CountEach,
        python: Python,
        room: Room,
        seeds: [u64; 2],
    ) -> Result<KernelWalk, LoadError> {
        if n_events > MAX_EVENTS {
            return Err(LoadError::TooManyEvents(n_events));
        }
        let timestamps = u32::from(count_each == CountEach::Sample);
        let with_python = u32::from(python != Python::Leave);
        let with_domains = u32::from(room.domains > 0);
        let mut loader = EbpfLoader::new();
        loader
            .override_global("seeds", &seeds[..], true)
            .override_global("timestamps", &timestamps, true)
            .override_global("with_python", &with_python, true)
            .override_global("with_domains", &with_domains, true);
        match python {
            Python::Leave => PYTHON_MAPS.iter().for_each(|name| {
                loader.map_max_entries(name, 1);
            }),
            Python::Read(_) => {
                room.of_python().into_iter().for_each(|(name, entries)| {
                    loader.map_max_entries(name, entries);
                });
            }
        }
        room.entries().into_iter().for_each(|(name, entries)| {
            loader.map_max_entries(name, entries);
        });
        let mut ebpf = loader.load(OBJECT)?;
        let map_fds = meter::descriptors(&ebpf).map_err(MapError::from)?;
        for event in 0..n_events {
            let program: &mut PerfEvent = program(&mut ebpf, &sample_program(event)).try_into()?;
            program.load()?;
        }
        attach(&mut ebpf, "on_exec", "sched_process_exec")?;
        attach(&mut ebpf, "on_fork", "sched_process_fork")?;
        // Linux 5.7. Without it, a module at the place of another is known from its record alone, some 25 ms later.
        let _ = attach(&mut ebpf, "on_place", "vm_unmapped_area");
        let loader = TableLoader::new(
            map(&mut ebpf, "tables"),
            Array::try_from(map(&mut ebpf, "modules"))?,
            Array::try_from(map(&mut ebpf, "hidings"))?,
        )?;
        let mut walk = KernelWalk {
            loader,
            spaces: HashMap::try_from(map(&mut ebpf, "spaces"))?,
            mappings: HashMap::try_from(map(&mut ebpf, "mappings"))?,
            changes: HashMap::try_from(map(&mut ebpf, "changes"))?,
            published: FxHashMap::default(),
            untold: FxHashSet::default(),
            only_targets,
            domains: Domains::new(HashMap::try_from(map(&mut ebpf, "domains"))?, room.domains),
            generation: 0,
            control: Array::try_from(map(&mut ebpf, "control"))?,
            state: Control {
                active: 0,
                only_targets: EVERYBODY,
                since: 0,
                domain_levels: 0,
                unused: 0,
            },
            python: match python {
                Python::Read(module) => Some(PythonSide::new(
                    module,
                    HashMap::try_from(map(&mut ebpf, "pythons"))?,
                    HashMap::try_from(map(&mut ebpf, "python_names"))?,
                )),
                Python::Leave => None,
            },
            accounts: PerCpuArray::try_from(map(&mut ebpf, "accounts"))?,
            n_drained: 0,
            sets: [
                [hash(&mut ebpf, "counts_0"), hash(&mut ebpf, "stacks_0")],
                [hash(&mut ebpf, "counts_1"), hash(&mut ebpf, "stacks_1")],
            ],
            map_fds,
            meter: Meter::start(),
            ebpf,
            n_events,
        };
        walk.tell_whom()?;
        Ok(walk)
    }

    /// Lets the event's program walk its samples; those of threads that inherit the event, too.
    pub fn attach(&mut self, event: EventIdx, fd: &EventFd) -> io::Result<()> {
        let program: &mut PerfEvent = program(&mut self.ebpf, &sample_program(event.0))
            .try_into()
            .map_err(io::Error::other)?;
        let program = program.fd().map_err(io::Error::other)?;
        fd.set_program(program.as_fd())
    }

    /// Loads tables.
    pub fn table_loader(&self) -> TableLoader {
        self.loader.clone()
    }

    /// Tells what a process has mapped, as far as records up to `as_of` say.
    ///
    /// Where there is no room for it, samples of processes that were not told of are no longer left out, but go to the ring.
    pub fn publish(
        &mut self,
        pid: Pid,
        space: &AddressSpace,
        as_of: MonoNs,
    ) -> Result<(), LoadError> {
        self.generation = self.generation.wrapping_add(1);
        let as_of = match self.change(pid) {
            // Otherwise the old code would be taken for the new one that runs in its place, whose record is still to come.
            Some(change) if is_unfilled(space, change, as_of) => MonoNs(change.time - 1),
            _ => as_of,
        };
        let (head, blocks) = spaces::encode(space, self.generation, as_of);
        let key = |generation, block| MappingBlockKey {
            pid: pid.0,
            generation,
            block,
        };
        let inserted = (0..).zip(&blocks).try_for_each(|(block, mappings)| {
            self.mappings
                .insert(key(self.generation, block), mappings, 0)
        });
        let inserted = inserted.and_then(|()| self.spaces.insert(pid.0, head, 0));
        let new = Published {
            generation: self.generation,
            n_blocks: head.n_blocks,
            as_of,
        };
        let unused = match inserted {
            Ok(()) => self.published.insert(pid, new),
            Err(_) => Some(new),
        };
        self.remove_blocks(pid, unused);
        let has_changed = match &inserted {
            Ok(()) => self.untold.remove(&pid),
            Err(_) => self.untold.insert(pid),
        };
        if has_changed {
            self.tell_whom()?;
        }
        Ok(inserted?)
    }

    /// Tells the interpreter of a process; to be done before the process's mappings are told. Where there is no room, its samples have native
    /// frames alone.
    pub fn tell_python(
        &mut self,
        pid: Pid,
        process: Option<&PythonProcess>,
    ) -> Result<(), LoadError> {
        match &mut self.python {
            Some(python) => Ok(python.tell(pid, process)?),
            None => Ok(()),
        }
    }

    /// The names of Python functions that have been drained; `None` if none are read.
    pub fn python_names(&self) -> Option<&PythonNames> {
        self.python.as_ref().map(PythonSide::names)
    }

    /// Whether a process's samples go to the ring because something was mapped in the place of code since it was published, and no record
    /// that was made until `now` tells what: it is no code.
    pub fn is_outdated(&self, pid: Pid, now: MonoNs) -> bool {
        self.published.get(&pid).is_some_and(|known| {
            // Of a process that has taken the number, records tell, or that some were lost.
            let change = self
                .change(pid)
                .filter(|change| change.start != NEW_PROCESS);
            let changed = change.map(|change| MonoNs(change.time));
            changed.is_some_and(|at| known.as_of < at && at.plus(PLACE_FILLED) < now)
        })
    }

    fn change(&self, pid: Pid) -> Option<Change> {
        self.changes.get(&pid.0, 0).ok()
    }

    /// Whether a process was told of.
    pub fn is_told(&self, pid: Pid) -> bool {
        self.published.contains_key(&pid)
    }

    /// Leaves a process's samples to the ring until it is published as of `until` or later. To be said before it is told of for the first time: that
    /// another has its number by now is noted of those alone that are told of.
    pub fn leave_to_ring(&mut self, pid: Pid, until: MonoNs) {
        let change = Change {
            time: until.0,
            start: NEW_PROCESS,
        };
        // Where there is no room, there is none for its mappings.
        let _ = self.changes.insert(pid.0, change, 0);
    }

    /// Forgets a process that has ended.
    pub fn forget(&mut self, pid: Pid) {
        let old = self.published.remove(&pid);
        if old.is_some() {
            // Nothing but this removes it.
            let _ = self.spaces.remove(&pid.0);
            let _ = self.changes.remove(&pid.0);
        }
        if self.untold.remove(&pid) {
            // Or with the next process that goes.
            let _ = self.tell_whom();
        }
        // To say that there is none cannot fail.
        let _ = self.tell_python(pid, None);
        self.remove_blocks(pid, old);
    }

    fn remove_blocks(&mut self, pid: Pid, old: Option<Published>) {
        let Some(Published {
            generation,
            n_blocks,
            ..
        }) = old
        else {
            return;
        };
        for block in 0..n_blocks {
            let key = MappingBlockKey {
                pid: pid.0,
                generation,
                block,
            };
            // Nothing but this removes them.
            let _ = self.mappings.remove(&key);
        }
    }

    /// Hands out all that was counted until now, and returns the samples whose stack was missing, by event.
    pub fn drain(
        &mut self,
        visit: impl FnMut(WalkedSamples<'_>),
    ) -> io::Result<Vec<(EventIdx, u64)>> {
        let full = self.state.active as usize;
        self.state.active ^= 1;
        self.control
            .set(0, self.state, 0)
            .map_err(io::Error::other)?;
        // A program that was at work before may still write to the set; it takes a fraction of a millisecond.
        let is_at_work = |account: &Account| account.at_work != 0;
        let mut at_work: Vec<bool> = self.accounts()?.iter().map(is_at_work).collect();
        while at_work.contains(&true) {
            std::thread::yield_now();
            let accounts = self.accounts()?;
            let cpus = at_work.iter_mut().zip(accounts.iter());
            cpus.for_each(|(before, account)| *before &= is_at_work(account));
        }
        self.n_drained = self.n_counted()?;
        let [counts, stacks] = &self.sets[full];
        let set = Set {
            counts: counts.fd().as_fd(),
            stacks: stacks.fd().as_fd(),
        };
        drain::drain(&set, self.python.as_mut(), visit)
    }

    /// Samples that were counted since the last drain.
    pub fn n_waiting(&self) -> io::Result<u64> {
        Ok(self.n_counted()?.saturating_sub(self.n_drained))
    }

    fn n_counted(&self) -> io::Result<u64> {
        Ok(self.outcomes()?.iter().map(|event| event.walked).sum())
    }

    /// What became of every event's samples until now.
    pub fn outcomes(&self) -> io::Result<Vec<KernelWalkLedger>> {
        let accounts = self.accounts()?;
        let sum = |event: usize, outcome: usize| {
            let counts = accounts.iter().map(|cpu| cpu.outcomes[event][outcome]);
            counts.sum()
        };
        Ok((0..self.n_events)
            .map(|event| KernelWalkLedger {
                walked: sum(event, 0),
                left_to_ring: sum(event, 1),
                foreign: sum(event, 2),
                no_room_for_count: sum(event, 3),
                no_room_for_stack: sum(event, 4),
            })
            .collect())
    }

    /// What the programs have taken since they were loaded; `None` where the kernel does not measure it for perfd.
    pub fn time(&self) -> Option<BpfTime> {
        self.meter.as_ref()?.read(&self.ebpf).ok()
    }

    /// What programs and maps take; `map_size` tells the bytes of a map.
    pub fn cost(&self, map_size: impl FnMut(BorrowedFd<'_>) -> Option<u64>) -> BpfCost {
        BpfCost {
            time: self.time(),
            map_bytes: meter::bytes(&self.map_fds, map_size),
            table_bytes: self.loader.bytes(),
        }
    }

    fn accounts(&self) -> io::Result<PerCpuValues<Account>> {
        self.accounts.get(&0, 0).map_err(io::Error::other)
    }
}

/// Whether a place was taken by then in which what was there before still seems to be.
fn is_unfilled(space: &AddressSpace, change: Change, as_of: MonoNs) -> bool {
    let taken = MonoNs(change.time);
    let is_old = |mapping: &Mapping| mapping.since < taken;
    space.find(Avma(change.start)).is_some_and(is_old)
        && taken <= as_of
        && as_of < taken.plus(PLACE_FILLED)
}

fn attach(ebpf: &mut Ebpf, name: &str, tracepoint: &str) -> Result<(), LoadError> {
    let program: &mut RawTracePoint = program(ebpf, name).try_into()?;
    program.load()?;
    program.attach(tracepoint)?;
    Ok(())
}

fn sample_program(event: usize) -> String {
    format!("{SAMPLE_PROGRAMS}{event}")
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut Program {
    let program = ebpf.program_mut(name);
    program.expect("the object is built with it")
}

fn map(ebpf: &mut Ebpf, name: &str) -> Map {
    let map = ebpf.take_map(name);
    map.expect("the object is built with it")
}

fn hash(ebpf: &mut Ebpf, name: &str) -> MapData {
    match map(ebpf, name) {
        Map::HashMap(data) => data,
        other => unreachable!("{name} is declared as a hash map, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileOffset, ModuleId};

    #[test]
    fn old_code_is_not_told_of_where_something_new_is_on_its_way() {
        let mut space = AddressSpace::new();
        let mut map = |start: u64, since: u64| {
            space.insert(Mapping {
                start: Avma(start),
                end: Avma(start + 0x1000),
                file_offset: FileOffset(0),
                module: ModuleId(1),
                since: MonoNs(since),
            });
        };
        map(0x1000, 5);
        map(0x2000, 50);
        let at = |start, time, as_of| is_unfilled(&space, Change { time, start }, MonoNs(as_of));
        assert!(at(0x1000, 10, 10) && at(0x1000, 10, 20));
        assert!(!at(0x1000, 10, 9), "what is younger is not told of at all");
        assert!(!at(0x2000, 10, 60), "its record has come");
        assert!(!at(0x3000, 10, 20) && !at(0, 10, 20));
        let much_later = MonoNs(10).plus(PLACE_FILLED);
        assert!(!at(0x1000, 10, much_later.0), "it is no code");
    }
}
