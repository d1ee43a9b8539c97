//! The one table of event names: `perf list`'s generalized hardware, software and cache events.
//!
//! Parsing, printing, `perfd list` and the suggestions for a mistyped name all read this table. Events that a
//! host describes itself (raw, PMU, tracepoints, breakpoints) are not in it: they have a grammar, not a name.

use super::CacheEvent::{
    BranchUnit, DataTlb, InstructionTlb, L1Data, L1Instruction, LastLevel, Node,
};
use super::CacheOp::{Load, Prefetch, Store};
use super::CacheResult::{Access, Miss};
use super::EventSource::{Cache, Hardware, Software};
use super::{EventSource, HardwareEvent, SoftwareEvent};

/// An event with a name of its own.
#[derive(Debug)]
pub struct NamedEvent {
    /// The name that perfd prints.
    pub name: &'static str,
    /// Other names that mean the same.
    pub aliases: &'static [&'static str],
    /// What it is.
    pub source: EventSource,
}

const fn named(
    name: &'static str,
    aliases: &'static [&'static str],
    source: EventSource,
) -> NamedEvent {
    NamedEvent {
        name,
        aliases,
        source,
    }
}

/// All events with a name of their own, in the order in which they are listed.
///
/// Caches have only the operations that `perf` knows for them: an instruction cache is never stored to.
#[rustfmt::skip]
pub static NAMES: &[NamedEvent] = &[
    named("cycles", &["cpu-cycles"], Hardware(HardwareEvent::Cycles)),
    named("instructions", &[], Hardware(HardwareEvent::Instructions)),
    named("cache-references", &[], Hardware(HardwareEvent::CacheReferences)),
    named("cache-misses", &[], Hardware(HardwareEvent::CacheMisses)),
    named("branches", &["branch-instructions"], Hardware(HardwareEvent::BranchInstructions)),
    named("branch-misses", &[], Hardware(HardwareEvent::BranchMisses)),
    named("bus-cycles", &[], Hardware(HardwareEvent::BusCycles)),
    named("ref-cycles", &[], Hardware(HardwareEvent::RefCycles)),
    named("stalled-cycles-frontend", &["idle-cycles-frontend"], Hardware(HardwareEvent::StalledCyclesFrontend)),
    named("stalled-cycles-backend", &["idle-cycles-backend"], Hardware(HardwareEvent::StalledCyclesBackend)),
    named("cpu-clock", &[], Software(SoftwareEvent::CpuClock)),
    named("task-clock", &[], Software(SoftwareEvent::TaskClock)),
    named("page-faults", &["faults"], Software(SoftwareEvent::PageFaults)),
    named("minor-faults", &[], Software(SoftwareEvent::MinorFaults)),
    named("major-faults", &[], Software(SoftwareEvent::MajorFaults)),
    named("context-switches", &["cs"], Software(SoftwareEvent::ContextSwitches)),
    named("cpu-migrations", &["migrations"], Software(SoftwareEvent::CpuMigrations)),
    named("cgroup-switches", &[], Software(SoftwareEvent::CgroupSwitches)),
    named("alignment-faults", &[], Software(SoftwareEvent::AlignmentFaults)),
    named("emulation-faults", &[], Software(SoftwareEvent::EmulationFaults)),
    named("bpf-output", &[], Software(SoftwareEvent::BpfOutput)),
    named("dummy", &[], Software(SoftwareEvent::Dummy)),
    named("L1-dcache-loads", &[], Cache(L1Data, Load, Access)),
    named("L1-dcache-load-misses", &[], Cache(L1Data, Load, Miss)),
    named("L1-dcache-stores", &[], Cache(L1Data, Store, Access)),
    named("L1-dcache-store-misses", &[], Cache(L1Data, Store, Miss)),
    named("L1-dcache-prefetches", &[], Cache(L1Data, Prefetch, Access)),
    named("L1-dcache-prefetch-misses", &[], Cache(L1Data, Prefetch, Miss)),
    named("L1-icache-loads", &[], Cache(L1Instruction, Load, Access)),
    named("L1-icache-load-misses", &[], Cache(L1Instruction, Load, Miss)),
    named("L1-icache-prefetches", &[], Cache(L1Instruction, Prefetch, Access)),
    named("L1-icache-prefetch-misses", &[], Cache(L1Instruction, Prefetch, Miss)),
    named("LLC-loads", &[], Cache(LastLevel, Load, Access)),
    named("LLC-load-misses", &[], Cache(LastLevel, Load, Miss)),
    named("LLC-stores", &[], Cache(LastLevel, Store, Access)),
    named("LLC-store-misses", &[], Cache(LastLevel, Store, Miss)),
    named("LLC-prefetches", &[], Cache(LastLevel, Prefetch, Access)),
    named("LLC-prefetch-misses", &[], Cache(LastLevel, Prefetch, Miss)),
    named("dTLB-loads", &[], Cache(DataTlb, Load, Access)),
    named("dTLB-load-misses", &[], Cache(DataTlb, Load, Miss)),
    named("dTLB-stores", &[], Cache(DataTlb, Store, Access)),
    named("dTLB-store-misses", &[], Cache(DataTlb, Store, Miss)),
    named("dTLB-prefetches", &[], Cache(DataTlb, Prefetch, Access)),
    named("dTLB-prefetch-misses", &[], Cache(DataTlb, Prefetch, Miss)),
    named("iTLB-loads", &[], Cache(InstructionTlb, Load, Access)),
    named("iTLB-load-misses", &[], Cache(InstructionTlb, Load, Miss)),
    named("branch-loads", &[], Cache(BranchUnit, Load, Access)),
    named("branch-load-misses", &[], Cache(BranchUnit, Load, Miss)),
    named("node-loads", &[], Cache(Node, Load, Access)),
    named("node-load-misses", &[], Cache(Node, Load, Miss)),
    named("node-stores", &[], Cache(Node, Store, Access)),
    named("node-store-misses", &[], Cache(Node, Store, Miss)),
    named("node-prefetches", &[], Cache(Node, Prefetch, Access)),
    named("node-prefetch-misses", &[], Cache(Node, Prefetch, Miss)),
];

