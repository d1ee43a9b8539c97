//! Opening sampling events, side-band events and ring owners.
//!
//! Decides nothing about what to sample; puts together the `perf_event_attr` that [`super::record`] can read back.
//! Counting events that take no samples are opened in `sampler::counters`.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use perf_event::events::Event;
use perf_event::{Builder, Clock, Counter, ReadFormat, SampleFlag};
use perf_event_open_sys::bindings::perf_event_attr;
use perf_event_open_sys::ioctls;

use crate::arch::host;
use crate::model::{Cpu, Modes, Rate, Registers, ResolvedEvent, Tid};

impl Event for ResolvedEvent {
    fn update_attrs(self, attr: &mut perf_event_attr) {
        attr.type_ = self.type_;
        attr.config = self.config;
        attr.config1 = self.config1;
        attr.config2 = self.config2;
        attr.bp_type = self.bp_type;
        attr.set_exclude_guest(u64::from(self.host_only));
    }
}

/// Which part of the kernel's frame pointer chain a sample carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callchain {
    /// None.
    None,
    /// The kernel part.
    Kernel,
    /// The user part (where kernel frames are not permitted).
    User,
    /// Both.
    Both,
}

/// What a sample carries beside event, address, task and time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SampleContent {
    /// Its period. Not set for fixed periods: with it, the kernel samples a software event at every single
    /// occurrence (`perf_swevent_event` in kernel/events/core.c).
    pub period: bool,
    /// Call chain.
    pub callchain: Callchain,
    /// User registers.
    pub registers: bool,
    /// Bytes of user stack, a multiple of 8; at most 65528.
    pub stack_bytes: u32,
    /// The cgroup that the thread is in, in the hierarchy that has the perf_event controller (Linux 5.7).
    pub cgroup: bool,
}

impl SampleContent {
    /// Whether a call chain is part of the record.
    pub fn has_callchain(&self) -> bool {
        self.callchain != Callchain::None
    }
}

/// Whom an event is about.
#[derive(Clone, Copy, Debug)]
pub enum Whom<'a> {
    /// Whatever runs on the CPU.
    Everybody,
    /// A thread, and, if so, the threads and processes that it creates later.
    Thread {
        /// Which.
        tid: Tid,
        /// Whether what it creates is included.
        inherit: bool,
    },
    /// What is in a cgroup, or below it, while it runs: its directory.
    Cgroup(&'a File),
}

/// Which tasks and CPU.
#[derive(Clone, Copy, Debug)]
pub struct EventScope<'a> {
    /// The tasks.
    pub whom: Whom<'a>,
    /// The CPU.
    pub cpu: Cpu,
}

/// When an event begins to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With [`EventFd::enable`].
    Disabled,
    /// At once.
    Enabled,
    /// When the task execs.
    OnExec,
}

/// When a record wakes who waits for the ring that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakes {
    /// With the watermark of the ring's owner.
    AtWatermark,
    /// Every sample at once (`perf_output_sample` in kernel/events/core.c): where samples in the ring are the exception.
    AtOnce,
}

/// The user registers that samples carry (`sample_regs_user`).
pub const USER_REGISTERS: u64 = host::SAMPLED;
pub(super) const N_USER_REGISTERS: usize = host::SAMPLED.count_ones() as usize;

/// Registers from the words of a sample; as many words as [`N_USER_REGISTERS`].
pub(super) fn registers_of(words: &[u64]) -> Registers {
    host::from_words(words)
}

/// An open perf event. Closed when dropped.
#[derive(Debug)]
pub struct EventFd {
    counter: Counter,
}

/// What a read of an event gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadOut {
    /// The count, over the task and all that inherited from it.
    pub count: u64,
    /// Nanoseconds enabled.
    pub enabled_ns: u64,
    /// Nanoseconds counting.
    pub running_ns: u64,
    /// Samples that found no room in the ring; `None` before Linux 6.0.
    pub lost: Option<u64>,
}

impl EventFd {
    /// The identifier that its records carry; tasks that inherited the event carry it too.
    pub fn id(&self) -> u64 {
        self.counter.id()
    }

    /// Starts it, with all that inherited it.
    pub fn enable(&mut self) -> io::Result<()> {
        self.counter.enable()
    }

    /// Stops it, with all that inherited it.
    pub fn disable(&mut self) -> io::Result<()> {
        self.counter.disable()
    }

