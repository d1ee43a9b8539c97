//! Samples that are kept one by one until they are written, in order of time.

use std::collections::VecDeque;

use super::StackId;
use crate::model::{Cpu, Ended, EventIdx, MonoNs, Pid, Tid, Weight};

/// Samples that may wait, 30 MB of them: at 40,000 a second, 13 seconds in which nobody takes them.
const MOST: usize = 1 << 19;

/// A sample by itself. `C` is a thread name's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedSample<C> {
    /// When.
    pub time: MonoNs,
    /// CPU that took it.
    pub cpu: Cpu,
    /// Process.
    pub pid: Pid,
    /// Thread.
    pub tid: Tid,
    /// Thread name.
    pub comm: C,
    /// Which of the run's events.
    pub event: EventIdx,
    /// Counts of the event that it stands for.
    pub period: u64,
    /// Its stack.
    pub stack: StackId,
    /// Whether that is whole.
    pub ended: Ended,
}

/// The samples that wait.
#[derive(Debug)]
pub struct Timeline<C> {
    samples: VecDeque<TimedSample<C>>,
    left_out: u64,
}

impl<C: Copy> Timeline<C> {
    /// None yet.
    pub fn new() -> Timeline<C> {
        Timeline {
            samples: VecDeque::new(),
            left_out: 0,
        }
    }

    /// Keeps samples that have all but their period in common, which is one of them where they are several: those of a thread at
    /// the same nanosecond, of a clock that does not tell them apart.
    pub fn add(&mut self, sample: TimedSample<C>, weight: &Weight) {
        let n = weight.samples.max(1);
        for nth in 0..n {
            if self.samples.len() == MOST {
                self.left_out += n - nth;
                return;
            }
            // What does not divide evenly is the first one's.
            let rest = if nth == 0 { weight.total % n } else { 0 };
            self.samples.push_back(TimedSample {
                period: weight.total / n + rest,
                ..sample
            });
        }
    }

    /// Number of samples that wait.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Samples that found no room and are not kept.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Hands out the oldest samples, `most` of them and none from behind `until`, in order of time.
    pub fn take(&mut self, until: MonoNs, most: usize) -> Vec<TimedSample<C>> {
        // Stable, so that samples of the same time stay in the order they came; quick, because most are in order already.
        self.samples
            .make_contiguous()
            .sort_by_key(|sample| sample.time);
        let n = self.samples.partition_point(|sample| sample.time <= until);
        self.samples.drain(..n.min(most)).collect()
    }
}

impl<C: Copy> Default for Timeline<C> {
    fn default() -> Timeline<C> {
        Timeline::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(time: u64) -> TimedSample<()> {
        TimedSample {
            time: MonoNs(time),
            cpu: Cpu(0),
            pid: Pid(1),
            tid: Tid(1),
            comm: (),
            event: EventIdx(0),
            period: 0,
            stack: StackId(0),
            ended: Ended::Root,
        }
    }

    fn times(samples: &[TimedSample<()>]) -> Vec<u64> {
        samples.iter().map(|sample| sample.time.0).collect()
    }

    #[test]
    fn samples_come_out_in_order_of_time_and_young_ones_stay() {
        let mut timeline = Timeline::new();
        for time in [5, 3, 9, 1, 7] {
            timeline.add(sample(time), &Weight::of(10));
        }
        assert_eq!(times(&timeline.take(MonoNs(7), 2)), [1, 3]);
        timeline.add(sample(4), &Weight::of(10));
        assert_eq!(times(&timeline.take(MonoNs(7), 9)), [4, 5, 7]);
        assert_eq!(times(&timeline.take(MonoNs(u64::MAX), 9)), [9]);
        assert!(timeline.is_empty());
    }

    #[test]
    fn samples_that_were_counted_together_share_their_weight() {
        let mut timeline = Timeline::new();
        let weight = Weight {
            total: 11,
            samples: 3,
            squares: 0,
        };
        timeline.add(sample(1), &weight);
        let periods: Vec<u64> = timeline
            .take(MonoNs(1), 9)
            .iter()
            .map(|sample| sample.period)
            .collect();
        assert_eq!(periods, [5, 3, 3]);
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut timeline = Timeline::new();
        for time in 0..MOST as u64 + 3 {
            timeline.add(sample(time), &Weight::of(1));
        }
        assert_eq!((timeline.len(), timeline.left_out()), (MOST, 3));
        timeline.take(MonoNs(9), 10);
        timeline.add(sample(1), &Weight::of(1));
        assert_eq!((timeline.len(), timeline.left_out()), (MOST - 9, 3));
    }
}
