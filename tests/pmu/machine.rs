//! What this machine counts, and how exactly.

use crate::runs::Count;
use crate::support::{NO_PMU, perfd, skip};

/// Whether the machine counts and samples `cycles` and `instructions`; said if not.
pub fn has_pmu() -> bool {
    let events = "cycles:u,instructions:u";
    let output = perfd()
        .args(["stat", "--json", "-e", events, "--", "true"])
        .output()
        .expect("perfd runs");
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => return true,
        Some(69) => skip(NO_PMU),
        Some(77) => skip("counting is not permitted to this user"),
        code => panic!("exit code {code:?}: {said}"),
    }
    false
}

/// Whether kernel mode may be counted, too; said if not.
pub fn counts_the_kernel() -> bool {
    if !has_pmu() {
        return false;
    }
    let output = perfd()
        .args(["stat", "--json", "-e", "instructions:k", "--", "true"])
        .output()
        .expect("perfd runs");
    if output.status.code() == Some(77) {
        skip("counting the kernel is not permitted to this user");
        return false;
    }
    true
}

/// Whether the event opens.
pub fn has(event: &str) -> bool {
    let output = perfd()
        .args(["stat", "--json", "-e", event, "--", "true"])
        .output()
        .expect("perfd runs");
    output.status.success()
}

/// Whether counts are exact, and the same in each run.
pub fn is_exact() -> bool {
    cycles_per_instruction().is_some()
}

/// Cycles that every instruction takes, each a nanosecond, where counts are exact.
pub fn cycles_per_instruction() -> Option<u64> {
    let exact = std::env::var("PERFD_EXACT").ok()?;
    exact.parse().ok()
}

/// CPUs that a thread may run on.
pub fn n_cpus() -> u64 {
    let n = std::thread::available_parallelism().expect("known on Linux");
    n.get() as u64
}

/// By how many a count of instructions in user mode may be wrong: 0 where counts are exact.
///
/// Elsewhere an interrupt or fault may add one or two to the count (x86 counts the return from it, and the instruction that it
/// interrupted a second time: Weaver, Terpstra, Moore, "Non-determinism and overcount on modern hardware performance
/// counter implementations", 2013). A small program has some dozens of faults, and a busy CPU less than
/// 10,000 interrupts in a second.
pub fn slack(count: &Count) -> u64 {
    if is_exact() {
        return 0;
    }
    1000 + 2 * count.enabled_ns / 100_000
}
