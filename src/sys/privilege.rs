//! Who perfd runs as, and which capabilities it has: `geteuid`, `capget`.
//!
//! Raises and drops nothing. A capability inside a user namespace of its own does not count on the host, and
//! is shown here all the same: see `procfs::sysctl::is_initial_user_namespace`.

use std::fmt;
use std::io;

/// The capabilities that decide what a profiler may do, numbered as in <linux/capability.h>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capability {
    /// Reads any file: programs in folders closed to perfd's user, tracefs.
    DacReadSearch = 2,
    /// Locks any amount of memory: rings of any size.
    IpcLock = 14,
    /// Looks into processes of other users: `/proc/PID/root`, `/proc/PID/exe`.
    SysPtrace = 19,
    /// All of `Perfmon`, `Bpf` and `CheckpointRestore`, and much else.
    SysAdmin = 21,
    /// Reads kernel addresses in `/proc/kallsyms`.
    SysLog = 34,
    /// Opens any perf event on any process or CPU.
    Perfmon = 38,
    /// Loads BPF programs.
    Bpf = 39,
    /// Opens `/proc/PID/map_files`.
    CheckpointRestore = 40,
}

impl Capability {
    /// All of them, in the kernel's order.
    pub const ALL: [Capability; 8] = [
        Capability::DacReadSearch,
        Capability::IpcLock,
        Capability::SysPtrace,
        Capability::SysAdmin,
        Capability::SysLog,
        Capability::Perfmon,
        Capability::Bpf,
        Capability::CheckpointRestore,
    ];
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Capability::DacReadSearch => "CAP_DAC_READ_SEARCH",
            Capability::IpcLock => "CAP_IPC_LOCK",
            Capability::SysPtrace => "CAP_SYS_PTRACE",
            Capability::SysAdmin => "CAP_SYS_ADMIN",
            Capability::SysLog => "CAP_SYSLOG",
            Capability::Perfmon => "CAP_PERFMON",
            Capability::Bpf => "CAP_BPF",
            Capability::CheckpointRestore => "CAP_CHECKPOINT_RESTORE",
        })
    }
}

/// What perfd may do by who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// Effective user id.
    pub euid: u32,
    /// Effective capabilities, a bit for each number.
    pub effective: u64,
}

impl Privilege {
    /// Of the calling thread.
    pub fn current() -> io::Result<Privilege> {
        Ok(Privilege {
            euid: nix::unistd::geteuid().as_raw(),
            effective: effective_capabilities()?,
        })
    }

    /// Whether a capability is in effect.
    pub fn has(&self, capability: Capability) -> bool {
        self.effective & (1 << capability as u32) != 0
    }

    /// The kernel's `perfmon_capable()`: perf events without regard to `perf_event_paranoid`.
    pub fn may_perfmon(&self) -> bool {
        self.has(Capability::Perfmon) || self.has(Capability::SysAdmin)
    }
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`; version 3 has two, low and high half.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapData {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;

fn effective_capabilities() -> io::Result<u64> {
    let mut header = CapHeader {
        version: LINUX_CAPABILITY_VERSION_3,
        pid: 0,
    };
    let mut halves = [CapData::default(); 2];
    // SAFETY: capget(2) reads one header and, for version 3, writes two data structs; both are owned by this
    // frame, have the kernel's layout (repr(C), above), and live until the call returns.
    let result = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, halves.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(u64::from(halves[0].effective) | u64::from(halves[1].effective) << 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_capabilities_are_those_that_proc_shows() {
        let status = std::fs::read_to_string("/proc/thread-self/status").expect("procfs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("CapEff:"))
            .expect("every kernel since 2.6 has it");
        let shown = u64::from_str_radix(line.trim(), 16).expect("hexadecimal");
        let current = Privilege::current().expect("capget needs no permission");
        assert_eq!(current.effective, shown);
    }

    #[test]
    fn sys_admin_stands_in_for_perfmon() {
        let with = |capability: Capability| Privilege {
            euid: 1000,
            effective: 1 << capability as u32,
        };
        assert!(with(Capability::Perfmon).may_perfmon());
        assert!(with(Capability::SysAdmin).may_perfmon());
        assert!(!with(Capability::SysPtrace).may_perfmon());
    }
}
