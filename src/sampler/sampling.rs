//! The open events of a run, and what comes out of their rings.

mod cgroups;
mod on;
mod raw;

use std::io;
use std::os::fd::BorrowedFd;

use rustc_hash::FxHashMap;

use self::on::On;
use self::raw::raw_sample;
use super::owners::{Generation, Owners};
use super::plan::SamplePlan;
use super::rings::{Rings, RingsError, default_pages};
use crate::bpf::{KernelWalk, WalkedSamples};
use crate::model::{
    Cpu, DomainId, EventIdx, EventSource, EventSpec, KernelWalkLedger, MonoNs, Pid, RawSample,
    SoftwareEvent, Tid,
};
use crate::sys::event_error::OpenEventError;
use crate::sys::record::{self, SideBand};
use crate::sys::{self, EventFd, EventScope, SampleContent, Start, Wakes, Whom};

/// What a drain gives.
#[derive(Debug)]
pub enum Item<'a> {
    /// A sample that counts.
    Sample(RawSample<'a>),
    /// A record about processes.
    SideBand(MonoNs, SideBand<'a>),
}

/// What an event of the run has counted so far, over all threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Σ count.
    pub count: u64,
    /// Σ time enabled over threads, ns. (The event of a thread on one CPU is enabled wherever the thread runs, so
    /// that the times of its CPUs add up to as many times too much.)
    pub enabled_ns: u64,
    /// Σ time counting, ns.
    pub running_ns: u64,
    /// Samples lost in full rings.
    pub lost: u64,
    /// Samples that came twice because a thread had the event twice; they were counted twice, too.
    pub duplicate: u64,
    /// Samples that could not be parsed.
    pub malformed: u64,
    /// Samples that were walked in the kernel, but whose stack was not in its table.
    pub stack_missing: u64,
    /// Times that the kernel throttled it.
    pub throttled: u64,
}

struct Opened {
    event: EventIdx,
    fd: EventFd,
    domain: Option<DomainId>,
}

/// An event that brings records about processes.
struct SideBandEvent {
    fd: EventFd,
    domain: Option<DomainId>,
}

/// Which event a sample's identifier stands for.
#[derive(Clone, Copy)]
struct Identity {
    event: EventIdx,
    owner: Option<Tid>,
    domain: Option<DomainId>,
    generation: Generation,
    content: SampleContent,
    /// Weight of samples that do not carry their period.
    period: u64,
}

/// The sampling side of a run.
pub struct Sampling {
    plan: SamplePlan,
    rings: Rings,
    opened: Vec<Opened>,
    side_band: Vec<SideBandEvent>,
    /// Records that events of it had lost when they were closed.
    lost_side_band: u64,
    /// Those of closed events that may still be in the rings, with the time at which they were closed.
    closed: Vec<(MonoNs, u64)>,
    /// Whether samples carry their cgroup.
    with_cgroups: bool,
    identities: FxHashMap<u64, Identity>,
    owners: Owners,
    /// Whether events were opened on threads, rather than on whole CPUs.
    is_on_threads: bool,
    generation: Generation,
    /// Totals of events that are closed, and what only records tell.
    past: Vec<Totals>,
    /// Records of any kind that found no room, as the ring itself counted them.
    lost_records: u64,
    asked_pages: usize,
    /// Walks stacks in the kernel, as far as it can.
    kernel_walk: Option<KernelWalk>,
}

impl Sampling {
    /// Opens the rings; `pages` each, or a size that fits the host.
    pub fn new(
        plan: SamplePlan,
        cpus: &[Cpu],
        pages: Option<usize>,
    ) -> Result<Sampling, RingsError> {
        let asked_pages = pages.unwrap_or_else(|| default_pages(cpus.len()));
        let rings = Rings::open(cpus, asked_pages)?;
        Ok(Sampling {
            past: vec![Totals::default(); plan.events.len()],
            plan,
            rings,
            opened: Vec::new(),
            side_band: Vec::new(),
            lost_side_band: 0,
            closed: Vec::new(),
            with_cgroups: false,
            identities: FxHashMap::default(),
            owners: Owners::default(),
            is_on_threads: false,
            generation: 0,
            lost_records: 0,
            asked_pages,
            kernel_walk: None,
        })
    }

