//! What was counted between two readings.

use crate::model::{Count, ProcessCounts};

/// `later − earlier`, target by target and event by event; a target that `earlier` does not have counts from 0.
pub fn minus(later: &[ProcessCounts], earlier: &[ProcessCounts]) -> Vec<ProcessCounts> {
    later
        .iter()
        .map(|now| {
            let before = earlier.iter().find(|before| before.pid == now.pid);
            let before = before.map_or(&[][..], |before| &before.counts);
            let counts = now.counts.iter().enumerate();
            ProcessCounts {
                counts: counts
                    .map(|(index, count)| match before.get(index) {
                        Some(earlier) => difference(count, earlier),
                        None => count.clone(),
                    })
                    .collect(),
                ..now.clone()
            }
        })
        .collect()
}

fn difference(later: &Count, earlier: &Count) -> Count {
    debug_assert_eq!(later.event, earlier.event);
    Count {
        // Cumulative, so never smaller; a kernel that thinks otherwise must not make a huge number.
        value: later.value.saturating_sub(earlier.value),
        enabled: later.enabled.saturating_sub(earlier.enabled),
        running: later.running.saturating_sub(earlier.running),
        ..later.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::Pid;

    fn counts(pid: u32, value: u64) -> ProcessCounts {
        ProcessCounts {
            pid: Some(Pid(pid)),
            comm: "x".into(),
            counts: vec![Count {
                event: "page-faults".parse().unwrap(),
                value,
                enabled: Duration::from_nanos(value * 10),
                running: Duration::from_nanos(value * 5),
                group: 0,
            }],
        }
    }

    #[test]
    fn an_interval_has_the_counts_and_times_between_its_ends() {
        let between = minus(&[counts(1, 7), counts(2, 4)], &[counts(1, 5)]);
        assert_eq!(between[0].counts[0].value, 2);
        assert_eq!(between[0].counts[0].enabled, Duration::from_nanos(20));
        assert_eq!(between[0].counts[0].running, Duration::from_nanos(10));
        assert_eq!(between[1], counts(2, 4));
    }

    #[test]
    fn intervals_add_up_to_the_whole() {
        let readings = [0, 3, 3, 10, 12].map(|value| [counts(1, value)]);
        let sum: u64 = readings
            .windows(2)
            .map(|pair| minus(&pair[1], &pair[0])[0].counts[0].value)
            .sum();
        assert_eq!(sum, 12);
    }
}
