//! A sample as the sampler hands it over: who, when, how much, and what is needed to find the stack.

use super::{CgroupId, Cpu, DomainId, EventIdx, MonoNs, Pid, Tid};

/// The user registers that unwinding starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registers {
    /// Instruction pointer: an interrupted address.
    pub pc: u64,
    /// Stack pointer.
    pub sp: u64,
    /// Frame pointer register (rbp, x29). All ones where the kernel did not save it: unknown.
    pub fp: u64,
    /// x86-64: r10, the base of dynamically realigned frames (DRAP) in their prologues. aarch64: unused.
    pub drap: u64,
    /// Where a return address may be instead of on the stack. aarch64: the link register x30. x86-64: rdi, in which
    /// glibc's `vfork` keeps it.
    pub link: u64,
    /// x86-64: rbx, which the dynamic linker finds its frame by while it binds a function. aarch64: unused.
    pub base: u64,
    /// Whether the kernel was entered by a system call: `pc` is then the address behind the instruction that made it,
    /// which may be the last one of its function.
    pub in_syscall: bool,
}

/// The copied top of a user stack.
#[derive(Clone, Copy, Debug)]
pub struct StackCopy<'a> {
    /// The bytes from the stack pointer upwards.
    pub bytes: &'a [u8],
    /// Whether the copy filled all the room it had, so that the stack may go on behind it.
    pub is_cut: bool,
}

/// One sample out of a ring, borrowed from it.
#[derive(Clone, Copy, Debug)]
pub struct RawSample<'a> {
    /// Which of the run's events.
    pub event: EventIdx,
    /// Process.
    pub pid: Pid,
    /// Thread.
    pub tid: Tid,
    /// CPU that took it.
    pub cpu: Cpu,
    /// The cgroup that the thread was in, where that was asked for; otherwise `None`.
    pub cgroup: Option<CgroupId>,
    /// The domain that its event was opened on; `None` for events of threads and of whole CPUs.
    pub domain: Option<DomainId>,
    /// When.
    pub time: MonoNs,
    /// Counts of the event that this sample stands for (its period); nanoseconds for clocks.
    pub weight: u64,
    /// User registers; `None` for kernel threads.
    pub registers: Option<Registers>,
    /// The user stack's top; empty unless stacks are copied.
    pub stack: StackCopy<'a>,
    /// Kernel addresses, leaf first: the first is an interrupted address, the rest return addresses.
    pub kernel_chain: &'a [u64],
    /// User addresses by frame pointer from the kernel (`--call-graph fp`), leaf first.
    pub user_chain: &'a [u64],
}
