//! Several measurements of the same thing, put together event by event.

use std::sync::Arc;

use super::measure::Measured;
use crate::model::{EventSpec, Pid, ProcessCounts, Ratio, RatioKind, total};
use crate::stats::Summary;

/// One event over all runs.
#[derive(Clone, Debug)]
pub(super) struct EventRuns {
    pub event: EventSpec,
    /// Of the scaled counts; `None` if it never counted.
    pub value: Option<Summary>,
    /// Share of the time of all runs in which it was counting.
    pub running_share: f64,
    pub ran_all_the_time: bool,
    /// Of each run's own ratio, where every run has it.
    pub ratios: Vec<(RatioKind, Summary)>,
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
            ran_all_the_time: sum.ran_all_the_time(),
            ratios: ratios(runs, index),
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

fn ratios(runs: &[ProcessCounts], index: usize) -> Vec<(RatioKind, Summary)> {
    let of_runs: Vec<Vec<Ratio>> = runs
        .iter()
        .map(|run| Ratio::of(&run.counts, index))
        .collect();
    let summary = |kind| {
        let of_run = |ratios: &Vec<Ratio>| {
            ratios
                .iter()
                .find(|ratio| ratio.kind == kind)
                .map(|ratio| ratio.value)
        };
        let values: Vec<f64> = of_runs.iter().map(of_run).collect::<Option<_>>()?;
        Some((kind, Summary::of(&values)?))
    };
    RatioKind::ALL.into_iter().filter_map(summary).collect()
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
    fn values_and_ratios_have_the_spread_of_their_runs() {
        let all = AcrossRuns::of(&[run(100, 100), run(300, 900)]);
        let events = &all.targets[0].events;
        assert_eq!(events[0].value.unwrap().mean, 200.0);
        assert_eq!(events[0].value.unwrap().max, 300.0);
        let [(RatioKind::PerCycle, ratio)] = events[1].ratios[..] else {
            panic!("{:?}", events[1].ratios);
        };
        // 1 and 3 per cycle: s = √2, and s ∕ √2 = 1.
        assert_eq!((ratio.n, ratio.mean), (2, 2.0));
        assert!((ratio.error_of_mean().unwrap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_ratio_that_one_run_does_not_have_is_none_of_them_all() {
        let mut turns = run(100, 100);
        turns.processes[0].counts[0].running /= 2;
        let all = AcrossRuns::of(&[run(100, 100), turns]);
        assert!(all.targets[0].events[1].ratios.is_empty());
    }

    #[test]
    fn an_event_that_never_counted_has_no_value() {
        let mut run = run(0, 5);
        run.processes[0].counts[0].running = Duration::ZERO;
        let all = AcrossRuns::of(&[run.clone(), run]);
        assert_eq!(all.targets[0].events[0].value, None);
    }
}
