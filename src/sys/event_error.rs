//! Why the kernel did not open a perf event, in words a user can act on.
//!
//! The errno of `perf_event_open(2)` means different things for different events and places; this is the one
//! table of meanings. It asks the machine nothing: present values are given to it.

use std::fmt;
use std::io;

use super::limits;
use crate::model::{
    CgroupId, Cpu, EventSource, EventSpec, Fault, FaultClass, Pid, SoftwareEvent, Tid,
};

/// On what the event was to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// perfd itself: a probe of what this machine can do.
    Probe,
    /// One thread of a process.
    Thread(Pid, Tid),
    /// All of one CPU.
    Cpu(Cpu),
    /// A cgroup, on one CPU.
    Cgroup(CgroupId, Cpu),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Probe => f.write_str("on this machine"),
            Place::Thread(pid, tid) if pid.main_thread() == *tid => write!(f, "for pid {pid}"),
            Place::Thread(pid, tid) => write!(f, "for thread {tid} of pid {pid}"),
            Place::Cpu(cpu) => write!(f, "on cpu {cpu}"),
            Place::Cgroup(cgroup, cpu) => write!(f, "for cgroup {cgroup} on cpu {cpu}"),
        }
    }
}

/// An event that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("open {event} {place}: {}", self.cause())]
pub struct OpenEventError {
    /// The event.
    pub event: EventSpec,
    /// Where.
    pub place: Place,
    /// What the kernel said; 0 if it said nothing that has a number.
    pub errno: i32,
    /// The PMUs of the machine's CPUs, where [`OpenEventError::on`] has told them.
    pmus: Vec<String>,
}

impl OpenEventError {
    /// From the error of `perf_event_open`.
    pub fn new(event: &EventSpec, place: Place, error: &io::Error) -> OpenEventError {
        let unsupported = error.kind() == io::ErrorKind::Unsupported;
        OpenEventError {
            event: event.clone(),
            place,
            // perf-event2 replaces E2BIG by an error of its own.
            errno: error
                .raw_os_error()
                .unwrap_or(if unsupported { libc::E2BIG } else { 0 }),
            pmus: Vec::new(),
        }
    }

    /// The same on a machine with these PMUs: an event that they do not have is another thing than having none.
    #[must_use]
    pub fn on(self, pmus: Vec<String>) -> OpenEventError {
        OpenEventError { pmus, ..self }
    }

    /// Whether there are no more open files, for perfd or the whole host.
    pub fn is_out_of_files(&self) -> bool {
        matches!(self.errno, libc::EMFILE | libc::ENFILE)
    }

    /// What kind of trouble it is.
    pub fn class(&self) -> FaultClass {
        match self.errno {
            libc::EACCES | libc::EPERM => FaultClass::Permission,
            libc::ESRCH => FaultClass::NoSuchTarget,
            libc::EMFILE | libc::ENFILE | libc::ENOMEM => FaultClass::System,
            _ => FaultClass::Unavailable,
        }
    }

    /// The error with its class and remedies, to be shown to the user. `paranoid` is `kernel.perf_event_paranoid`, if it
    /// could be read.
    pub fn fault(&self, paranoid: Option<i32>) -> Fault {
        let fault = Fault::new(self.class(), self.to_string());
        self.remedy(paranoid).into_iter().fold(fault, Fault::hint)
    }

    /// The cause alone: `permission denied`.
    pub fn cause(&self) -> String {
        let hardware = self.counts_in_hardware();
        match self.errno {
            _ if self.is_no_cgroup() => {
                "the kernel counts no events in this tree of cgroups, or it is gone".to_owned()
            }
            libc::EACCES | libc::EPERM => "permission denied".to_owned(),
            libc::ESRCH => "no such process".to_owned(),
            libc::ENOENT | libc::EOPNOTSUPP | libc::ENODEV | libc::ENXIO if hardware => {
                match (&self.event.source, self.pmus.as_slice()) {
                    (EventSource::Pmu { pmu, .. }, _) => {
                        format!("the PMU ({pmu}) does not have it")
                    }
                    (_, []) => {
                        "this machine has no PMU that counts it (virtual machines often have none)"
                            .to_owned()
                    }
                    (_, pmus) => format!("the PMU ({}) does not have it", pmus.join(", ")),
                }
            }
            libc::EINVAL if hardware => "the PMU refuses this event".to_owned(),
            libc::ENOSPC if matches!(self.event.source, EventSource::Breakpoint { .. }) => {
                "all breakpoint registers are taken".to_owned()
            }
            libc::EMFILE | libc::ENFILE => "too many open files".to_owned(),
            libc::ENOSYS => "this kernel is built without perf events".to_owned(),
            libc::E2BIG => "this kernel is too old for an option of the event".to_owned(),
            libc::EBUSY => "another user of the PMU has it to itself".to_owned(),
            0 => "the kernel refused without a reason".to_owned(),
            errno => nix::Error::from_raw(errno).desc().to_lowercase(),
        }
    }