    /// Sends its records to the ring of `owner`, which must be an event of the same CPU.
    pub fn send_output_to(&self, owner: &EventFd) -> io::Result<()> {
        // SAFETY: two open perf events, which the kernel checks further (`perf_event_set_output`); no memory is passed.
        let result =
            unsafe { ioctls::SET_OUTPUT(self.counter.as_raw_fd(), owner.counter.as_raw_fd()) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Lets a BPF program see its samples first, and those of all that inherits it.
    pub fn set_program(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        // SAFETY: an open perf event and an open BPF program, which the kernel checks further (`perf_event_set_bpf_prog`).
        let result = unsafe {
            ioctls::SET_BPF(
                self.counter.as_raw_fd(),
                program.as_raw_fd().cast_unsigned(),
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Reads count, times and losses.
    pub fn read(&mut self) -> io::Result<ReadOut> {
        let data = self.counter.read_full()?;
        let nanos = |time: Option<std::time::Duration>| {
            time.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
        };
        Ok(ReadOut {
            count: data.count(),
            enabled_ns: nanos(data.time_enabled()),
            running_ns: nanos(data.time_running()),
            lost: data.lost(),
        })
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open as long as the counter, which `self` owns.
        unsafe { BorrowedFd::borrow_raw(self.counter.as_raw_fd()) }
    }
}

fn scoped(event: ResolvedEvent, scope: EventScope<'_>) -> Builder<'_> {
    let mut builder = Builder::new(event);
    match scope.whom {
        Whom::Everybody => builder.any_pid(),
        Whom::Thread { tid, inherit } => builder.observe_pid(tid.0.cast_signed()).inherit(inherit),
        Whom::Cgroup(directory) => builder.observe_cgroup(directory),
    };
    builder
        .one_cpu(scope.cpu.0 as usize)
        .clockid(Clock::MONOTONIC)
        .sample_id_all(true);
    builder
}

/// What every record ends in or begins with, whatever event it is from.
const IN_EVERY_RECORD: SampleFlag = SampleFlag::IDENTIFIER
    .union(SampleFlag::TID)
    .union(SampleFlag::TIME);

/// Opens an event that takes samples.
///
/// Falls back to reads without the lost count before Linux 6.0.
pub fn open_sampling(
    event: ResolvedEvent,
    modes: Modes,
    rate: Rate,
    content: &SampleContent,
    scope: EventScope<'_>,
    start: Start,
    wakes: Wakes,
) -> io::Result<EventFd> {
    let mut builder = scoped(event, scope);
    let mut fields = IN_EVERY_RECORD | SampleFlag::IP;
    fields.set(SampleFlag::PERIOD, content.period);
    fields.set(SampleFlag::CALLCHAIN, content.has_callchain());
    fields.set(SampleFlag::REGS_USER, content.registers);
    fields.set(SampleFlag::STACK_USER, content.stack_bytes > 0);
    fields.set(SampleFlag::CGROUP, content.cgroup);
    builder
        .sample(fields)
        .exclude_user(!modes.user)
        .exclude_kernel(!modes.kernel)
        .exclude_hv(!modes.kernel)
        .exclude_callchain_user(matches!(
            content.callchain,
            Callchain::None | Callchain::Kernel
        ))
        .exclude_callchain_kernel(matches!(
            content.callchain,
            Callchain::None | Callchain::User
        ))
        .enabled(start == Start::Enabled)
        .enable_on_exec(start == Start::OnExec);
    if content.registers {
        builder.sample_regs_user(USER_REGISTERS);
    }
    if content.stack_bytes > 0 {
        builder.sample_stack_user(content.stack_bytes);
    }
    if wakes == Wakes::AtOnce {
        builder.wakeup_events(1);
    }
    match rate {
        Rate::Frequency(hz) => builder.sample_frequency(hz.0),
        Rate::Period(period) => builder.sample_period(period),
    };
    build_with_lost(&mut builder)
}

/// Opens an event that counts the records it loses, or, before Linux 6.0, one that does not.
fn build_with_lost(builder: &mut Builder<'_>) -> io::Result<EventFd> {
    let times = ReadFormat::TOTAL_TIME_ENABLED | ReadFormat::TOTAL_TIME_RUNNING;
    builder.read_format(times | ReadFormat::LOST);
    let counter = match builder.build() {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            builder.read_format(times).build()?
        }
        other => other?,
    };
    Ok(EventFd { counter })
}

const DUMMY: ResolvedEvent = ResolvedEvent {
    type_: 1,
    config: 9,
    config1: 0,
    config2: 0,
    bp_type: 0,
    host_only: false,
};

/// Opens the event that brings mmap, comm, fork and exit records: one that never samples, so that the loss of
/// such a record is never counted as a lost sample.
pub fn open_side_band(scope: EventScope<'_>, start: Start) -> io::Result<EventFd> {
    let mut builder = scoped(DUMMY, scope);
    builder
        .sample(IN_EVERY_RECORD)
        .mmap(true)
        .mmap2(true)
        .comm(true)
        .comm_exec(true)
        .task(true)
        .enabled(start == Start::Enabled)
        .enable_on_exec(start == Start::OnExec);
    build_with_lost(&mut builder)
}

/// Opens the event that owns a CPU's ring: a dummy on perfd's own calling thread that is never enabled. The ring
/// so depends on no target, and every event of the CPU can send its records there.
pub fn open_ring_owner(cpu: Cpu, watermark_bytes: usize) -> io::Result<EventFd> {
    let mut builder = Builder::new(DUMMY);
    builder
        .observe_self()
        .one_cpu(cpu.0 as usize)
        .clockid(Clock::MONOTONIC)
        .sample(IN_EVERY_RECORD)
        .sample_id_all(true)
        .wakeup_watermark(watermark_bytes);
    Ok(EventFd {
        counter: builder.build()?,
    })
}
