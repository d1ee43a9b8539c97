//! How many counters a PMU has, and how many of them are free: found by filling it.
//!
//! Neither sysfs nor any system call says it. A group of events is opened on the calling thread and made larger until there is no
//! room, in either of two senses:
//!
//! - the kernel refuses a group that would not fit the PMU if it were empty (`validate_group` of each PMU's driver);
//! - a group that fits an empty PMU is taken, but never counts where somebody else holds a counter for good (`time_running` stays 0).
//!
//! Events are taken kind by kind, as many of each as fit. Which events fit together is a matching of events to counters, for
//! which this greedy way finds a largest set, whatever the order of the kinds.

use std::hint::black_box;
use std::io;

use nix::errno::Errno;
use perf_event::{Builder, Counter};

use crate::model::ResolvedEvent;

/// More counters than any PMU has; where so many events fit, the driver does not check groups.
const MAX_COUNTERS: usize = 64;

/// Rounds of own work in which a group that has room counts.
const ROUNDS_OF_WORK: u32 = 10_000;

/// How many events of these kinds count at the same time on an empty PMU; `None` where the kernel does not say.
pub fn capacity(kinds: &[ResolvedEvent]) -> io::Result<Option<usize>> {
    let fitting = fill(kinds, |group| {
        fits(open(group)).map(|group| group.is_some())
    })?;
    Ok((fitting < MAX_COUNTERS).then_some(fitting))
}

/// How many events of these kinds count at the same time now, on the calling thread's CPU.
pub fn free(kinds: &[ResolvedEvent]) -> io::Result<usize> {
    fill(kinds, |group| match fits(open(group))? {
        Some(opened) => counts(opened),
        None => Ok(false),
    })
}

/// The size of the largest group that `has_room`.
fn fill(
    kinds: &[ResolvedEvent],
    has_room: impl Fn(&[ResolvedEvent]) -> io::Result<bool>,
) -> io::Result<usize> {
    let mut group = Vec::new();
    for kind in kinds {
        while group.len() < MAX_COUNTERS {
            group.push(*kind);
            if !has_room(&group)? {
                group.pop();
                break;
            }
        }
    }
    Ok(group.len())
}

/// Opens a group whose first member leads it, in user mode. All count at once if they can: the driver for ARM does not
/// ask for room for a leader that is disabled (`validate_event` in drivers/perf/arm_pmu.c).
fn open(group: &[ResolvedEvent]) -> io::Result<Vec<Counter>> {
    let mut opened: Vec<Counter> = Vec::with_capacity(group.len());
    for event in group {
        let mut builder = Builder::new(*event);
        builder.enabled(true);
        let counter = match opened.first_mut() {
            None => builder.build()?,
            Some(leader) => builder.build_with_group(leader)?,
        };
        opened.push(counter);
    }
    Ok(opened)
}

/// Tells a group for which there is no room, or a kind that this PMU does not have, from a failure.
fn fits(opened: io::Result<Vec<Counter>>) -> io::Result<Option<Vec<Counter>>> {
    const NO_ROOM: [Errno; 5] = [
        Errno::EINVAL,
        Errno::ENOSPC,
        Errno::ENOENT,
        Errno::EOPNOTSUPP,
        Errno::ENODEV,
    ];
    match opened {
        Ok(group) => Ok(Some(group)),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(errno) if NO_ROOM.contains(&errno) => Ok(None),
            _ => Err(error),
        },
    }
}

/// Whether a group has got its counters as soon as it was whole: its last member has never counted without all others.
fn counts(mut group: Vec<Counter>) -> io::Result<bool> {
    let Some(last) = group.last_mut() else {
        return Ok(true);
    };
    for round in 0..ROUNDS_OF_WORK {
        black_box(round);
    }
    let running = last.read_full()?.time_running().unwrap_or_default();
    Ok(!running.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PMU of 6 counters for any event and one more for events of kind 1.
    fn has_room(group: &[ResolvedEvent]) -> bool {
        let of_kind_1 = group.iter().filter(|event| event.config == 1).count();
        group.len() - of_kind_1.min(1) <= 6
    }

    fn kinds(configs: &[u64]) -> Vec<ResolvedEvent> {
        let kind = |config: &u64| ResolvedEvent {
            config: *config,
            ..ResolvedEvent::default()
        };
        configs.iter().map(kind).collect()
    }

    #[test]
    fn kinds_with_a_counter_of_their_own_are_filled_in_any_order() {
        let check = |configs: &[u64], expected| {
            let found = fill(&kinds(configs), |group| Ok(has_room(group)));
            assert_eq!(found.expect("nothing fails above"), expected, "{configs:?}");
        };
        check(&[], 0);
        check(&[0], 6);
        check(&[1], 7);
        check(&[0, 1], 7);
        check(&[1, 0], 7);
    }

    #[test]
    fn a_kernel_that_refuses_no_group_does_not_say_how_many_counters_there_are() {
        // Software events take no counter.
        let dummy = ResolvedEvent {
            type_: 1,
            config: 9,
            ..ResolvedEvent::default()
        };
        match (capacity(&[dummy]), free(&[dummy])) {
            (Ok(capacity), Ok(free)) => assert_eq!((capacity, free), (None, MAX_COUNTERS)),
            // No perf events for this user.
            (Err(_), Err(_)) => (),
            both => panic!("one is refused and the other is not: {both:?}"),
        }
    }

    #[test]
    fn an_event_that_no_pmu_has_takes_no_room_and_is_no_failure() {
        let nonsense = ResolvedEvent {
            type_: 0x7fff_ffff,
            ..ResolvedEvent::default()
        };
        let permission = [Errno::EACCES, Errno::EPERM, Errno::ENOSYS].map(|errno| errno as i32);
        match free(&[nonsense]) {
            Ok(n) => assert_eq!(n, 0),
            Err(error) => assert!({ permission }.contains(&error.raw_os_error().unwrap_or(0))),
        }
    }
}
