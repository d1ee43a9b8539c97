//! Several measurements of the same thing, put together event by event.

use std::sync::Arc;

use super::measure::Measured;
use crate::model::{Count, EventSpec, Pid, ProcessCounts, Unit};
use crate::stats::Summary;

/// One event over all runs.
#[derive(Clone, Debug)]
pub(super) struct EventRuns {
    pub event: EventSpec,
    pub group: usize,
    /// Of the scaled counts; `None` if it never counted.
    pub value: Option<Summary>,
    /// Mean share of the time in which it was counting.
    pub running_share: f64,
}

/// One target over all runs.
#[derive(Clone, Debug)]
pub(super) struct TargetRuns {
    /// `None` for the host, and for a total.
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
        let counted: Vec<&[ProcessCounts]> = runs.iter().map(|run| &run.processes[..]).collect();
        AcrossRuns {
            n_runs: runs.len(),
            elapsed: Summary::of(&elapsed).expect("not empty, and durations are finite"),
            targets: targets(&counted),
        }
    }
}

/// The targets of the runs, and their total if there are several.
pub(super) fn targets(runs: &[&[ProcessCounts]]) -> Vec<TargetRuns> {
    let n_targets = runs.first().map_or(0, |targets| targets.len());
    let mut found: Vec<TargetRuns> = (0..n_targets)
        .map(|index| {
            let of_runs: Vec<&ProcessCounts> =
                runs.iter().filter_map(|run| run.get(index)).collect();
            target(&of_runs)
        })
        .collect();
    if n_targets > 1 {
        let totals: Vec<ProcessCounts> = runs.iter().map(|run| total(run)).collect();
        found.push(target(&totals.iter().collect::<Vec<_>>()));
    }
    found
}

/// `of_runs` is not empty.
fn target(of_runs: &[&ProcessCounts]) -> TargetRuns {
    let first = of_runs[0];
    let events = (0..first.counts.len()).map(|index| {
        let counts: Vec<&Count> = of_runs
            .iter()
            .filter_map(|run| run.counts.get(index))
            .collect();
        event(&counts)
    });
    TargetRuns {
        pid: first.pid,
        comm: Arc::clone(&first.comm),
        events: events.collect(),
    }
}

fn event(counts: &[&Count]) -> EventRuns {
    let values: Vec<f64> = counts
        .iter()
        .filter_map(|count| count.scaled())
        .map(|value| value as f64)
        .collect();
    let shares: Vec<f64> = counts.iter().map(|count| count.running_share()).collect();
    EventRuns {
        event: counts[0].event.clone(),
        group: counts[0].group,
        value: Summary::of(&values),
        running_share: Summary::of(&shares).map_or(1.0, |shares| shares.mean),
    }
}

/// The sum over all targets.
fn total(targets: &[ProcessCounts]) -> ProcessCounts {
    let mut sum = ProcessCounts {
        pid: None,
        comm: "total".into(),
        counts: Vec::new(),
    };
    for target in targets {
        if sum.counts.is_empty() {
            sum.counts = target.counts.clone();
            continue;
        }
        for (sum, count) in sum.counts.iter_mut().zip(&target.counts) {
            sum.value = sum.value.saturating_add(count.value);
            sum.enabled += count.enabled;
            sum.running += count.running;
        }
    }
    sum
}

impl EventRuns {
    /// Whether it counts nanoseconds.
    pub(super) fn is_clock(&self) -> bool {
        self.event.unit() == Unit::Nanoseconds
    }
}
