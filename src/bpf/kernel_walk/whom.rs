//! Whose samples the programs take: everybody's, those of targets, those in domains.

use std::io;

use super::{KernelWalk, LoadError};
use crate::bpf::domains::DomainError;
use crate::bpf::wire::{EVERYBODY, SOME_TARGETS_UNTOLD, TOLD_TARGETS};
use crate::model::{Cgroup, DomainId, MonoNs};

impl KernelWalk {
    /// Takes everybody's samples from now on, or those of targets alone. Samples of processes whose mappings are not told go to the ring.
    pub fn follow_everybody(&mut self, everybody: bool) -> Result<(), LoadError> {
        self.only_targets = !everybody;
        self.tell_whom()
    }

    pub(super) fn tell_whom(&mut self) -> Result<(), LoadError> {
        self.state.only_targets = match (self.only_targets, self.untold.is_empty()) {
            (false, _) => EVERYBODY,
            (true, true) => TOLD_TARGETS,
            (true, false) => SOME_TARGETS_UNTOLD,
        };
        self.state.domain_levels = self.domains.levels();
        Ok(self.control.set(0, self.state, 0)?)
    }

    /// Tells samples in a cgroup from others, from now on: those of processes that were not told of go to the ring.
    ///
    /// # Errors
    /// There is no room for it (`Room::domains`), or it lies too deep in the tree.
    pub fn add_domain(&mut self, cgroup: Cgroup) -> Result<DomainId, DomainError> {
        let domain = self.domains.add(cgroup)?;
        self.tell_levels()?;
        Ok(domain)
    }

    /// The opposite; samples that were counted before keep the domain.
    pub fn remove_domain(&mut self, domain: DomainId) -> Result<(), DomainError> {
        self.domains.remove(domain);
        self.tell_levels()
    }

    fn tell_levels(&mut self) -> Result<(), DomainError> {
        self.state.domain_levels = self.domains.levels();
        Ok(self.control.set(0, self.state, 0)?)
    }

    /// Says from when on forks are known from records: with `only_targets` what a target has forked before is none. To be told anew where
    /// targets are added while the programs run: a moment up to which all records have been read.
    pub fn forks_are_known_since(&mut self, since: MonoNs) -> io::Result<()> {
        self.state.since = since.0;
        self.control.set(0, self.state, 0).map_err(io::Error::other)
    }

    /// Whether samples of other processes are left out.
    pub fn only_targets(&self) -> bool {
        self.only_targets
    }
}
