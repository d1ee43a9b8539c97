//! Which of the cgroups that samples are told apart by a process or a sample is in, as perfd itself finds out.
//!
//! The BPF programs say it of the samples that they count. This is for those that come through a ring, and gives the same: the deepest.

use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use crate::model::{CgroupId, DomainId, Pid};
use crate::procfs::cgroups::Cgroups;

/// Cgroups below domains that are remembered. A host makes and removes them all the time; when there are more, all are looked up anew.
const MOST_REMEMBERED: usize = 1 << 16;

/// The domains, and the cgroups that were found to be in them.
#[derive(Debug)]
pub struct Domains {
    cgroups: Cgroups,
    known: FxHashMap<DomainId, Domain>,
    /// Cgroups by the domain that they are in, if they are in one.
    found: FxHashMap<CgroupId, Option<DomainId>>,
    /// Whether all below the domains was looked through since [`Domains::search_again`].
    is_searched: bool,
}

#[derive(Debug)]
struct Domain {
    cgroup: CgroupId,
    /// Below the mount, without a slash at its beginning.
    path: PathBuf,
}

impl Domains {
    /// No domains yet.
    pub fn new(cgroups: Cgroups) -> Domains {
        Domains {
            cgroups,
            known: FxHashMap::default(),
            found: FxHashMap::default(),
            is_searched: false,
        }
    }

    /// Adds one: the number that it was given (`KernelWalk::add_domain`), and its path below the mount.
    pub fn add(&mut self, domain: DomainId, cgroup: CgroupId, path: &Path) {
        let path = path.strip_prefix("/").unwrap_or(path).to_owned();
        self.known.insert(domain, Domain { cgroup, path });
        self.forget_found();
    }

    /// Removes one.
    pub fn remove(&mut self, domain: DomainId) {
        self.known.remove(&domain);
        self.forget_found();
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// A domain and those that it lies in, from the inside out: a sample in it is in all of them.
    pub fn around(&self, domain: DomainId) -> Vec<DomainId> {
        let Some(inner) = self.known.get(&domain) else {
            return Vec::new();
        };
        let mut around: Vec<(&DomainId, &Domain)> = { self.known.iter() }
            .filter(|(_, outer)| inner.path.starts_with(&outer.path))
            .collect();
        around.sort_by_key(|(_, outer)| std::cmp::Reverse(outer.path.components().count()));
        around.into_iter().map(|(domain, _)| *domain).collect()
    }

    /// The domain that a process is in now; `None` if it is in none, or gone.
    pub fn of_process(&mut self, pid: Pid) -> Option<DomainId> {
        if self.known.is_empty() {
            return None;
        }
        let lineage = self.cgroups.lineage_of(pid).ok()?;
        let domain = lineage.iter().find_map(|cgroup| self.is_domain(*cgroup));
        self.remember(*lineage.first()?, domain);
        domain
    }

    /// The domain of a sample that carries its cgroup; of one that does not, that of its process now.
    ///
    /// One system call for a cgroup that is new, and nothing for others. The cgroup of a process that has ended is looked for in all that lies below
    /// the domains, at most once until [`Domains::search_again`].
    pub fn of_sample(&mut self, cgroup: Option<CgroupId>, pid: Pid) -> Option<DomainId> {
        if self.known.is_empty() {
            return None;
        }
        let Some(cgroup) = cgroup else {
            return self.of_process(pid);
        };
        if let Some(domain) = self.found.get(&cgroup) {
            return *domain;
        }
        // Is remembered with its process, if that has not moved.
        self.of_process(pid);
        if !self.found.contains_key(&cgroup) && !self.is_searched {
            self.is_searched = true;
            self.search();
        }
        *self.found.get(&cgroup)?
    }

    /// Lets the tree be searched once more: to be said at each drain, for instance.
    pub fn search_again(&mut self) {
        self.is_searched = false;
    }

    /// Finds all cgroups below the domains, the inner ones last: what they have is theirs.
    fn search(&mut self) {
        let mut domains: Vec<(DomainId, PathBuf)> = { self.known.iter() }
            .map(|(domain, known)| (*domain, known.path.clone()))
            .collect();
        domains.sort_by_key(|(_, path)| path.components().count());
        for (domain, path) in domains {
            for (cgroup, _) in self.cgroups.ids_below(&path) {
                self.remember(cgroup, Some(domain));
            }
        }
    }

    fn is_domain(&self, cgroup: CgroupId) -> Option<DomainId> {
        let mut known = self.known.iter();
        let (domain, _) = known.find(|(_, known)| known.cgroup == cgroup)?;
        Some(*domain)
    }

    fn remember(&mut self, cgroup: CgroupId, domain: Option<DomainId>) {
        if self.found.len() >= MOST_REMEMBERED {
            self.found.clear();
        }
        self.found.insert(cgroup, domain);
    }

    fn forget_found(&mut self) {
        self.found.clear();
        self.is_searched = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::procfs::SysRoots;

    #[test]
    fn a_domain_lies_in_those_whose_paths_its_own_begins_with() {
        let Ok(cgroups) = Cgroups::find(&SysRoots::default()) else {
            return;
        };
        let mut domains = Domains::new(cgroups);
        for (number, path) in [(1, "/"), (2, "a"), (3, "a/b/c"), (4, "ab")] {
            let cgroup = CgroupId(100 + u64::from(number));
            domains.add(DomainId(number), cgroup, Path::new(path));
        }
        let around = |number| {
            let around = domains.around(DomainId(number));
            around
                .into_iter()
                .map(|domain| domain.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(around(3), [3, 2, 1]);
        assert_eq!(around(4), [4, 1]);
        assert_eq!(around(9), [0; 0]);
    }

    #[test]
    fn this_process_is_in_the_domain_of_its_cgroup_whether_it_is_asked_by_number_or_by_sample() {
        let Ok(cgroups) = Cgroups::find(&SysRoots::default()) else {
            return;
        };
        let own = Pid(std::process::id());
        let lineage = cgroups.lineage_of(own).expect("ourselves");
        let path = cgroups.of_process(own).expect("ourselves");
        let mut domains = Domains::new(cgroups);
        assert_eq!(domains.of_sample(None, own), None);
        domains.add(DomainId(7), lineage[0], &path);
        assert_eq!(domains.of_process(own), Some(DomainId(7)));
        assert_eq!(domains.of_sample(None, own), Some(DomainId(7)));
        // Of a process that is gone: by the cgroup alone.
        let gone = Pid(u32::MAX);
        assert_eq!(domains.of_sample(Some(lineage[0]), gone), Some(DomainId(7)));
        domains.forget_found();
        assert_eq!(domains.of_sample(Some(lineage[0]), gone), Some(DomainId(7)));
        assert_eq!(domains.of_sample(Some(CgroupId(u64::MAX)), gone), None);
        assert_eq!(domains.of_process(gone), None);
        domains.remove(DomainId(7));
        assert!(domains.is_empty() && domains.of_process(own).is_none());
    }
}
