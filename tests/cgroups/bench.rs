//! A sampler, and what its samples say of processes and domains: as a run would use it, without names and stacks.

use std::time::Duration;

use perfd::bpf::{CountEach, KernelWalk, Python, Room};
use perfd::model::{Cpu, DomainId, EventSpec, Hz, Modes, MonoNs, Pid, Rate, RawSample};
use perfd::procfs::cgroups::Cgroups;
use perfd::procfs::event_source::resolve;
use perfd::procfs::{SysRoots, cpus};
use perfd::sampler::{Item, PlannedEvent, Reach, SamplePlan, Sampling, StackSource};
use perfd::sys::record::SideBand;
use perfd::sys::{self, Start};
use perfd::target::{Domains, Processes};

use crate::tree::Made;

/// What of a ring is left for the next drain: an older record may still be on its way.
const SETTLE: Duration = Duration::from_millis(2);

/// A sample.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub pid: Pid,
    pub time: MonoNs,
    pub domain: Option<DomainId>,
    /// Whether it was counted in the kernel.
    pub in_kernel: bool,
    /// Whether its process was known when it came.
    pub is_known: bool,
}

pub struct Bench {
    pub sampling: Sampling,
    pub processes: Processes,
    pub domains: Domains,
    pub seen: Vec<Seen>,
    /// Processes that records told of.
    pub told: Vec<Pid>,
}

/// What to do with a process of a domain that no record has told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strangers {
    Learn,
    Leave,
}

pub fn cpus() -> Vec<Cpu> {
    cpus::online(&SysRoots::default()).expect("readable")
}

impl Bench {
    /// On whole CPUs, with the programs that pick targets.
    pub fn with_bpf(cgroups: &Cgroups) -> Bench {
        let mut bench = Bench::of_event(
            cgroups,
            "cpu-clock:u",
            Rate::Frequency(Hz(997)),
            Reach::Cpus,
        );
        let room = Room::for_samples(1000, 100);
        let walk = KernelWalk::load(1, true, CountEach::Sample, Python::Leave, room, [1, 2]);
        bench
            .sampling
            .walk_in_kernel(walk.expect("BPF is permitted"));
        bench
            .sampling
            .open_side_band(None, Start::Enabled)
            .expect("root may");
        bench.sampling.open(None, Start::Enabled).expect("root may");
        bench
    }

    /// Nothing open yet; samples come through the rings.
    pub fn of_event(cgroups: &Cgroups, event: &str, rate: Rate, reach: Reach) -> Bench {
        let spec: EventSpec = event.parse().expect("an event");
        let resolved = resolve(&SysRoots::default(), &spec.source).expect("is everywhere");
        let plan = SamplePlan {
            events: vec![PlannedEvent {
                spec,
                resolved,
                rate,
                modes: Modes::USER,
            }],
            stack_source: StackSource::None,
            reach,
            inherit: true,
        };
        let mut sampling = Sampling::new(plan, &cpus(), Some(64)).expect("rings");
        sampling.tell_cgroups();
        Bench {
            sampling,
            processes: Processes::new("/proc".into()),
            domains: Domains::new(cgroups.clone()),
            seen: Vec::new(),
            told: Vec::new(),
        }
    }

    /// Makes a cgroup a domain of the programs.
    pub fn add_domain(&mut self, made: &Made<'_>) -> DomainId {
        let (cgroup, _) = made.open();
        let walk = self.sampling.kernel_walk_mut().expect("with BPF");
        let domain = walk.add_domain(cgroup).expect("there is room");
        self.domains.add(domain, cgroup.id, &made.path);
        domain
    }

    /// Makes a running process a target, and tells the programs of it.
    pub fn add_process(&mut self, pid: Pid) {
        self.processes
            .add_running(pid, sys::now())
            .expect("it runs");
        self.publish(sys::now());
    }

    /// Takes what has come; processes of domains become known by their samples.
    pub fn take(&mut self) {
        self.take_all(Strangers::Learn);
    }

    /// The same, but a process must be told of by a record to be known.
    pub fn take_of_known(&mut self) {
        self.take_all(Strangers::Leave);
    }

    fn take_all(&mut self, strangers: Strangers) {
        let horizon = sys::now().minus(SETTLE);
        let Bench {
            sampling,
            processes,
            domains,
            seen,
            told,
        } = self;
        domains.search_again();
        sampling
            .drain_walked(|samples| {
                let (time, _) = samples.taken.expect("each by itself");
                seen.push(Seen {
                    pid: samples.pid,
                    time,
                    domain: samples.domain,
                    in_kernel: true,
                    is_known: processes.space(samples.pid).is_some(),
                });
            })
            .expect("the maps are read");
        sampling.drain(horizon, |item| match item {
            Item::SideBand(time, record) => {
                if let SideBand::Mmap { pid, .. } | SideBand::Fork { pid, .. } = &record {
                    told.push(*pid);
                }
                if processes.concerns_known(&record) {
                    processes.apply(time, &record);
                }
            }
            Item::Sample(sample) => {
                let domain = domain_of(domains, &sample);
                if strangers == Strangers::Learn
                    && domain.is_some()
                    && processes.space(sample.pid).is_none()
                {
                    let _ = processes.add_running(sample.pid, sample.time);
                }
                seen.push(Seen {
                    pid: sample.pid,
                    time: sample.time,
                    domain,
                    in_kernel: false,
                    is_known: processes.space(sample.pid).is_some(),
                });
            }
        });
        self.publish(horizon);
    }

    /// Takes samples until there are enough of a kind.
    pub fn until(&mut self, is_enough: impl Fn(&[Seen]) -> bool) {
        while !is_enough(&self.seen) {
            self.take();
        }
    }

    /// Tells the programs what has changed; all modules are walked by frame pointers.
    fn publish(&mut self, as_of: MonoNs) {
        let changed = self.processes.take_changed();
        let Some(walk) = self.sampling.kernel_walk_mut() else {
            return;
        };
        for pid in changed {
            let Some(space) = self.processes.space(pid) else {
                walk.forget(pid);
                continue;
            };
            for mapping in space.iter() {
                let shown = walk.table_loader().show(mapping.module, None);
                shown.expect("there is room for modules");
            }
            walk.publish(pid, space, as_of).expect("there is room");
        }
    }
}

fn domain_of(domains: &mut Domains, sample: &RawSample<'_>) -> Option<DomainId> {
    match sample.domain {
        Some(domain) => Some(domain),
        None => domains.of_sample(sample.cgroup, sample.pid),
    }
}
