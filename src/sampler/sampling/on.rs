//! On what events are opened: threads, whole CPUs, cgroups.

use std::fs::File;

use crate::model::{CgroupId, Cpu, DomainId, Pid, Tid};
use crate::sys::event_error::Place;

/// On what events are opened.
#[derive(Clone, Copy)]
pub(super) enum On<'a> {
    Thread(Pid, Tid),
    Cpus,
    Cgroup(DomainId, CgroupId, &'a File),
}

impl<'a> On<'a> {
    pub(super) fn new(thread: Option<(Pid, Tid)>) -> On<'a> {
        thread.map_or(On::Cpus, |(pid, tid)| On::Thread(pid, tid))
    }

    pub(super) fn place(self, cpu: Cpu) -> Place {
        match self {
            On::Thread(pid, tid) => Place::Thread(pid, tid),
            On::Cpus => Place::Cpu(cpu),
            On::Cgroup(_, cgroup, _) => Place::Cgroup(cgroup, cpu),
        }
    }

    pub(super) fn owner(self) -> Option<Tid> {
        match self {
            On::Thread(_, tid) => Some(tid),
            On::Cpus | On::Cgroup(..) => None,
        }
    }

    pub(super) fn domain(self) -> Option<DomainId> {
        match self {
            On::Cgroup(domain, ..) => Some(domain),
            On::Thread(..) | On::Cpus => None,
        }
    }
}
