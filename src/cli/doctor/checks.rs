//! The checks: facts in, one row each out. Pure, so that tests can show every host.

use nix::errno::Errno;
use serde::Serialize;

use super::facts::Facts;
use super::limit_checks::{frame_pointers, open_files, ptrace_scope, ring_memory, sample_rate};
use super::pmu;
use crate::cli::hints::{MOUNT_TRACEFS, SETCAP};
use crate::procfs::event_source::ResolveEventError;
use crate::sys::privilege::Capability;

/// How well something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Limited,
    No,
}

/// One row.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) status: Status,
    /// What is the case, with the present value behind it.
    pub(super) finding: String,
    /// Commands that change it, any one of them.
    pub(super) remedies: Vec<String>,
}

/// All checks, in the order in which they are shown.
pub(super) fn all(facts: &Facts) -> Vec<Check> {
    let before_pmus = [
        kernel(facts),
        user(facts),
        own_processes(facts),
        stack_copies(facts),
        kernel_walk(facts),
        kernel_part(facts),
        other_users(facts),
        whole_host(facts),
        hardware(facts),
    ];
    let behind_pmus = [
        pmu::held(facts),
        tracepoints(facts),
        breakpoints(facts),
        kernel_symbols(facts),
        program_files(facts),
        loss_counts(facts),
        ring_memory(facts),
        open_files(facts),
        sample_rate(facts),
        frame_pointers(facts),
        ptrace_scope(facts),
    ];
    let before_pmus = before_pmus.into_iter().flatten();
    let behind_pmus = behind_pmus.into_iter().flatten();
    before_pmus
        .chain(pmu::pmus(facts))
        .chain(behind_pmus)
        .collect()
}

pub(super) fn row(name: &'static str, status: Status, finding: impl Into<String>) -> Check {
    Check {
        name,
        status,
        finding: finding.into(),
        remedies: Vec::new(),
    }
}

impl Check {
    pub(super) fn remedy(mut self, command: impl Into<String>) -> Check {
        self.remedies.push(command.into());
        self
    }
}

fn kernel(facts: &Facts) -> Option<Check> {
    let finding = format!("Linux {}, {} CPUs online", facts.kernel, facts.n_cpus);
    Some(row("kernel", Status::Ok, finding))
}

fn user(facts: &Facts) -> Option<Check> {
    let held: Vec<_> = Capability::ALL
        .into_iter()
        .filter(|capability| facts.privilege.has(*capability))
        .map(|capability| capability.to_string())
        .collect();
    let held = match held.as_slice() {
        [] => "no capability that profiling knows".to_owned(),
        held => held.join(" "),
    };
    let who = format!("uid {}, {held}", facts.privilege.euid);
    Some(match facts.is_initial_user_namespace {
        true => row("user", Status::Ok, who),
        false => row(
            "user",
            Status::Limited,
            format!("{who}; in a user namespace, where capabilities do not count for perf events"),
        ),
    })
}

fn own_processes(facts: &Facts) -> Option<Check> {
    const NAME: &str = "own processes";
    Some(match facts.own_user {
        Ok(()) => row(NAME, Status::Ok, "user mode can be sampled"),
        Err(errno) => refused(row(NAME, Status::No, "not sampled"), facts, errno, 2),
    })
}

fn stack_copies(facts: &Facts) -> Option<Check> {
    const NAME: &str = "stacks";
    Some(match (facts.own_stacks, facts.own_user) {
        (Ok(()), _) => row(
            NAME,
            Status::Ok,
            "user registers and up to 64 KiB of stack come with each sample",
        ),
        // Said in the row above.
        (Err(_), Err(_)) => return None,
        (Err(errno), Ok(())) => row(
            NAME,
            Status::No,
            format!(
                "no registers or stack copies with samples: {}",
                errno.desc()
            ),
        )
        .remedy("perfd record --call-graph fp …"),
    })
}

/// The rungs: BPF on whole CPUs or threads, copies in the ring, frame pointers.
fn kernel_walk(facts: &Facts) -> Option<Check> {
    const NAME: &str = "walk in the kernel";
    Some(match &facts.kernel_walk {
        Ok(()) => row(
            NAME,
            Status::Ok,
            "stacks are walked where they are sampled, whole and without copies; copies for what is not known yet",
        ),
        // Said above.
        Err(_) if facts.own_stacks.is_err() => return None,
        Err(reason) => {
            let finding =
                format!("stacks are copied and walked by perfd, 64 KiB at most: {reason}");
            let check = row(NAME, Status::Limited, finding);
            match facts.privilege.has(Capability::Bpf) {
                // Another kernel, or outside of a container.
                true => check,
                false => check.remedy(SETCAP),
            }
        }
    })
}

fn kernel_part(facts: &Facts) -> Option<Check> {
    const NAME: &str = "kernel part of stacks";
    Some(match facts.own_kernel {
        Ok(()) => row(NAME, Status::Ok, "kernel mode is sampled too"),
        Err(errno) => refused(row(NAME, Status::Limited, "left out"), facts, errno, 1),
    })
}

