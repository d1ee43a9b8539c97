//! Gives up, for good, everything that a process needs only if it does more than compute on files that are handed to it.
//!
//! | what | how |
//! | --- | --- |
//! | capabilities | all sets empty; no program can be started that brings some (`PR_SET_NO_NEW_PRIVS`) |
//! | system calls | those of a fixed list alone, see `filter.rs`: no path is opened, no socket made, nothing executed, no other process touched |
//! | files by path | none, by Landlock too, where the kernel has that |
//! | memory, open files, size of files, core dumps | limits of the kernel |
//! | being looked into | not dumpable: only who may trace anybody may trace it |
//!
//! None of it can be taken back, by the process itself or what it becomes.

mod filter;
mod landlock;

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the process may use from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes of address space.
    pub memory: u64,
    /// Open files at a time.
    pub open_files: u64,
    /// Bytes of each file that it writes.
    pub file_size: u64,
}

/// Confines the calling process, which must have one thread. What it has open it keeps.
///
/// # Errors
/// What the kernel refused: then the process is not confined and must not go on.
pub fn confine(allowance: Allowance) -> io::Result<()> {
    control(libc::PR_SET_DUMPABLE, 0)?;
    limit(Resource::RLIMIT_CORE, 0)?;
    limit(Resource::RLIMIT_AS, allowance.memory)?;
    limit(Resource::RLIMIT_NOFILE, allowance.open_files)?;
    limit(Resource::RLIMIT_FSIZE, allowance.file_size)?;
    control(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    drop_capabilities()?;
    landlock::forbid_all()?;
    filter::install()
}

/// Takes standard input for a socket, and closes all descriptors but it, standard output and error.
///
/// To be called first of all in a program that is started with a socket there: nothing else must be open that anything owns.
pub fn take_socket() -> io::Result<OwnedFd> {
    // SAFETY: numbers alone; that no object owns one of the descriptors is the caller's word, above.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    Errno::result(result)?;
    io::stdin().as_fd().try_clone_to_owned()
}

/// Lets the process use so many seconds of a CPU from now on; the kernel ends it behind that.
pub fn allow_cpu_time(seconds: u64) -> io::Result<()> {
    let used = super::cpu_time_of_process() / 1_000_000_000;
    let (_, hard) = getrlimit(Resource::RLIMIT_CPU)?;
    let soft = (used + 1).saturating_add(seconds).min(hard);
    Ok(setrlimit(Resource::RLIMIT_CPU, soft, hard)?)
}

/// Not above what it was.
fn limit(resource: Resource, value: u64) -> io::Result<()> {
    let (_, hard) = getrlimit(resource)?;
    let value = value.min(hard);
    Ok(setrlimit(resource, value, value)?)
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct CapHeader {
    version: u32,
    pid: i32,
}

const LINUX_CAPABILITY_VERSION_3: u32 = 0x2008_0522;
/// Capabilities are numbered with six bits.
const MAX_CAPABILITIES: u64 = 64;

fn drop_capabilities() -> io::Result<()> {
    for number in 0..MAX_CAPABILITIES {
        // The bounding set is for whoever may change it; to others it is of no use either: nothing is executed any more.
        match control(libc::PR_CAPBSET_DROP, number) {
            Ok(()) => (),
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => break,
            // There is no such capability.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    let clear = u64::from(libc::PR_CAP_AMBIENT_CLEAR_ALL.unsigned_abs());
    control(libc::PR_CAP_AMBIENT, clear)?;
    let mut header = CapHeader {
        version: LINUX_CAPABILITY_VERSION_3,
        pid: 0,
    };
    // Effective, permitted, inheritable, for the lower and the higher 32.
    let none = [0_u32; 6];
    // SAFETY: capset(2) reads one header, which it may write the version of, and, for version 3, two structs of three u32 each;
    // both are owned by this frame and have the kernel's layout.
    let result = unsafe { libc::syscall(libc::SYS_capset, &raw mut header, none.as_ptr()) };
    Errno::result(result)?;
    Ok(())
}

/// A `prctl` of one argument.
fn control(option: libc::c_int, argument: u64) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: the options that this module uses take numbers alone, no pointer; those that are not used must be 0.
    let result = unsafe { libc::prctl(option, argument, zero, zero, zero) };
    Errno::result(result)?;
    Ok(())
}
