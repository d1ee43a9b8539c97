//! Cgroups of the unified hierarchy (version 2), and the numbers that samples are told apart by.

use std::fmt;

/// What the kernel calls a cgroup: the inode of its directory. Not used again while the host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupId(pub u64);

/// A cgroup, and where in the tree it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cgroup {
    /// Which.
    pub id: CgroupId,
    /// Cgroups above it: 0 for the root. `None` where perfd sees a part of the tree only, and cannot know.
    pub depth: Option<u32>,
}

/// A cgroup whose samples are told from others', by its number in a run.
///
/// A sample is of the deepest domain that its thread is in at that moment; which domains lie in which others is known to who has made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub u16);

impl fmt::Display for CgroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