    /// What is so now and what would help; empty if nothing is known to help.
    fn remedy(&self, paranoid: Option<i32>) -> Vec<String> {
        match self.class() {
            _ if self.is_no_cgroup() => vec![
                "the kernel must have CONFIG_CGROUP_PERF, and perf_event not be mounted as a hierarchy of cgroups version 1 (try: umount /sys/fs/cgroup/perf_event, or boot with cgroup_no_v1=perf_event)"
                    .to_owned(),
            ],
            FaultClass::Permission => self.permission_remedy(paranoid),
            FaultClass::NoSuchTarget => Vec::new(),
            FaultClass::System if self.errno == libc::EMFILE => limits::more_open_files(),
            FaultClass::System => Vec::new(),
            FaultClass::Unavailable if self.counts_in_hardware() && self.pmus.is_empty() => {
                vec![
                    "try: -e task-clock, or: perfd list   for what this machine can count"
                        .to_owned(),
                ]
            }
            _ if self.errno == libc::ENOSPC => {
                vec!["a thread has a few of them (4 on x86-64), shared with debuggers".to_owned()]
            }
            _ => vec!["try: perfd list   for what this machine can count".to_owned()],
        }
    }

    fn permission_remedy(&self, paranoid: Option<i32>) -> Vec<String> {
        let (asked, needed) = match self.place {
            Place::Cpu(_) => ("counting on whole CPUs", 0),
            Place::Cgroup(..) => ("counting cgroups", 0),
            _ if self.event.modes.kernel => ("counting the kernel's part of a process", 1),
            _ => ("counting your own processes", 2),
        };
        match paranoid {
            Some(level) if level > needed => vec![
                format!(
                    "kernel.perf_event_paranoid is {level}; {asked} needs {needed} or less, or CAP_PERFMON"
                ),
                format!("try: sudo sysctl kernel.perf_event_paranoid={needed}   or: perfd doctor"),
            ],
            _ => vec![
                "it belongs to another user, may not be traced, or a security policy forbids perf events"
                    .to_owned(),
                "try: sudo, CAP_PERFMON and CAP_SYS_PTRACE, or: perfd doctor".to_owned(),
            ],
        }
    }

    /// The directory is not that of a cgroup in the tree that the perf_event controller has (`perf_cgroup_connect`); one that is gone is none either.
    fn is_no_cgroup(&self) -> bool {
        let is_cgroup = matches!(self.place, Place::Cgroup(..));
        is_cgroup && matches!(self.errno, libc::EBADF | libc::ENOENT | libc::ENODEV)
    }

    fn counts_in_hardware(&self) -> bool {
        matches!(
            self.event.source,
            EventSource::Hardware(_)
                | EventSource::Cache(..)
                | EventSource::Raw(_)
                | EventSource::Pmu { .. }
        )
    }
}

/// Whether the event happens in kernel mode only, so that without permission to count there it would count nothing and
/// look like 0.
pub fn happens_in_kernel_only(source: &EventSource) -> bool {
    matches!(
        source,
        EventSource::Software(
            SoftwareEvent::ContextSwitches
                | SoftwareEvent::CpuMigrations
                | SoftwareEvent::CgroupSwitches
        ) | EventSource::Tracepoint { .. }
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HardwareEvent;

    fn error(event: &str, place: Place, errno: i32) -> OpenEventError {
        let event = event.parse().expect("a known event");
        OpenEventError::new(&event, place, &io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn a_message_names_event_place_and_cause() {
        let pid = Pid(42);
        let cases = [
            (
                error("cycles", Place::Thread(pid, Tid(42)), libc::EACCES),
                "open cycles for pid 42: permission denied",
            ),
            (
                error("page-faults", Place::Thread(pid, Tid(43)), libc::ESRCH),
                "open page-faults for thread 43 of pid 42: no such process",
            ),
            (
                error("cycles", Place::Probe, libc::ENOENT),
                "open cycles on this machine: this machine has no PMU that counts it (virtual machines often have none)",
            ),
            (
                error("cache-misses", Place::Probe, libc::ENOENT).on(vec!["armv8_pmuv3".into()]),
                "open cache-misses on this machine: the PMU (armv8_pmuv3) does not have it",
            ),
            (
                error("cpu-clock", Place::Cpu(Cpu(3)), libc::EMFILE),
                "open cpu-clock on cpu 3: too many open files",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn the_remedy_for_a_paranoid_kernel_names_its_value_and_the_one_needed() {
        let error = error("cycles", Place::Cpu(Cpu(0)), libc::EACCES);
        let remedy = error.remedy(Some(2)).join("\n");
        assert!(remedy.contains("perf_event_paranoid is 2"), "{remedy}");
        assert!(remedy.contains("paranoid=0"), "{remedy}");
    }

    #[test]
    fn a_forgiving_kernel_is_not_blamed() {
        let error = error("cycles", Place::Thread(Pid(1), Tid(1)), libc::EACCES);
        let remedy = error.remedy(Some(-1)).join("\n");
        assert!(!remedy.contains("paranoid is"), "{remedy}");
    }

    #[test]
    fn events_of_the_scheduler_happen_in_the_kernel_only() {
        let switches = EventSource::Software(SoftwareEvent::ContextSwitches);
        assert!(happens_in_kernel_only(&switches));
        let cycles = EventSource::Hardware(HardwareEvent::Cycles);
        assert!(!happens_in_kernel_only(&cycles));
    }
}