fn other_users(facts: &Facts) -> Option<Check> {
    const NAME: &str = "other users' processes";
    Some(match (facts.process_1, facts.process_1_maps) {
        (Ok(()), Ok(())) => row(
            NAME,
            Status::Ok,
            "can be sampled, and their mappings read (tried on process 1)",
        ),
        // Who has the capability is kept from this process alone.
        (Ok(()), Err(_)) if facts.privilege.has(Capability::SysPtrace) => {
            row(NAME, Status::Ok, "can be sampled (tried on process 1)")
        }
        (Ok(()), Err(errno)) => row(
            NAME,
            Status::Limited,
            format!(
                "sampled, but their mappings cannot be read (tried on process 1: {}), so that what runs from before has no names; needs CAP_SYS_PTRACE",
                errno.desc()
            ),
        )
        .remedy(SETCAP),
        (Err(errno), _) => row(
            NAME,
            Status::Limited,
            format!(
                "not sampled (tried on process 1: {}); needs CAP_PERFMON",
                errno.desc()
            ),
        )
        .remedy(SETCAP),
    })
}

fn whole_host(facts: &Facts) -> Option<Check> {
    const NAME: &str = "whole host (-a)";
    Some(match facts.whole_cpu {
        Ok(()) => row(NAME, Status::Ok, "can be sampled"),
        Err(errno) => refused(row(NAME, Status::Limited, "not sampled"), facts, errno, 0),
    })
}

/// The row with the reason for a refusal, where `kernel.perf_event_paranoid` of `needed` or less would have let it pass.
fn refused(mut check: Check, facts: &Facts, errno: Errno, needed: i32) -> Check {
    let level = facts.sysctls.perf_event_paranoid;
    let reason = match (errno, level) {
        (Errno::ENOSYS, _) => {
            "this kernel has no perf_event_open, or a seccomp filter hides it".to_owned()
        }
        (_, Some(level)) if level > needed && !facts.privilege.may_perfmon() => {
            check
                .remedies
                .push(format!("sudo sysctl kernel.perf_event_paranoid={needed}"));
            check.remedies.push(SETCAP.to_owned());
            format!("kernel.perf_event_paranoid is {level} and CAP_PERFMON is missing")
        }
        (Errno::EACCES | Errno::EPERM, _) => {
            check
                .remedies
                .push("in a container: run it with --cap-add PERFMON".to_owned());
            format!(
                "{}, though the settings allow it: a seccomp filter or security module refuses perf_event_open",
                errno.desc()
            )
        }
        _ => errno.desc().to_owned(),
    };
    check.finding = format!("{}: {reason}", check.finding);
    check
}

fn hardware(facts: &Facts) -> Option<Check> {
    const NAME: &str = "hardware counters";
    const INSTEAD: &str = "cpu-clock is sampled in the place of cycles";
    let pmus: Vec<_> = facts.pmus.iter().map(|pmu| pmu.name.as_str()).collect();
    let pmus = pmus.join(", ");
    Some(match (facts.cycles_counted, facts.cycles_sampled) {
        (Ok(()), Ok(())) => row(NAME, Status::Ok, "cycles is counted and sampled"),
        (Ok(()), Err(errno)) => row(
            NAME,
            Status::Limited,
            format!(
                "cycles is counted but not sampled ({}): {INSTEAD}",
                errno.desc()
            ),
        ),
        // Said under "own processes".
        (Err(_), _) if facts.own_user.is_err() => return None,
        (Err(_), _) if facts.pmus.is_empty() => row(
            NAME,
            Status::No,
            format!("this machine shows no PMU, as virtual machines often do not: {INSTEAD}"),
        ),
        (Err(errno), _) => row(
            NAME,
            Status::No,
            format!(
                "there is a PMU ({pmus}) but cycles cannot be opened ({}): {INSTEAD}",
                errno.desc()
            ),
        ),
    })
}

fn tracepoints(facts: &Facts) -> Option<Check> {
    const NAME: &str = "tracepoints";
    Some(match &facts.tracepoint {
        Ok(Ok(())) => row(NAME, Status::Ok, "sched:sched_switch can be sampled"),
        Ok(Err(errno)) => refused(row(NAME, Status::Limited, "not sampled"), facts, *errno, -1),
        Err(error @ ResolveEventError::TracefsNotMounted { .. }) => {
            row(NAME, Status::No, error.to_string()).remedy(MOUNT_TRACEFS)
        }
        Err(error @ ResolveEventError::TracefsDenied { .. }) => {
            row(NAME, Status::No, error.to_string()).remedy(SETCAP)
        }
        Err(error) => row(NAME, Status::No, error.to_string()),
    })
}

fn breakpoints(facts: &Facts) -> Option<Check> {
    const NAME: &str = "breakpoints (mem:)";
    Some(match facts.breakpoint {
        Ok(()) => row(NAME, Status::Ok, "can be sampled"),
        Err(errno) => row(
            NAME,
            Status::No,
            format!("cannot be opened: {}", errno.desc()),
        ),
    })
}

