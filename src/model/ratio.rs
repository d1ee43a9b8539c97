//! Counts put together: sums over processes, and the ratios of counts that mean something.

use super::{CacheResult, Count, EventSource, EventSpec, HardwareEvent, ProcessCounts};

/// Shares of running time that differ by less were the same turns on the PMU.
const SAME_SHARE: f64 = 0.001;

/// A count in proportion to another one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ratio {
    /// Instructions per cycle.
    PerCycle(f64),
    /// Misses per thousand instructions.
    PerThousandInstructions(f64),
}

impl Ratio {
    /// The ratio that belongs to `counts[idx]`: only between events of one group, in the same modes, that both ran, and
    /// at the same times.
    pub fn of(counts: &[Count], idx: usize) -> Option<Ratio> {
        let count = counts.get(idx)?;
        if count.event.source == EventSource::Hardware(HardwareEvent::Instructions) {
            let share = quotient(counts, count, HardwareEvent::Cycles)?;
            return Some(Ratio::PerCycle(share));
        }
        if !is_miss(&count.event) {
            return None;
        }
        let share = quotient(counts, count, HardwareEvent::Instructions)?;
        Some(Ratio::PerThousandInstructions(share * 1000.0))
    }
}

/// Counts of all processes together, event by event.
pub fn total(processes: &[ProcessCounts]) -> Vec<Count> {
    let mut sums: Vec<Count> = Vec::new();
    for count in processes.iter().flat_map(|process| &process.counts) {
        match sums
            .iter_mut()
            .find(|sum| sum.event == count.event && sum.group == count.group)
        {
            Some(sum) => {
                sum.value = sum.value.saturating_add(count.value);
                sum.enabled = sum.enabled.saturating_add(count.enabled);
                sum.running = sum.running.saturating_add(count.running);
            }
            None => sums.push(count.clone()),
        }
    }
    sums
}

fn is_miss(event: &EventSpec) -> bool {
    matches!(
        event.source,
        EventSource::Hardware(HardwareEvent::CacheMisses | HardwareEvent::BranchMisses)
            | EventSource::Cache(_, _, CacheResult::Miss)
    )
}

fn quotient(counts: &[Count], count: &Count, by: HardwareEvent) -> Option<f64> {
    let divisor = counts.iter().find(|other| {
        other.event.source == EventSource::Hardware(by)
            && other.event.modes == count.event.modes
            && other.group == count.group
            && (other.running_share() - count.running_share()).abs() < SAME_SHARE
    })?;
    if count.running.is_zero() || divisor.running.is_zero() || divisor.value == 0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
    Some(count.scaled()? as f64 / divisor.scaled()? as f64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Modes, Pid};

    fn count(event: HardwareEvent, value: u64, group: usize) -> Count {
        Count {
            event: EventSpec::new(EventSource::Hardware(event)),
            value,
            enabled: Duration::from_secs(2),
            running: Duration::from_secs(2),
            group,
        }
    }

    #[test]
    fn instructions_are_told_per_cycle_and_misses_per_thousand_instructions() {
        let counts = [
            count(HardwareEvent::Cycles, 200, 0),
            count(HardwareEvent::Instructions, 500, 0),
            count(HardwareEvent::CacheMisses, 1, 0),
        ];
        assert_eq!(Ratio::of(&counts, 0), None);
        assert_eq!(Ratio::of(&counts, 1), Some(Ratio::PerCycle(2.5)));
        assert_eq!(
            Ratio::of(&counts, 2),
            Some(Ratio::PerThousandInstructions(2.0))
        );
    }

    #[test]
    fn counts_that_did_not_run_together_have_no_ratio() {
        let cycles = count(HardwareEvent::Cycles, 200, 0);
        let instructions = count(HardwareEvent::Instructions, 500, 0);
        let check = |cycles: Count, instructions: Count| {
            assert_eq!(Ratio::of(&[cycles, instructions], 1), None);
        };
        check(count(HardwareEvent::Cycles, 200, 1), instructions.clone());
        check(count(HardwareEvent::Cycles, 0, 0), instructions.clone());
        let mut half = cycles.clone();
        half.running = Duration::from_secs(1);
        check(half, instructions.clone());
        let mut user = cycles.clone();
        user.event.modes = Modes::USER;
        check(user, instructions.clone());
        let (mut one, mut other) = (cycles, instructions);
        one.running = Duration::ZERO;
        other.running = Duration::ZERO;
        check(one, other);
    }

    #[test]
    fn a_total_adds_times_and_values_of_each_event() {
        let process = |value| ProcessCounts {
            pid: Some(Pid(1)),
            comm: "a".into(),
            counts: vec![count(HardwareEvent::Cycles, value, 0)],
        };
        let sums = total(&[process(1), process(2)]);
        assert_eq!(sums.len(), 1);
        assert_eq!(
            (sums[0].value, sums[0].enabled),
            (3, Duration::from_secs(4))
        );
    }
}