impl NamedEvent {
    /// The event of that name or alias, in upper or lower case.
    pub fn find(name: &str) -> Option<&'static NamedEvent> {
        NAMES.iter().find(|event| {
            event
                .all_names()
                .any(|known| known.eq_ignore_ascii_case(name))
        })
    }

    /// The entry of an event, if it has a name of its own.
    pub fn of(source: &EventSource) -> Option<&'static NamedEvent> {
        NAMES.iter().find(|event| event.source == *source)
    }

    fn all_names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// The known name that differs least from `typed`, if no more than a third of it is wrong.
pub fn nearest_name(typed: &str) -> Option<&'static str> {
    let typed = typed.to_ascii_lowercase();
    let allowed = (typed.len() / 3).clamp(1, 4);
    NAMES
        .iter()
        .flat_map(NamedEvent::all_names)
        .map(|known| (distance(&typed, &known.to_ascii_lowercase()), known))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Edits (insert, delete, replace, swap of neighbours) that make `a` into `b`: optimal string alignment.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    // rows[i][j]: distance of the first i bytes of `a` from the first j of `b`.
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_and_no_event_stands_twice_in_the_table() {
        let mut names: Vec<_> = NAMES
            .iter()
            .flat_map(NamedEvent::all_names)
            .map(str::to_ascii_lowercase)
            .collect();
        let n_names = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), n_names);
        for event in NAMES {
            assert_eq!(
                NamedEvent::of(&event.source).map(|found| found.name),
                Some(event.name)
            );
        }
    }

    #[test]
    fn a_mistyped_name_finds_the_one_that_was_meant() {
        for (typed, meant) in [
            ("cylces", "cycles"),
            ("instruction", "instructions"),
            ("cache-miss", "cache-misses"),
            ("l1-dcache-load-mises", "L1-dcache-load-misses"),
            ("pagefaults", "page-faults"),
        ] {
            assert_eq!(nearest_name(typed), Some(meant), "{typed}");
        }
        assert_eq!(nearest_name("frobnicate"), None);
        assert_eq!(nearest_name(""), None);
    }
}