fn kernel_symbols(facts: &Facts) -> Option<Check> {
    const NAME: &str = "kernel symbols";
    let kptr = match facts.sysctls.kptr_restrict {
        Some(value) => format!("kernel.kptr_restrict is {value}"),
        None => "kernel.kptr_restrict cannot be read".to_owned(),
    };
    Some(match facts.kernel_addresses {
        Ok(true) => row(NAME, Status::Ok, "/proc/kallsyms shows addresses"),
        Ok(false) => row(
            NAME,
            Status::Limited,
            format!("/proc/kallsyms hides addresses ({kptr}): kernel frames have no names"),
        )
        .remedy("sudo sysctl kernel.kptr_restrict=0 kernel.perf_event_paranoid=1")
        .remedy(SETCAP),
        Err(errno) => row(
            NAME,
            Status::Limited,
            format!(
                "/proc/kallsyms cannot be read ({}): kernel frames have no names",
                errno.desc()
            ),
        ),
    })
}

fn program_files(facts: &Facts) -> Option<Check> {
    const NAME: &str = "files of programs";
    Some(match facts.map_files {
        Ok(()) => row(
            NAME,
            Status::Ok,
            "opened as they are mapped, also when deleted or replaced since",
        ),
        Err(_) => row(
            NAME,
            Status::Limited,
            "opened by path: one that was deleted or replaced since has no names (/proc/PID/map_files needs \
             CAP_CHECKPOINT_RESTORE)",
        )
        .remedy(SETCAP),
    })
}

fn loss_counts(facts: &Facts) -> Option<Check> {
    const NAME: &str = "loss counts";
    Some(match (facts.own_lost, facts.own_user) {
        (Ok(()), _) => row(
            NAME,
            Status::Ok,
            "the kernel says how many samples a full ring lost",
        ),
        (Err(_), Err(_)) => return None,
        (Err(_), Ok(())) => row(
            NAME,
            Status::Limited,
            "this kernel does not count what a full ring lost at the end of a run (Linux 6.0 does)",
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(facts: &Facts, name: &str) -> Check {
        let found = all(facts).into_iter().find(|check| check.name == name);
        found.expect(name)
    }

    #[test]
    fn a_usual_user_is_told_what_is_missing_and_what_to_do() {
        let facts = Facts::of_a_usual_user();
        assert_eq!(find(&facts, "own processes").status, Status::Ok);
        let kernel = find(&facts, "kernel part of stacks");
        assert_eq!(kernel.status, Status::Limited);
        assert!(kernel.finding.contains("kernel.perf_event_paranoid is 2"));
        assert_eq!(
            kernel.remedies[0],
            "sudo sysctl kernel.perf_event_paranoid=1"
        );
        assert!(find(&facts, "hardware counters").finding.contains("no PMU"));
        assert_eq!(find(&facts, "ring memory").status, Status::Ok);
        assert!(all(&facts).iter().all(|check| check.name != "PMU"));
    }

    #[test]
    fn the_walk_in_the_kernel_says_why_it_is_not_there() {
        let mut facts = Facts::of_a_usual_user();
        let check = find(&facts, "walk in the kernel");
        assert_eq!(check.status, Status::Limited);
        assert!(check.finding.contains("CAP_BPF"), "{}", check.finding);
        facts.kernel_walk = Ok(());
        let check = find(&facts, "walk in the kernel");
        assert_eq!(check.status, Status::Ok);
    }

    #[test]
    fn everything_that_is_not_ok_says_why_and_what_is_refused_has_a_remedy() {
        for check in all(&Facts::of_a_usual_user()) {
            assert!(!check.finding.is_empty());
            if check.status == Status::Limited {
                assert!(!check.remedies.is_empty(), "{}", check.name);
            }
        }
    }

    #[test]
    fn whose_mappings_cannot_be_read_is_sampled_without_names() {
        let mut facts = Facts::of_a_usual_user();
        facts.process_1 = Ok(());
        let check = find(&facts, "other users' processes");
        assert_eq!(check.status, Status::Limited);
        assert!(
            check.finding.contains("CAP_SYS_PTRACE"),
            "{}",
            check.finding
        );
        facts.process_1_maps = Ok(());
        let check = find(&facts, "other users' processes");
        assert_eq!(check.status, Status::Ok);
    }

    #[test]
    fn a_refusal_that_the_settings_do_not_explain_is_not_blamed_on_them() {
        let mut facts = Facts::of_a_usual_user();
        facts.own_user = Err(Errno::EPERM);
        facts.sysctls.perf_event_paranoid = Some(1);
        let check = find(&facts, "own processes");
        assert!(check.finding.contains("seccomp"), "{}", check.finding);
        facts.sysctls.perf_event_paranoid = Some(3);
        let check = find(&facts, "own processes");
        assert!(check.finding.contains("paranoid is 3"), "{}", check.finding);
        facts.own_user = Err(Errno::ENOSYS);
        assert!(
            find(&facts, "own processes")
                .finding
                .contains("no perf_event_open")
        );
    }
}
