//! What the host says when asked: settings read, events opened and closed. No judgement.

use std::fs::{self, File};
use std::io::{self, Read};

use nix::errno::Errno;

use super::pmu::{self, Pmu};
use crate::model::{
    Access, Cpu, EventSource, HardwareEvent, Modes, Pid, ResolvedEvent, SoftwareEvent,
};
use crate::procfs::cpu_pmu::CpuPmu;
use crate::procfs::event_source::{self, ResolveEventError};
use crate::procfs::sysctl::{self, Sysctls};
use crate::procfs::{SysRoots, cpus};
use crate::session::kernel_walk;
use crate::sys::limits;
use crate::sys::privilege::Privilege;
use crate::sys::probe::{self, Scope, Use};

/// What came of a trial.
pub(super) type Tried = Result<(), Errno>;

/// Everything that the checks judge.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) kernel: String,
    pub(super) privilege: Privilege,
    pub(super) is_initial_user_namespace: bool,
    pub(super) sysctls: Sysctls,
    pub(super) n_cpus: u64,
    /// cpu-clock sampled on perfd itself, in user mode.
    pub(super) own_user: Tried,
    /// The same with user registers and a stack copy.
    pub(super) own_stacks: Tried,
    /// The same in user and kernel mode.
    pub(super) own_kernel: Tried,
    /// The same, counting what a full ring loses.
    pub(super) own_lost: Tried,
    /// cpu-clock on process 1, user mode.
    pub(super) process_1: Tried,
    /// Opening the mappings of process 1.
    pub(super) process_1_maps: Tried,
    /// cpu-clock on all of the first CPU.
    pub(super) whole_cpu: Tried,
    /// `cycles` counted on perfd itself.
    pub(super) cycles_counted: Tried,
    /// `cycles` sampled on perfd itself.
    pub(super) cycles_sampled: Tried,
    /// The PMUs of the CPUs.
    pub(super) pmus: Vec<Pmu>,
    pub(super) tracepoint: Result<Tried, ResolveEventError>,
    pub(super) breakpoint: Tried,
    /// Loading the programs that walk stacks in the kernel; the error says why not.
    pub(super) kernel_walk: Result<(), String>,
    /// Whether `/proc/kallsyms` shows addresses; the error if it cannot be read.
    pub(super) kernel_addresses: Result<bool, Errno>,
    /// Opening a file through `/proc/self/map_files`.
    pub(super) map_files: Tried,
    /// RLIMIT_NOFILE, soft and hard.
    pub(super) open_files: Option<(u64, u64)>,
    /// RLIMIT_MEMLOCK, soft: `Some(None)` is no limit.
    pub(super) locked_memory: Option<Option<u64>>,
}

impl Facts {
    /// Asks the host.
    pub(super) fn gather(roots: &SysRoots) -> Facts {
        let clock = EventSource::Software(SoftwareEvent::CpuClock);
        let cycles = EventSource::Hardware(HardwareEvent::Cycles);
        let try_clock = |modes, scope, purpose| try_event(roots, &clock, modes, scope, purpose);
        let try_cycles = |purpose| try_event(roots, &cycles, Modes::USER, Scope::Own, purpose);
        let cpus = cpus::online(roots).unwrap_or_default();
        let first_cpu = cpus.first().copied().unwrap_or(Cpu(0));
        Facts {
            kernel: sysctl::kernel_release(roots).unwrap_or_else(|| "unknown".to_owned()),
            privilege: Privilege::current().unwrap_or(Privilege {
                euid: u32::MAX,
                effective: 0,
            }),
            is_initial_user_namespace: sysctl::is_initial_user_namespace(roots),
            sysctls: Sysctls::read(roots),
            n_cpus: cpus.len().max(1) as u64,
            own_user: try_clock(Modes::USER, Scope::Own, Use::Sample),
            own_stacks: try_clock(Modes::USER, Scope::Own, Use::SampleStacks),
            own_kernel: try_clock(Modes::ALL, Scope::Own, Use::Sample),
            own_lost: try_clock(Modes::USER, Scope::Own, Use::CountLost),
            process_1: try_clock(Modes::USER, Scope::Process(Pid(1)), Use::Sample),
            process_1_maps: File::open(roots.proc.join("1/maps"))
                .map(drop)
                .map_err(|error| errno(&error)),
            whole_cpu: try_clock(Modes::ALL, Scope::WholeCpu(first_cpu), Use::Sample),
            cycles_counted: try_cycles(Use::Count),
            cycles_sampled: try_cycles(Use::Sample),
            pmus: pmu::measure(CpuPmu::all(roots)),
            tracepoint: try_tracepoint(roots),
            breakpoint: try_breakpoint(roots),
            kernel_walk: kernel_walk::works(roots),
            kernel_addresses: kernel_addresses(roots),
            map_files: try_map_files(roots),
            open_files: limits::open_files().ok(),
            locked_memory: limits::locked_memory().ok(),
        }
    }
}

