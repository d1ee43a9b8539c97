//! The checks of limits and settings that are numbers: facts in, one row each out.

use super::checks::{Check, Status, row};
use super::facts::Facts;
use crate::sys::limits::{self, RingMemoryFacts};
use crate::sys::privilege::Capability;

/// Sampling frequency that must be possible for the default settings.
const USUAL_HZ: u64 = 997;

/// Events that perfd samples by default where there is a PMU.
const USUAL_EVENTS: u64 = 3;

pub(super) fn ring_memory(facts: &Facts) -> Option<Check> {
    const NAME: &str = "ring memory";
    let mlock_kb = facts.sysctls.perf_event_mlock_kb?;
    let memlock = facts.locked_memory?;
    let limit = limits::ring_memory(RingMemoryFacts {
        mlock_kb,
        cpus: facts.n_cpus,
        memlock,
        paranoid: facts.sysctls.perf_event_paranoid?,
        has_ipc_lock: facts.privilege.has(Capability::IpcLock),
    });
    let Some(limit) = limit else {
        return Some(row(NAME, Status::Ok, "rings of any size"));
    };
    let of_process = memlock.map_or("any amount".to_owned(), |bytes| {
        format!("{} KiB", bytes / 1024)
    });
    let finding = format!(
        "{} KiB a CPU: kernel.perf_event_mlock_kb is {mlock_kb} (each CPU), RLIMIT_MEMLOCK {of_process} (all together)",
        limit / 1024 / facts.n_cpus
    );
    // A ring of half a MiB holds the samples of 50 ms at the usual rate with 8 KiB of stack each.
    Some(match limit / facts.n_cpus >= 512 * 1024 {
        true => row(NAME, Status::Ok, finding),
        false => row(NAME, Status::Limited, finding)
            .remedy("sudo sysctl kernel.perf_event_mlock_kb=8192")
            .remedy("ulimit -l unlimited"),
    })
}

pub(super) fn open_files(facts: &Facts) -> Option<Check> {
    let (soft, hard) = facts.open_files?;
    let n_threads = hard / (facts.n_cpus * USUAL_EVENTS);
    let finding = format!(
        "{soft}, raised to {hard} for a run: {USUAL_EVENTS} events on {n_threads} threads, as each takes one for each CPU"
    );
    Some(match n_threads >= 100 {
        true => row("open files", Status::Ok, finding),
        false => row("open files", Status::Limited, finding).remedy("ulimit -Hn 1048576 (as root)"),
    })
}

pub(super) fn sample_rate(facts: &Facts) -> Option<Check> {
    let max = facts.sysctls.perf_event_max_sample_rate?;
    let mut finding = format!("at most {max} Hz (kernel.perf_event_max_sample_rate)");
    if let Some(percent) = facts.sysctls.perf_cpu_time_max_percent {
        finding += &match percent {
            0 | 100 => ", never lowered (kernel.perf_cpu_time_max_percent)".to_owned(),
            _ => format!(", lowered if samples take over {percent} % of a CPU"),
        };
    }
    Some(match max >= USUAL_HZ {
        true => row("sample rate", Status::Ok, finding),
        false => row("sample rate", Status::Limited, finding)
            .remedy("sudo sysctl kernel.perf_event_max_sample_rate=100000"),
    })
}

pub(super) fn frame_pointers(facts: &Facts) -> Option<Check> {
    let frames = facts.sysctls.perf_event_max_stack?;
    let finding = format!(
        "the kernel follows {frames} frames (kernel.perf_event_max_stack); stacks walked by perfd may be deeper"
    );
    Some(row("--call-graph fp", Status::Ok, finding))
}

pub(super) fn ptrace_scope(facts: &Facts) -> Option<Check> {
    let scope = facts.sysctls.ptrace_scope?;
    let finding = format!(
        "kernel.yama.ptrace_scope is {scope}: does not matter, perfd never stops a process"
    );
    Some(row("ptrace", Status::Ok, finding))
}