    /// Lets the kernel walk the stacks of all events that are opened from now on; what it cannot do comes through the rings as before.
    pub fn walk_in_kernel(&mut self, kernel_walk: KernelWalk) {
        self.kernel_walk = Some(kernel_walk);
    }

    /// The programs that walk in the kernel, if there are any.
    pub fn kernel_walk(&self) -> Option<&KernelWalk> {
        self.kernel_walk.as_ref()
    }

    /// The same, to be told of mappings.
    pub fn kernel_walk_mut(&mut self) -> Option<&mut KernelWalk> {
        self.kernel_walk.as_mut()
    }

    /// Whether samples come through the ring only where the kernel cannot walk them.
    pub fn is_walked_in_kernel(&self) -> bool {
        self.kernel_walk.is_some()
    }

    /// Samples that were walked in the kernel and wait there.
    pub fn n_walked_waiting(&self) -> io::Result<u64> {
        self.kernel_walk
            .as_ref()
            .map_or(Ok(0), KernelWalk::n_waiting)
    }

    /// Visits all that was walked in the kernel until now.
    pub fn drain_walked(&mut self, mut visit: impl FnMut(WalkedSamples<'_>)) -> io::Result<()> {
        let Some(kernel_walk) = &mut self.kernel_walk else {
            return Ok(());
        };
        let events = &self.plan.events;
        let without_stack = kernel_walk.drain(|mut samples| {
            // The programs know squares of a period roughly; where all samples have the same, they are known.
            let weight = &mut samples.weight;
            if events[samples.event.0].fixed_period().is_some() {
                weight.squares =
                    u128::from(weight.total).pow(2) / u128::from(weight.samples.max(1));
            }
            visit(samples);
        })?;
        for (event, n) in without_stack {
            self.past[event.0].stack_missing += n;
        }
        Ok(())
    }

    /// What became of every event's samples in the kernel; `None` if they are not walked there.
    pub fn outcomes(&self) -> io::Result<Option<Vec<KernelWalkLedger>>> {
        self.kernel_walk
            .as_ref()
            .map(KernelWalk::outcomes)
            .transpose()
    }

    /// Whether the events are on whole CPUs, and the programs pick the samples of targets; the events' own counts are of everybody then.
    pub fn picks_targets(&self) -> bool {
        self.kernel_walk
            .as_ref()
            .is_some_and(KernelWalk::only_targets)
    }

    /// What is sampled.
    pub fn plan(&self) -> &SamplePlan {
        &self.plan
    }

    /// Data pages of each ring, as far as the locked-memory limit allowed.
    pub fn ring_pages(&self) -> usize {
        self.rings.pages()
    }

    /// Data pages that each ring was to have.
    pub fn asked_pages(&self) -> usize {
        self.asked_pages
    }

    /// Descriptors that wake a poller when a ring is a quarter full, or has a sample that could not be walked in the kernel.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.descriptors()
    }

    /// Opens the side-band event of a thread, or of the whole host.
    pub fn open_side_band(
        &mut self,
        thread: Option<(Pid, Tid)>,
        start: Start,
    ) -> Result<(), OpenEventError> {
        self.open_side_band_on(On::new(thread), start)
    }

    fn open_side_band_on(&mut self, on: On<'_>, start: Start) -> Result<(), OpenEventError> {
        let cpus: Vec<Cpu> = self.rings.cpus().collect();
        for cpu in cpus {
            let failed = |error| OpenEventError::new(&dummy(), on.place(cpu), &error);
            let scope = self.scope(on, cpu);
            let fd = sys::open_side_band(scope, start).map_err(failed)?;
            self.route(&fd, cpu).map_err(failed)?;
            self.side_band.push(SideBandEvent {
                fd,
                domain: on.domain(),
            });
        }
        Ok(())
    }

