//! The ratios that have a name, and which events they belong to.

use serde::Serialize;

use crate::model::{CacheResult, EventSource, HardwareEvent, SoftwareEvent};

/// A ratio with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RatioKind {
    /// Of instructions: per cycle (IPC).
    PerCycle,
    /// Of misses and faults: per thousand instructions.
    PerThousandInstructions,
    /// Of misses: the share of what could have missed.
    MissRate,
}

impl RatioKind {
    /// Every ratio.
    pub const ALL: [RatioKind; 3] = [
        RatioKind::PerCycle,
        RatioKind::PerThousandInstructions,
        RatioKind::MissRate,
    ];

    /// The event by which `event` is divided; `None` if it has no such ratio.
    pub fn divisor(self, event: &EventSource) -> Option<EventSource> {
        use EventSource::{Cache, Hardware};
        use HardwareEvent::{
            BranchInstructions, BranchMisses, CacheMisses, CacheReferences, Cycles, Instructions,
        };
        match (self, event) {
            (RatioKind::PerCycle, Hardware(Instructions)) => Some(Hardware(Cycles)),
            (RatioKind::PerThousandInstructions, event) if is_miss(event) || is_fault(event) => {
                Some(Hardware(Instructions))
            }
            (RatioKind::MissRate, Hardware(CacheMisses)) => Some(Hardware(CacheReferences)),
            (RatioKind::MissRate, Hardware(BranchMisses)) => Some(Hardware(BranchInstructions)),
            (RatioKind::MissRate, Cache(cache, op, CacheResult::Miss)) => {
                Some(Cache(*cache, *op, CacheResult::Access))
            }
            _ => None,
        }
    }

    /// What the quotient of the two counts is multiplied with.
    pub fn factor(self) -> f64 {
        match self {
            RatioKind::PerThousandInstructions => 1000.0,
            RatioKind::PerCycle | RatioKind::MissRate => 1.0,
        }
    }
}

fn is_miss(event: &EventSource) -> bool {
    matches!(
        event,
        EventSource::Hardware(HardwareEvent::CacheMisses | HardwareEvent::BranchMisses)
            | EventSource::Cache(_, _, CacheResult::Miss)
    )
}

/// Like a miss, a fault is something that befalls an instruction. A switch or a migration does not.
fn is_fault(event: &EventSource) -> bool {
    matches!(
        event,
        EventSource::Software(
            SoftwareEvent::PageFaults
                | SoftwareEvent::MinorFaults
                | SoftwareEvent::MajorFaults
                | SoftwareEvent::AlignmentFaults
                | SoftwareEvent::EmulationFaults
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::NAMES;

    #[test]
    fn each_event_has_the_ratios_that_mean_something() {
        let check = |name: &str, expected: &[(RatioKind, &str)]| {
            let event = &NAMES
                .iter()
                .find(|named| named.name == name)
                .expect(name)
                .source;
            let divisors =
                RatioKind::ALL.map(|kind| Some((kind, kind.divisor(event)?.to_string())));
            let divisors: Vec<_> = divisors
                .iter()
                .flatten()
                .map(|(kind, name)| (*kind, name.as_str()))
                .collect();
            assert_eq!(divisors, expected, "{name}");
        };
        use RatioKind::{MissRate, PerCycle, PerThousandInstructions};
        let per_thousand = (PerThousandInstructions, "instructions");
        check("instructions", &[(PerCycle, "cycles")]);
        check(
            "cache-misses",
            &[per_thousand, (MissRate, "cache-references")],
        );
        check("branch-misses", &[per_thousand, (MissRate, "branches")]);
        check(
            "L1-dcache-load-misses",
            &[per_thousand, (MissRate, "L1-dcache-loads")],
        );
        check("page-faults", &[per_thousand]);
        for name in [
            "cycles",
            "cache-references",
            "L1-dcache-loads",
            "context-switches",
            "cpu-clock",
        ] {
            check(name, &[]);
        }
    }
}
