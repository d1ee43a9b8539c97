//! The kernel settings that decide what a profiler may do and how fast: `/proc/sys/kernel`.

use std::fs;
use std::str::FromStr;

use super::SysRoots;

/// The settings, each `None` where this kernel does not have it or does not show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sysctls {
    /// `perf_event_paranoid`: what a user without CAP_PERFMON may do. −1 all, 0 no raw tracepoint data,
    /// 1 no whole CPU, 2 no kernel mode; 3 and 4 (patches of Debian, Ubuntu, Android) nothing.
    pub perf_event_paranoid: Option<i32>,
    /// `perf_event_mlock_kb`: ring memory that a user has for each CPU beside RLIMIT_MEMLOCK.
    pub perf_event_mlock_kb: Option<u64>,
    /// `perf_event_max_sample_rate`: samples a second on one CPU; the kernel lowers it when samples take too long.
    pub perf_event_max_sample_rate: Option<u64>,
    /// `perf_cpu_time_max_percent`: share of CPU time above which it does so; 0 and 100 switch that off.
    pub perf_cpu_time_max_percent: Option<u64>,
    /// `perf_event_max_stack`: frames of a chain that the kernel walks itself.
    pub perf_event_max_stack: Option<u64>,
    /// `kptr_restrict`: 0 kernel addresses are shown to those whom `perf_event_paranoid` lets, 1 to CAP_SYSLOG, 2 to nobody.
    pub kptr_restrict: Option<u64>,
    /// `nmi_watchdog`: 1 if it holds one of each CPU's counters.
    pub nmi_watchdog: Option<u64>,
    /// `yama/ptrace_scope`: 0 the same user's processes may be looked into, 1 descendants only, 2 with CAP_SYS_PTRACE, 3 none.
    pub ptrace_scope: Option<u64>,
}

impl Sysctls {
    /// Reads them all.
    pub fn read(roots: &SysRoots) -> Sysctls {
        Sysctls {
            perf_event_paranoid: number(roots, "perf_event_paranoid"),
            perf_event_mlock_kb: number(roots, "perf_event_mlock_kb"),
            perf_event_max_sample_rate: number(roots, "perf_event_max_sample_rate"),
            perf_cpu_time_max_percent: number(roots, "perf_cpu_time_max_percent"),
            perf_event_max_stack: number(roots, "perf_event_max_stack"),
            kptr_restrict: number(roots, "kptr_restrict"),
            nmi_watchdog: number(roots, "nmi_watchdog"),
            ptrace_scope: number(roots, "yama/ptrace_scope"),
        }
    }
}

fn number<T: FromStr>(roots: &SysRoots, name: &str) -> Option<T> {
    let path = roots.proc.join("sys/kernel").join(name);
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Whether perfd runs in the host's own user namespace: elsewhere its capabilities do not count for perf events.
pub fn is_initial_user_namespace(roots: &SysRoots) -> bool {
    // The initial namespace maps every id to itself: `0 0 4294967295`. A kernel without namespaces has no such file.
    let map = fs::read_to_string(roots.proc.join("self/uid_map"));
    map.map_or(true, |map| {
        map.split_whitespace().eq(["0", "0", "4294967295"])
    })
}

/// Kernel release, as `uname -r` prints it.
pub fn kernel_release(roots: &SysRoots) -> Option<String> {
    let text = fs::read_to_string(roots.proc.join("sys/kernel/osrelease")).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_where_they_are_and_absent_where_they_are_not() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let kernel = dir.path().join("sys/kernel");
        fs::create_dir_all(&kernel).expect("a folder");
        fs::write(kernel.join("perf_event_paranoid"), "-1\n").expect("a file");
        fs::write(kernel.join("perf_event_mlock_kb"), "516\n").expect("a file");
        fs::write(kernel.join("kptr_restrict"), "what\n").expect("a file");
        let roots = SysRoots {
            proc: dir.path().to_owned(),
            ..SysRoots::default()
        };
        let read = Sysctls::read(&roots);
        let expected = Sysctls {
            perf_event_paranoid: Some(-1),
            perf_event_mlock_kb: Some(516),
            ..Sysctls::default()
        };
        assert_eq!(read, expected);
    }
}