    /// Opens all sampled events of a thread, or of the whole host, on every CPU.
    pub fn open(&mut self, thread: Option<(Pid, Tid)>, start: Start) -> Result<(), OpenEventError> {
        self.open_on(On::new(thread), start)
    }

    fn open_on(&mut self, on: On<'_>, start: Start) -> Result<(), OpenEventError> {
        let cpus: Vec<Cpu> = self.rings.cpus().collect();
        let wakes = match self.kernel_walk {
            // What it leaves to the ring, it leaves for want of what perfd can tell it.
            Some(_) => Wakes::AtOnce,
            None => Wakes::AtWatermark,
        };
        for (idx, event) in self.plan.events.iter().enumerate() {
            let content = SampleContent {
                cgroup: self.with_cgroups,
                ..event.content(self.plan.stack_source)
            };
            for &cpu in &cpus {
                let failed = |error| OpenEventError::new(&event.spec, on.place(cpu), &error);
                let fd = sys::open_sampling(
                    event.resolved,
                    event.modes,
                    event.rate,
                    &content,
                    self.scope(on, cpu),
                    start,
                    wakes,
                );
                let fd = fd.map_err(failed)?;
                self.route(&fd, cpu).map_err(failed)?;
                if let Some(kernel_walk) = &mut self.kernel_walk {
                    kernel_walk.attach(EventIdx(idx), &fd).map_err(failed)?;
                }
                let identity = Identity {
                    event: EventIdx(idx),
                    owner: on.owner(),
                    domain: on.domain(),
                    generation: self.generation,
                    content,
                    period: event.fixed_period().unwrap_or(0),
                };
                self.identities.insert(fd.id(), identity);
                self.opened.push(Opened {
                    event: EventIdx(idx),
                    fd,
                    domain: on.domain(),
                });
            }
        }
        if let Some(tid) = on.owner() {
            self.owners.open(self.generation, tid);
            self.is_on_threads = true;
        }
        Ok(())
    }

