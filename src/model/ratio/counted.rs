//! Ratios of counts that were read from counters.

use super::{Ratio, RatioKind};
use crate::model::{Count, ProcessCounts};

/// Shares of running time that differ by less were the same turns on the PMU.
const SAME_SHARE: f64 = 0.001;

impl Ratio {
    /// The ratios that belong to `counts[idx]`: only to events in the same modes that both counted, and at the same
    /// times. They have no error: where a group took turns on the PMU, both counts miss the same times.
    pub fn of(counts: &[Count], idx: usize) -> Vec<Ratio> {
        let Some(count) = counts.get(idx) else {
            return Vec::new();
        };
        let ratio = |kind: RatioKind| {
            let by = kind.divisor(&count.event.source)?;
            let divisor = counts
                .iter()
                .find(|other| other.event.source == by && ran_together(count, other))?;
            Some(Ratio {
                kind,
                value: quotient(count.scaled()?, divisor.scaled()?)? * kind.factor(),
                error: None,
            })
        };
        RatioKind::ALL.into_iter().filter_map(ratio).collect()
    }
}

/// Either both counted all of the time, or they are of one group and had the same turns.
fn ran_together(one: &Count, other: &Count) -> bool {
    let have_run = !one.running.is_zero() && !other.running.is_zero();
    let same_turns = one.group == other.group
        && (one.running_share() - other.running_share()).abs() < SAME_SHARE;
    let no_turns = one.ran_all_the_time() && other.ran_all_the_time();
    have_run && one.event.modes == other.event.modes && (same_turns || no_turns)
}

fn quotient(of: u64, by: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people to read")]
    (by > 0).then(|| of as f64 / by as f64)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Pid;

    fn count(event: &str, value: u64, group: usize) -> Count {
        Count {
            event: event.parse().expect(event),
            value,
            enabled: Duration::from_secs(2),
            running: Duration::from_secs(2),
            group,
        }
    }

    fn for_half_the_time(count: Count) -> Count {
        Count {
            running: count.enabled / 2,
            ..count
        }
    }

    fn ratios(counts: &[Count]) -> Vec<(RatioKind, f64)> {
        let all = (0..counts.len()).flat_map(|idx| Ratio::of(counts, idx));
        all.map(|ratio| (ratio.kind, ratio.value)).collect()
    }

    #[test]
    fn an_event_has_every_ratio_for_which_the_other_event_was_counted() {
        let counts = [
            count("cycles", 200, 0),
            count("instructions", 500, 0),
            count("cache-misses", 1, 0),
            count("cache-references", 4, 0),
            count("page-faults", 3, 1),
        ];
        assert_eq!(
            ratios(&counts),
            [
                (RatioKind::PerCycle, 2.5),
                (RatioKind::PerThousandInstructions, 2.0),
                (RatioKind::MissRate, 0.25),
                (RatioKind::PerThousandInstructions, 6.0),
            ]
        );
        assert!(Ratio::of(&counts, 5).is_empty());
    }

    #[test]
    fn counts_that_did_not_run_together_have_no_ratio() {
        let cycles = || count("cycles", 200, 0);
        let instructions = || count("instructions", 500, 0);
        let none = |cycles, instructions| assert_eq!(ratios(&[cycles, instructions]), []);
        none(count("cycles", 0, 0), instructions());
        none(count("cycles:u", 200, 0), instructions());
        none(for_half_the_time(cycles()), instructions());
        none(
            for_half_the_time(cycles()),
            for_half_the_time(count("instructions", 1, 1)),
        );
        let never = |count| Count {
            running: Duration::ZERO,
            ..count
        };
        none(never(cycles()), never(instructions()));
    }

    #[test]
    fn one_group_with_the_same_turns_or_no_turns_at_all_ran_together() {
        let check = |cycles, instructions| {
            assert_eq!(
                ratios(&[cycles, instructions]),
                [(RatioKind::PerCycle, 2.5)]
            );
        };
        let half = for_half_the_time;
        check(
            half(count("cycles", 200, 3)),
            half(count("instructions", 500, 3)),
        );
        check(count("cycles", 200, 0), count("instructions", 500, 1));
    }

    #[test]
    fn the_event_in_the_same_modes_is_found_behind_one_in_others() {
        let counts = [
            count("cycles:k", 9, 0),
            count("cycles:u", 200, 0),
            count("instructions:u", 500, 0),
        ];
        assert_eq!(ratios(&counts), [(RatioKind::PerCycle, 2.5)]);
    }

    #[test]
    fn a_total_adds_times_and_values_of_each_event() {
        let process = |value| ProcessCounts {
            pid: Some(Pid(1)),
            comm: "a".into(),
            counts: vec![count("cycles", value, 0)],
        };
        let sums = total(&[process(1), process(2)]);
        assert_eq!(sums.len(), 1);
        assert_eq!(
            (sums[0].value, sums[0].enabled),
            (3, Duration::from_secs(4))
        );
    }
}
