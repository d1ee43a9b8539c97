//! What perfd does not do yet: said plainly, so that nobody looks for the fault in his own set-up.

/// One line each.
pub(super) const NOT_YET: &[&str] = &[
    "off-CPU time: a thread that waits is not sampled, and where it waits is not shown",
    "stacks walked in the kernel on aarch64: there they are copied to perfd and walked by it, 64 KiB of each at most",
    "parts of debug information elsewhere: .gnu_debugaltlink and split DWARF are not read",
    "names of code made at run time: neither /tmp/perf-PID.map nor jitdump is read",
    "interpreters: a Python or JavaScript program shows the interpreter's own functions",
    "containers: a target's files are opened through its own root, but neither images nor cgroups are known by name",
    "precise samples (:p, PEBS, IBS), branch records (LBR), and event groups {a,b}",
];
