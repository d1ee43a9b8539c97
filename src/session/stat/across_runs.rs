//! Several measurements of the same thing, put together event by event.

use std::sync::Arc;

use super::measure::Measured;
use crate::model::{EventSpec, Pid, ProcessCounts, Ratio, total};
use crate::stats::Summary;

/// One event over all runs.
#[derive(Clone, Debug)]
pub(super) struct EventRuns {
    pub event: EventSpec,
    /// Of the scaled counts; `None` if it never counted.
    pub value: Option<Summary>,
    /// Share of the time of all runs in which it was counting.
    pub running_share: f64,
    /// Of the counts of all runs together.
    pub ratio: Option<Ratio>,
}

/// One target over all runs.
#[derive(Clone, Debug)]
pub(super) struct TargetRuns {
    /// The last run's; `None` for the host.
    pub pid: Option<Pid>,
    pub comm: Arc<str>,
    pub events: Vec<EventRuns>,
}

/// All runs.
#[derive(Clone, Debug)]
pub(super) struct AcrossRuns {
    pub n_runs: usize,
    /// Seconds.
    pub elapsed: Summary,
    pub targets: Vec<TargetRuns>,
}

impl AcrossRuns {
    /// `runs` is not empty, and all are of the same events and targets.
    pub(super) fn of(runs: &[Measured]) -> AcrossRuns {
        let elapsed: Vec<f64> = runs.iter().map(|run| run.elapsed.as_secs_f64()).collect();
        let n_targets = runs.first().map_or(0, |run| run.processes.len());
        let targets = (0..n_targets).map(|index| {
            let of_runs: Vec<ProcessCounts> = runs
                .iter()
                .filter_map(|run| run.processes.get(index).cloned())
                .collect();
            target(&of_runs)
        });
        AcrossRuns {
            n_runs: runs.len(),
            elapsed: Summary::of(&elapsed).expect("not empty, and durations are finite"),
            targets: targets.collect(),
        }
    }
}

fn target(runs: &[ProcessCounts]) -> TargetRuns {
    let sums = total(runs);
    let events = sums.iter().enumerate().map(|(index, sum)| {
        let counted = runs
            .iter()
            .filter_map(|run| run.counts.get(index)?.scaled());
        #[expect(clippy::cast_precision_loss, reason = "statistics are of real numbers")]
        let values: Vec<f64> = counted.map(|value| value as f64).collect();
        EventRuns {
            event: sum.event.clone(),
            value: Summary::of(&values),
            running_share: sum.running_share(),
            ratio: Ratio::of(&sums, index),
        }
    });
    TargetRuns {
        pid: runs.last().and_then(|run| run.pid),
        comm: runs
            .last()
            .map_or_else(|| "".into(), |run| Arc::clone(&run.comm)),
        events: events.collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Count;

    fn run(cycles: u64, instructions: u64) -> Measured {
        let count = |event: &str, value| Count {
            event: event.parse().unwrap(),
            value,
            enabled: Duration::from_secs(1),
            running: Duration::from_secs(1),
            group: 0,
        };
        Measured {
            elapsed: Duration::from_secs(1),
            processes: vec![ProcessCounts {
                pid: Some(Pid(1)),
                comm: "x".into(),
                counts: vec![count("cycles", cycles), count("instructions", instructions)],
            }],
            status: None,
            interrupted: false,
            notes: Vec::new(),
        }
    }

    #[test]
    fn a_value_has_the_spread_of_its_runs_and_a_ratio_is_that_of_all_runs_together() {
        let all = AcrossRuns::of(&[run(100, 100), run(300, 700)]);
        let events = &all.targets[0].events;
        assert_eq!(events[0].value.unwrap().mean, 200.0);
        assert_eq!(events[0].value.unwrap().max, 300.0);
        assert_eq!(events[1].ratio, Some(Ratio::PerCycle(2.0)));
    }

    #[test]
    fn an_event_that_never_counted_has_no_value() {
        let mut run = run(0, 5);
        run.processes[0].counts[0].running = Duration::ZERO;
        let all = AcrossRuns::of(&[run.clone(), run]);
        assert_eq!(all.targets[0].events[0].value, None);
    }
}
