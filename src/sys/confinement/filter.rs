//! The filter of system calls (seccomp(2)): a list of those that computing on open files takes. All others fail with `EPERM`.
//!
//! An allow list, so that what a kernel will have tomorrow is forbidden too. Where only some uses of a call are harmless, its arguments are
//! looked at: memory may not become executable, signals go to the process itself, descriptors are doubled but not given an owner. What stays
//! possible is to learn of a path whether it exists (`statx`, which asks for an open file's size, takes a path as well).

use std::io;

use libc::c_long;
use nix::errno::Errno;

use super::control;
use crate::arch::host_calls;

/// Which uses of a call are allowed.
#[derive(Clone, Copy)]
enum Uses {
    All,
    /// Those in which the argument of that number has one of these values, in its lower half.
    Is(u8, &'static [u32]),
    /// In which the argument is this process.
    IsSelf(u8),
    /// In which none of these bits is set.
    Lacks(u8, u32),
    /// In which one of these bits is set.
    Has(u8, u32),
}

/// A call, and which uses of it are allowed.
struct Call(c_long, Uses);

const PROT_EXEC: u32 = libc::PROT_EXEC.unsigned_abs();
const AT_EMPTY_PATH: u32 = libc::AT_EMPTY_PATH.unsigned_abs();
const DOUBLING: &[u32] = &[
    libc::F_DUPFD_CLOEXEC.unsigned_abs(),
    libc::F_GETFD.unsigned_abs(),
    libc::F_GETFL.unsigned_abs(),
];

const CALLS: &[Call] = &[
    Call(libc::SYS_read, Uses::All),
    Call(libc::SYS_write, Uses::All),
    Call(libc::SYS_pread64, Uses::All),
    Call(libc::SYS_pwrite64, Uses::All),
    Call(libc::SYS_lseek, Uses::All),
    Call(libc::SYS_close, Uses::All),
    Call(libc::SYS_fstat, Uses::All),
    Call(libc::SYS_newfstatat, Uses::Has(3, AT_EMPTY_PATH)),
    Call(libc::SYS_statx, Uses::Has(2, AT_EMPTY_PATH)),
    Call(libc::SYS_fcntl, Uses::Is(1, DOUBLING)),
    // The one socket there is, is connected.
    Call(libc::SYS_sendmsg, Uses::All),
    Call(libc::SYS_recvmsg, Uses::All),
    Call(libc::SYS_recvfrom, Uses::All),
    Call(libc::SYS_ppoll, Uses::All),
    Call(libc::SYS_restart_syscall, Uses::All),
    Call(libc::SYS_brk, Uses::All),
    Call(libc::SYS_mmap, Uses::Lacks(2, PROT_EXEC)),
    Call(libc::SYS_mprotect, Uses::Lacks(2, PROT_EXEC)),
    Call(libc::SYS_munmap, Uses::All),
    Call(libc::SYS_mremap, Uses::All),
    Call(libc::SYS_madvise, Uses::All),
    Call(libc::SYS_futex, Uses::All),
    Call(libc::SYS_sched_yield, Uses::All),
    Call(libc::SYS_getrandom, Uses::All),
    Call(libc::SYS_clock_gettime, Uses::All),
    // Its own limits.
    Call(libc::SYS_prlimit64, Uses::Is(0, &[0])),
    // Ending, by itself or by a panic, and what the standard library does around it.
    Call(libc::SYS_getpid, Uses::All),
    Call(libc::SYS_gettid, Uses::All),
    Call(libc::SYS_tgkill, Uses::IsSelf(0)),
    Call(libc::SYS_rt_sigaction, Uses::All),
    Call(libc::SYS_rt_sigprocmask, Uses::All),
    Call(libc::SYS_rt_sigreturn, Uses::All),
    Call(libc::SYS_sigaltstack, Uses::All),
    Call(libc::SYS_exit, Uses::All),
    Call(libc::SYS_exit_group, Uses::All),
];

/// Offsets in `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_SET: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Puts the filter in force, for the calling thread and all that it starts.
pub(super) fn install() -> io::Result<()> {
    let mut program = program(std::process::id());
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidData)?,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the kernel reads the struct and the `len` instructions behind its pointer; both live until the call returns.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::c_ulong::from(libc::SECCOMP_MODE_FILTER),
            &raw const filter,
        )
    };
    Errno::result(result)?;
    // It is in force: this is not on the list.
    match control(libc::PR_SET_DUMPABLE, 0) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn program(own: u32) -> Vec<libc::sock_filter> {
    let mut program = vec![
        load(ARCH_AT),
        jump(JUMP_EQUAL, host_calls::AUDIT, 1, 0),
        give(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER_AT),
    ];
    let waiting = host_calls::WAITING
        .iter()
        .map(|number| (*number, Uses::All));
    let calls = CALLS.iter().map(|Call(number, uses)| (*number, *uses));
    for (number, uses) in calls.chain(waiting) {
        let body = body(uses, own);
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        // To the next call if it is another.
        let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
        program.push(jump(JUMP_EQUAL, number, 0, length));
        program.extend(body);
    }
    program.push(refuse());
    program
}

