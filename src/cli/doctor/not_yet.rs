//! What perfd does not do yet: said plainly, so that nobody looks for the fault in his own set-up.

/// One line each.
pub(super) const NOT_YET: &[&str] = &[
    "off-CPU time: a thread that waits is not sampled, and where it waits is not shown",
    "stacks walked in the kernel on aarch64: there they are copied to perfd and walked by it, 64 KiB of each at most",
    "lines of code made at run time: of a jitdump the names are read, but not the lines of source",
    "interpreters: but for CPython 3.11 to 3.14 (--python, with BPF), what is interpreted shows the interpreter's own functions",
    "containers: perfd daemon finds their cgroups by the beginning of their id, but knows no names of containers or images",
    "precise samples (:p, PEBS, IBS), branch records (LBR), and event groups {a,b}",
];
