//! The cgroups that samples are told apart by, as the programs look them up.

use aya::maps::{HashMap, MapData, MapError};
use rustc_hash::FxHashMap;

use super::wire::MAX_DOMAIN_LEVELS;
use crate::model::{Cgroup, CgroupId, DomainId};

/// Why a cgroup cannot be a domain.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// It lies deeper than the programs look.
    #[error("cgroup {cgroup} is {depth} levels deep; the kernel's walk looks at {}", MAX_DOMAIN_LEVELS - 1)]
    TooDeep {
        /// The cgroup.
        cgroup: CgroupId,
        /// Cgroups above it.
        depth: u32,
    },
    /// As many as there is room for.
    #[error("{0} cgroups are told apart already")]
    TooMany(u32),
    /// The map could not be written.
    #[error("tell the BPF programs of a cgroup")]
    Map(#[from] MapError),
}

/// The map of domains, and what perfd remembers of it.
pub(super) struct Domains {
    map: HashMap<MapData, u64, u32>,
    room: u32,
    known: FxHashMap<DomainId, Cgroup>,
    /// The last number that was given: numbers are used again as late as possible, since samples of a removed one may still wait.
    last: u16,
}

impl Domains {
    pub(super) fn new(map: HashMap<MapData, u64, u32>, room: u32) -> Domains {
        Domains {
            map,
            room,
            known: FxHashMap::default(),
            last: 0,
        }
    }

    /// Adds one; a cgroup that is there already keeps its number.
    pub(super) fn add(&mut self, cgroup: Cgroup) -> Result<DomainId, DomainError> {
        let mut known = self.known.iter();
        if let Some((domain, _)) = known.find(|(_, known)| known.id == cgroup.id) {
            return Ok(*domain);
        }
        if let Some(depth) = cgroup.depth.filter(|depth| *depth >= MAX_DOMAIN_LEVELS) {
            return Err(DomainError::TooDeep {
                cgroup: cgroup.id,
                depth,
            });
        }
        if self.known.len() >= self.room as usize {
            return Err(DomainError::TooMany(self.room));
        }
        let domain = self.unused();
        self.map.insert(cgroup.id.0, u32::from(domain.0), 0)?;
        self.known.insert(domain, cgroup);
        self.last = domain.0;
        Ok(domain)
    }

    /// Removes one; samples that it has had until now keep its number.
    pub(super) fn remove(&mut self, domain: DomainId) {
        if let Some(cgroup) = self.known.remove(&domain) {
            // Nothing but this removes it.
            let _ = self.map.remove(&cgroup.id.0);
        }
    }

    /// A bit for each level of the tree that has any.
    pub(super) fn levels(&self) -> u32 {
        let all = (1 << MAX_DOMAIN_LEVELS) - 1;
        let level = |cgroup: &Cgroup| cgroup.depth.map_or(all, |depth| 1 << depth);
        self.known
            .values()
            .fold(0, |levels, cgroup| levels | level(cgroup))
    }

    /// 0 stands for none.
    fn unused(&self) -> DomainId {
        let after = (self.last..u16::MAX).map(|last| DomainId(last + 1));
        let again = (1..=self.last).map(DomainId);
        let free = after
            .chain(again)
            .find(|domain| !self.known.contains_key(domain));
        free.expect("there is room for fewer than 2¹⁶ − 1")
    }
}