/// What becomes of a call of that number; leaves the accumulator alone where the next number is looked at.
fn body(uses: Uses, own: u32) -> Vec<libc::sock_filter> {
    let argument = |number: u8| load(ARGUMENTS_AT + 8 * u32::from(number));
    let is_one_of = |number, values: &[u32]| {
        let mut body = vec![argument(number)];
        for value in values {
            body.extend([jump(JUMP_EQUAL, *value, 0, 1), allow()]);
        }
        body.push(refuse());
        body
    };
    match uses {
        Uses::All => vec![allow()],
        Uses::Is(number, values) => is_one_of(number, values),
        Uses::IsSelf(number) => is_one_of(number, &[own]),
        Uses::Lacks(number, bits) => vec![
            argument(number),
            jump(JUMP_SET, bits, 1, 0),
            allow(),
            refuse(),
        ],
        Uses::Has(number, bits) => vec![
            argument(number),
            jump(JUMP_SET, bits, 0, 1),
            allow(),
            refuse(),
        ],
    }
}

fn load(offset: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: LOAD,
        jt: 0,
        jf: 0,
        k: offset,
    }
}

/// Leaves out `jt` instructions if it is so, `jf` if not.
fn jump(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

fn give(verdict: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: RETURN,
        jt: 0,
        jf: 0,
        k: verdict,
    }
}

fn allow() -> libc::sock_filter {
    give(libc::SECCOMP_RET_ALLOW)
}

fn refuse() -> libc::sock_filter {
    give(libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the filter says of a call, as the kernel reads it.
    fn verdict(number: c_long, arguments: [u32; 6]) -> u32 {
        let program = program(77);
        let word = |offset: u32| match offset {
            NUMBER_AT => u32::try_from(number).expect("small"),
            ARCH_AT => host_calls::AUDIT,
            offset => arguments[usize::try_from((offset - ARGUMENTS_AT) / 8).expect("small")],
        };
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let instruction = program[at];
            let step = |holds: bool| match holds {
                true => usize::from(instruction.jt),
                false => usize::from(instruction.jf),
            };
            at += 1;
            match instruction.code {
                LOAD => accumulator = word(instruction.k),
                JUMP_EQUAL => at += step(accumulator == instruction.k),
                JUMP_SET => at += step(accumulator & instruction.k != 0),
                RETURN => return instruction.k,
                other => panic!("{other:#x}"),
            }
        }
    }

    #[track_caller]
    fn check(number: c_long, arguments: [u32; 6], is_allowed: bool) {
        let expected = match is_allowed {
            true => libc::SECCOMP_RET_ALLOW,
            false => libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs(),
        };
        assert_eq!(verdict(number, arguments), expected, "{number}");
    }

    #[test]
    fn nothing_is_opened_executed_connected_or_touched() {
        for number in [
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_open_by_handle_at,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_connect,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_kill,
            libc::SYS_pidfd_open,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_ioctl,
            libc::SYS_linkat,
            libc::SYS_unlinkat,
            libc::SYS_perf_event_open,
            libc::SYS_bpf,
            libc::SYS_io_uring_setup,
            libc::SYS_userfaultfd,
            libc::SYS_prctl,
            libc::SYS_setuid,
            libc::SYS_mount,
        ] {
            check(number, [0; 6], false);
        }
        #[cfg(target_arch = "x86_64")]
        check(libc::SYS_open, [0; 6], false);
    }

    #[test]
    fn some_calls_are_allowed_for_some_uses() {
        check(libc::SYS_pread64, [0; 6], true);
        check(libc::SYS_exit_group, [0; 6], true);
        let with = |idx: usize, value: u32| {
            let mut arguments = [0; 6];
            arguments[idx] = value;
            arguments
        };
        check(libc::SYS_mmap, with(2, 3), true);
        check(libc::SYS_mmap, with(2, 7), false);
        check(libc::SYS_mprotect, with(2, PROT_EXEC), false);
        check(libc::SYS_statx, with(2, AT_EMPTY_PATH), true);
        check(libc::SYS_statx, [0; 6], false);
        check(libc::SYS_tgkill, with(0, 77), true);
        check(libc::SYS_tgkill, with(0, 78), false);
        check(libc::SYS_prlimit64, [0; 6], true);
        check(libc::SYS_prlimit64, with(0, 1), false);
        check(libc::SYS_fcntl, with(1, DOUBLING[0]), true);
        let owner = u32::try_from(libc::F_SETOWN).expect("small");
        check(libc::SYS_fcntl, with(1, owner), false);
    }
}
