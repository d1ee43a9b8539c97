//! Landlock (landlock(7)): the kernel's own rule that no path may be opened, beside the filter of system calls.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;

/// `struct landlock_ruleset_attr`, as of version 6.
#[repr(C)]
struct Handled {
    files: u64,
    net: u64,
    scopes: u64,
}

/// Asks for the version instead of making a set of rules.
const VERSION: u32 = 1;

/// Forbids everything that the running kernel's Landlock knows of. A kernel without it is no error.
pub(super) fn forbid_all() -> io::Result<()> {
    let none = std::ptr::null::<Handled>();
    // SAFETY: with this flag the kernel reads no struct: the pointer must be null and the size 0.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0_usize, VERSION) };
    let version = match Errno::result(version) {
        Ok(version) => version,
        Err(Errno::ENOSYS | Errno::EOPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno.into()),
    };
    let handled = Handled {
        files: match version {
            1 => (1 << 13) - 1,
            2 => (1 << 14) - 1,
            3 | 4 => (1 << 15) - 1,
            _ => (1 << 16) - 1,
        },
        // Binding and connecting by TCP.
        net: if version >= 4 { 3 } else { 0 },
        // Abstract sockets of others, signals to others.
        scopes: if version >= 6 { 3 } else { 0 },
    };
    let size: usize = match version {
        ..=3 => 8,
        4 | 5 => 16,
        _ => 24,
    };
    // SAFETY: the kernel reads `size` bytes of the struct, which is that large and has its layout (repr(C), three u64).
    let rules = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const handled,
            size,
            0_u32,
        )
    };
    let rules = Errno::result(rules)?;
    let rules = RawFd::try_from(rules).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made it for us.
    let rules = unsafe { OwnedFd::from_raw_fd(rules) };
    // SAFETY: numbers alone.
    let result =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, rules.as_raw_fd(), 0_u32) };
    Errno::result(result)?;
    Ok(())
}
