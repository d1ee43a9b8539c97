//! Who a target is, on whose authority it is profiled, and why it ends.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::model::Pid;
use crate::sys::pidfd::PidFd;

/// Whom a target takes in.
#[derive(Debug)]
pub enum Member {
    /// A process, and what it forks from now on. It has been authorised as the process behind `pidfd`, whatever has its number now.
    Process {
        /// Its number.
        pid: Pid,
        /// The process that is meant.
        pidfd: PidFd,
        /// Its living descendants too.
        with_tree: bool,
    },
    /// Whatever runs in a cgroup or below it, at the moment of each sample.
    Cgroup {
        /// Below the mount of version 2.
        path: PathBuf,
        /// The folder.
        dir: OwnedFd,
    },
    /// Whatever runs.
    Host,
}

/// On whose word a target is profiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The administrator's: whatever becomes of its processes.
    Everything,
    /// A user's: each process only as long as the user may profile it. At an exec it may become another's; it is asked anew then.
    User {
        /// Real, effective, saved and file system user id.
        uid: u32,
        /// The same of the group.
        gid: u32,
        /// Whether samples in kernel mode are shown.
        kernel: bool,
    },
}

/// Why a target has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetEnd {
    /// All its processes have, or its cgroup is gone.
    Exited,
    /// None of its processes is left that its user may profile: they execute programs with other rights.
    Elevated,
    /// It was detached.
    Detached,
    /// The engine has ended.
    EngineEnded,
}