fn try_event(
    roots: &SysRoots,
    source: &EventSource,
    modes: Modes,
    scope: Scope,
    purpose: Use,
) -> Tried {
    let event = event_source::resolve(roots, source).map_err(|_| Errno::ENOENT)?;
    try_open(&event, modes, scope, purpose)
}

fn try_open(event: &ResolvedEvent, modes: Modes, scope: Scope, purpose: Use) -> Tried {
    probe::open(event, modes, scope, purpose).map_err(|error| errno(&error))
}

fn try_tracepoint(roots: &SysRoots) -> Result<Tried, ResolveEventError> {
    let switch = EventSource::Tracepoint {
        subsystem: "sched".to_owned(),
        name: "sched_switch".to_owned(),
    };
    let event = event_source::resolve(roots, &switch)?;
    Ok(try_open(&event, Modes::ALL, Scope::Own, Use::Sample))
}

fn try_breakpoint(roots: &SysRoots) -> Tried {
    static WATCHED: u64 = 0;
    let on_own_byte = EventSource::Breakpoint {
        address: (&raw const WATCHED).addr() as u64,
        access: Access::Write,
        length: 8,
    };
    try_event(roots, &on_own_byte, Modes::USER, Scope::Own, Use::Sample)
}

/// Hidden addresses are all shown as 0; true ones are not, but for the first few (offsets in the per-CPU area).
fn kernel_addresses(roots: &SysRoots) -> Result<bool, Errno> {
    const ENOUGH: u64 = 1 << 16;
    let mut text = Vec::new();
    File::open(roots.proc.join("kallsyms"))
        .and_then(|file| file.take(ENOUGH).read_to_end(&mut text))
        .map_err(|error| errno(&error))?;
    let shown = text
        .split(|byte| *byte == b'\n')
        .filter_map(|line| line.split(|byte| *byte == b' ').next())
        .any(|address| address.iter().any(|digit| *digit != b'0'));
    Ok(shown)
}

fn try_map_files(roots: &SysRoots) -> Tried {
    let folder = roots.proc.join("self/map_files");
    let mut entries = fs::read_dir(folder).map_err(|error| errno(&error))?;
    let entry = entries.next().ok_or(Errno::ENOENT)?;
    entry
        .and_then(|entry| File::open(entry.path()))
        .map(drop)
        .map_err(|error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    // The one error of the probe that has no number stands for a kernel that does not know a field.
    error.raw_os_error().map_or(Errno::E2BIG, Errno::from_raw)
}

#[cfg(test)]
impl Facts {
    /// A user on a usual distribution's virtual machine.
    pub(super) fn of_a_usual_user() -> Facts {
        const REFUSED: Tried = Err(Errno::EACCES);
        Facts {
            kernel: "6.12.0".to_owned(),
            privilege: Privilege {
                euid: 1000,
                effective: 0,
            },
            is_initial_user_namespace: true,
            sysctls: Sysctls {
                perf_event_paranoid: Some(2),
                perf_event_mlock_kb: Some(516),
                perf_event_max_sample_rate: Some(100_000),
                perf_cpu_time_max_percent: Some(25),
                kptr_restrict: Some(1),
                nmi_watchdog: Some(1),
                ..Sysctls::default()
            },
            n_cpus: 4,
            own_user: Ok(()),
            own_stacks: Ok(()),
            own_kernel: REFUSED,
            own_lost: Ok(()),
            process_1: REFUSED,
            process_1_maps: REFUSED,
            whole_cpu: REFUSED,
            cycles_counted: Err(Errno::ENOENT),
            cycles_sampled: Err(Errno::ENOENT),
            pmus: Vec::new(),
            tracepoint: Err(ResolveEventError::TracefsDenied {
                tracepoint: "sched:sched_switch".to_owned(),
                path: "/sys/kernel/tracing".into(),
            }),
            breakpoint: Ok(()),
            kernel_walk: Err("BPF needs CAP_BPF and CAP_PERFMON".to_owned()),
            kernel_addresses: Ok(false),
            map_files: Err(Errno::EPERM),
            open_files: Some((1024, 1_048_576)),
            locked_memory: Some(Some(8 << 20)),
        }
    }
}
