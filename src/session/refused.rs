//! An event that the kernel did not open, or a process that is not there, as the user is told of it: the error with the present values of this host.

use std::io;
use std::os::unix::fs::MetadataExt;

use crate::model::{Fault, FaultClass, Pid};
use crate::procfs::SysRoots;
use crate::procfs::sysctl::Sysctls;
use crate::sampler::counters::PlanError;
use crate::sys::event_error::{OpenEventError, Place};
use crate::sys::privilege::Privilege;

/// The error with its remedies. That a process is somebody else's is said before all settings: they do not help.
pub(super) fn refused(roots: &SysRoots, error: &OpenEventError) -> Fault {
    if let (FaultClass::Permission, Place::Thread(pid, _)) = (error.class(), error.place)
        && let Some(owner) = foreign_owner(roots, pid)
    {
        let own = nix::unistd::geteuid();
        return Fault::new(
            FaultClass::Permission,
            format!("profile pid {pid}: permission denied"),
        )
        .hint(format!(
            "/proc/{pid} belongs to uid {owner}, perfd runs as uid {own} without CAP_PERFMON"
        ))
        .hint("try: sudo, or: perfd doctor   for the capabilities that allow it");
    }
    error.fault(Sysctls::read(roots).perf_event_paranoid)
}

/// Why the counters cannot be had.
pub(super) fn not_planned(roots: &SysRoots, error: PlanError) -> anyhow::Error {
    match error {
        PlanError::Open(error) => refused(roots, &error).into(),
        PlanError::Resolve { event, cause } => {
            anyhow::Error::new(*cause).context(format!("count {event}"))
        }
    }
}

fn foreign_owner(roots: &SysRoots, pid: Pid) -> Option<u32> {
    if Privilege::current().is_ok_and(|privilege| privilege.may_perfmon()) {
        return None;
    }
    let owner = roots.proc.join(pid.to_string()).metadata().ok()?.uid();
    (owner != nix::unistd::geteuid().as_raw()).then_some(owner)
}

/// There is no such process, or none any more.
pub(super) fn gone(pid: Pid) -> Fault {
    Fault::new(
        FaultClass::NoSuchTarget,
        format!("attach pid {pid}: no such process"),
    )
    .hint(format!("try: ps -p {pid}   (it may have ended)"))
}

/// Its mappings cannot be read.
pub(super) fn unreadable(pid: Pid, error: io::Error) -> anyhow::Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return gone_or(pid, error);
    }
    let what = format!("attach pid {pid}: read /proc/{pid}/maps: permission denied");
    Fault::new(FaultClass::Permission, what)
        .hint("the mappings of a process may be read by its own user, unless it has more capabilities, and with CAP_SYS_PTRACE")
        .into()
}

/// A process cannot be looked at, perhaps because it is gone.
pub(super) fn gone_or(pid: Pid, error: io::Error) -> anyhow::Error {
    if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) {
        return gone(pid).into();
    }
    anyhow::Error::new(error).context(format!("attach pid {pid}"))
}