    fn scope<'a>(&self, on: On<'a>, cpu: Cpu) -> EventScope<'a> {
        let whom = match on {
            On::Thread(_, tid) => Whom::Thread {
                tid,
                inherit: self.plan.inherit,
            },
            On::Cpus => Whom::Everybody,
            On::Cgroup(_, _, directory) => Whom::Cgroup(directory),
        };
        EventScope { whom, cpu }
    }

    fn route(&self, event: &EventFd, cpu: Cpu) -> io::Result<()> {
        let owner = self.rings.owner(cpu).ok_or(io::ErrorKind::NotFound)?;
        event.send_output_to(owner)
    }

    /// Starts all sampled events.
    pub fn enable(&mut self) -> io::Result<()> {
        self.opened
            .iter_mut()
            .try_for_each(|opened| opened.fd.enable())
    }

    /// Stops all sampled events.
    pub fn disable(&mut self) -> io::Result<()> {
        self.opened
            .iter_mut()
            .try_for_each(|opened| opened.fd.disable())
    }

    /// Begins a new generation of events, of a plan that differs in the size of the stack copy or in rates: those that are open now are
    /// handed back, still running, to be given to [`Sampling::retire`] when the new ones are open, or to [`Sampling::keep`].
    pub fn next_generation(&mut self, change: impl FnOnce(&mut SamplePlan)) -> Retiring {
        let plan = self.plan.clone();
        change(&mut self.plan);
        self.generation += 1;
        Retiring {
            opened: std::mem::take(&mut self.opened),
            plan,
        }
    }

    /// Goes on with old events and their plan; those that were opened since are closed, and have never run.
    pub fn keep(&mut self, old: Retiring) {
        self.opened = old.opened;
        self.plan = old.plan;
        self.owners.abandon(self.generation);
        self.generation -= 1;
    }

    /// Stops old events and starts the new ones; what the old ones counted is kept. Both never run at the same time,
    /// so no sample is taken twice; in between, for the returned time, none is taken at all.
    pub fn retire(&mut self, mut old: Retiring) -> io::Result<std::time::Duration> {
        let before = sys::now();
        old.opened
            .iter_mut()
            .try_for_each(|opened| opened.fd.disable())?;
        self.enable()?;
        let gap = sys::now().since(before);
        for opened in &mut old.opened {
            add(&mut self.past[opened.event.0], opened.fd.read()?);
        }
        Ok(gap)
    }

    /// What every event has counted until now, in the run's order.
    pub fn totals(&mut self) -> io::Result<Vec<Totals>> {
        let mut totals = self.past.clone();
        for opened in &mut self.opened {
            add(&mut totals[opened.event.0], opened.fd.read()?);
        }
        if self.is_on_threads {
            let n_cpus = self.rings.cpus().count().max(1) as u64;
            totals
                .iter_mut()
                .for_each(|totals| totals.enabled_ns /= n_cpus);
        }
        Ok(totals)
    }

    /// Records of any kind that found no room in a ring, samples included.
    pub fn lost_records(&self) -> u64 {
        self.lost_records
    }

    /// Side-band records that found no room.
    ///
    /// Before Linux 6.0 events do not count their losses; then this is 0 and [`Sampling::lost_records`] is all there is.
    pub fn lost_side_band(&mut self) -> io::Result<u64> {
        Ok(self.lost_side_band + lost(&mut self.side_band)?)
    }

    /// Records that came later than the time order they belong in.
    pub fn out_of_order(&self) -> u64 {
        self.rings.out_of_order
    }

    /// Visits everything recorded up to `horizon`, in time order, in the rings themselves.
    pub fn drain(&mut self, horizon: MonoNs, mut visit: impl FnMut(Item<'_>)) {
        let Sampling {
            rings,
            identities,
            owners,
            generation,
            past,
            lost_records,
            ..
        } = self;
        rings.drain(horizon, |cpu, time, words| {
            let Some(id) = record::sample_id(words) else {
                let Some(side_band) = record::side_band(words) else {
                    return;
                };
                match side_band {
                    SideBand::Lost { n_records, .. } => *lost_records += n_records,
                    SideBand::Throttled { id } => {
                        if let Some(identity) = identities.get(&id) {
                            past[identity.event.0].throttled += 1;
                        }
                    }
                    SideBand::Fork {
                        parent_tid, tid, ..
                    } => owners.fork(*generation, parent_tid, tid),
                    SideBand::Exit { tid, .. } => owners.exit(*generation, tid),
                    _ => (),
                }
                return visit(Item::SideBand(time, side_band));
            };
            let Some(identity) = identities.get(&id) else {
                return;
            };
            let totals = &mut past[identity.event.0];
            let Some(sample) = record::sample(words, &identity.content) else {
                totals.malformed += 1;
                return;
            };
            let counts = |owner| owners.counts(identity.generation, sample.tid, owner);
            if !identity.owner.is_none_or(counts) {
                totals.duplicate += 1;
                return;
            }
            visit(Item::Sample(raw_sample(&sample, identity, cpu)));
        });
        self.closed.retain(|(at, id)| {
            let may_come = *at >= horizon;
            if !may_come {
                self.identities.remove(id);
            }
            may_come
        });
    }
}

/// The event that brings side-band records, for error messages.
pub(super) fn dummy() -> EventSpec {
    EventSpec::new(EventSource::Software(SoftwareEvent::Dummy))
}

/// Events of an earlier generation, still running.
pub struct Retiring {
    opened: Vec<Opened>,
    plan: SamplePlan,
}

fn lost(events: &mut [SideBandEvent]) -> io::Result<u64> {
    let reads = events.iter_mut().map(|event| event.fd.read());
    reads.map(|read| Ok(read?.lost.unwrap_or(0))).sum()
}

fn add(totals: &mut Totals, read: sys::ReadOut) {
    totals.count += read.count;
    totals.enabled_ns += read.enabled_ns;
    totals.running_ns += read.running_ns;
    totals.lost += read.lost.unwrap_or(0);
}
