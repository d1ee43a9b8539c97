//! The ledger of a run: what the kernel counted against what arrived.

use std::time::Duration;

use super::pipeline::Taken;
use crate::model::{Count, EventLedger, KernelWalkLedger, LossReason, Modes, Rate, Unit, Weight};
use crate::sampler::{PlannedEvent, Totals};

/// What the kernel's walk says of an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) outcomes: KernelWalkLedger,
    /// Whether the event is on whole CPUs and its samples of targets are picked there: its own count is of everybody.
    pub(super) picks_targets: bool,
}

/// Where an event stood when it got its present rate; all zero if it always had it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Earlier {
    count: u64,
    running_ns: u64,
    expected: u64,
    emitted: u64,
}

impl Earlier {
    /// At the end of `event`'s rate, when it has counted `totals`.
    pub(super) fn until(event: &PlannedEvent, totals: &Totals, before: &Earlier) -> Earlier {
        Earlier {
            count: totals.count,
            running_ns: totals.running_ns,
            expected: expected(event, totals, before).unwrap_or(0),
            emitted: emitted(event, totals, before).unwrap_or(0),
        }
    }
}

/// The account of one event, from the beginning of the run until now.
pub(super) fn of_event(
    event: &PlannedEvent,
    earlier: &Earlier,
    totals: &Totals,
    taken: &Taken,
    reopened_gap_ns: u64,
    seen: Option<Seen>,
) -> EventLedger {
    let of_targets = seen
        .filter(|seen| seen.picks_targets)
        .map(|seen| seen.outcomes.of_targets());
    let mut ledger = EventLedger {
        expected: expected(event, totals, earlier),
        emitted: of_targets.or_else(|| emitted(event, totals, earlier)),
        kernel_walk: seen.map(|seen| seen.outcomes),
        delivered: taken.delivered.samples,
        throttled: totals.throttled,
        sampled_weight: taken.delivered.total,
        counted_weight: counted_weight(event, totals),
        enabled_ns: totals.enabled_ns,
        running_ns: totals.running_ns,
        reopened_gap_ns,
        ..EventLedger::default()
    };
    ledger.lose(LossReason::RingFull, totals.lost);
    ledger.lose(LossReason::Duplicate, totals.duplicate);
    ledger.lose(LossReason::Malformed, totals.malformed);
    ledger.lose(LossReason::Foreign, taken.foreign);
    ledger.lose(LossReason::QueueFull, taken.queue_full);
    ledger.lose(LossReason::NotAuthorised, taken.not_authorised);
    ledger.lose(LossReason::KernelMode, taken.kernel_mode);
    ledger.lose(LossReason::StackMissing, totals.stack_missing);
    if let Some(rest) = ledger.unexplained().filter(|rest| *rest != 0) {
        ledger.lost.insert(LossReason::NotRaised, rest);
    }
    ledger
}

/// The account of one event in a window of a target of an engine, in which its counter beside it has counted `totals`. How many samples there
/// should have been is known of the engine alone: of events on whole CPUs, no target has its own.
pub(super) fn of_target(event: &PlannedEvent, totals: &Totals, delivered: &Weight) -> EventLedger {
    EventLedger {
        expected: expected(event, totals, &Earlier::default()),
        delivered: delivered.samples,
        sampled_weight: delivered.total,
        counted_weight: counted_weight(event, totals),
        enabled_ns: totals.enabled_ns,
        running_ns: totals.running_ns,
        ..EventLedger::default()
    }
}

/// The account of an event of whole CPUs which nothing counts in the targets: how many samples there should have been is not known.
pub(super) fn uncounted(ledger: EventLedger) -> EventLedger {
    EventLedger {
        expected: None,
        counted_weight: None,
        ..ledger
    }
}

/// What an event of whole CPUs has counted in the targets, as the counter of the same event beside it says; nothing if there is none.
pub(super) fn of_targets(event: &PlannedEvent, totals: &Totals, counts: &[Count]) -> Totals {
    let count = counts.iter().find(|count| count.event == event.spec);
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Totals {
        count: count.map_or(0, |count| count.value),
        enabled_ns: count.map_or(0, |count| nanos(count.enabled)),
        running_ns: count.map_or(0, |count| nanos(count.running)),
        ..*totals
    }
}

/// What the account of the last window says: the difference of two accounts of the run.
pub(super) fn between(earlier: Option<&EventLedger>, now: &EventLedger) -> EventLedger {
    let Some(earlier) = earlier else {
        return now.clone();
    };
    let difference = |now: Option<u64>, earlier: Option<u64>| {
        now.map(|now| now.saturating_sub(earlier.unwrap_or(0)))
    };
    let lost = now
        .lost
        .iter()
        .map(|(reason, n)| (*reason, n - earlier.lost.get(reason).copied().unwrap_or(0)));
    let gone = earlier
        .lost
        .iter()
        .filter(|(reason, _)| !now.lost.contains_key(reason));
    EventLedger {
        expected: difference(now.expected, earlier.expected),
        emitted: difference(now.emitted, earlier.emitted),
        delivered: now.delivered - earlier.delivered,
        lost: lost
            .chain(gone.map(|(reason, n)| (*reason, -n)))
            .filter(|(_, n)| *n != 0)
            .collect(),
        throttled: now.throttled - earlier.throttled,
        sampled_weight: now.sampled_weight - earlier.sampled_weight,
        counted_weight: difference(now.counted_weight, earlier.counted_weight),
        enabled_ns: now.enabled_ns.saturating_sub(earlier.enabled_ns),
        running_ns: now.running_ns.saturating_sub(earlier.running_ns),
        reopened_gap_ns: now.reopened_gap_ns - earlier.reopened_gap_ns,
        kernel_walk: now
            .kernel_walk
            .map(|now| now.since(&earlier.kernel_walk.unwrap_or_default())),
    }
}

/// Hz × the time in which the event was counting, but no more than it happened; at each of its rates.
fn expected(event: &PlannedEvent, totals: &Totals, earlier: &Earlier) -> Option<u64> {
    let Rate::Frequency(hz) = event.rate else {
        return None;
    };
    let running_ns = totals.running_ns.saturating_sub(earlier.running_ns);
    let samples = u128::from(hz.0) * u128::from(running_ns) / 1_000_000_000;
    let samples = u64::try_from(samples).ok()?;
    let at_this_rate = match event.spec.unit() {
        Unit::Nanoseconds => samples,
        Unit::Occurrences => samples.min(totals.count.saturating_sub(earlier.count)),
    };
    Some(earlier.expected + at_this_rate)
}

/// ⌊count ∕ period⌋, at each of its rates. A clock that is limited to one mode counts the time of both (its count is plain time), so
/// that its count says nothing about samples.
fn emitted(event: &PlannedEvent, totals: &Totals, earlier: &Earlier) -> Option<u64> {
    if is_one_sided_clock(event) {
        return None;
    }
    let count = totals.count.saturating_sub(earlier.count);
    Some(earlier.emitted + count / event.fixed_period()?.max(1))
}

fn counted_weight(event: &PlannedEvent, totals: &Totals) -> Option<u64> {
    if totals.running_ns == 0 || is_one_sided_clock(event) {
        return None;
    }
    if totals.running_ns >= totals.enabled_ns {
        return Some(totals.count);
    }
    let scaled =
        u128::from(totals.count) * u128::from(totals.enabled_ns) / u128::from(totals.running_ns);
    u64::try_from(scaled).ok()
}

fn is_one_sided_clock(event: &PlannedEvent) -> bool {
    event.spec.unit() == Unit::Nanoseconds && event.modes != Modes::ALL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventSource, EventSpec, Hz, ResolvedEvent, SoftwareEvent, Weight};

    fn event(source: SoftwareEvent, rate: Rate) -> PlannedEvent {
        let spec = EventSpec::new(EventSource::Software(source));
        PlannedEvent {
            spec,
            resolved: ResolvedEvent::default(),
            rate,
            modes: Modes::ALL,
        }
    }

    fn taken(samples: u64, total: u64) -> Taken {
        Taken {
            delivered: Weight {
                samples,
                total,
                squares: 0,
            },
            ..Taken::default()
        }
    }

    #[test]
    fn what_the_columns_do_not_explain_is_a_row_of_its_own() {
        let faults = event(SoftwareEvent::PageFaults, Rate::Period(1));
        let totals = Totals {
            count: 100,
            lost: 7,
            running_ns: 1,
            ..Totals::default()
        };
        let ledger = of_event(
            &faults,
            &Earlier::default(),
            &totals,
            &taken(90, 90),
            0,
            None,
        );
        assert_eq!(ledger.emitted, Some(100));
        assert_eq!(ledger.lost[&LossReason::NotRaised], 3);
        assert_eq!(ledger.unexplained(), Some(0));
    }

    #[test]
    fn a_clock_expects_hertz_times_its_running_time() {
        let clock = event(SoftwareEvent::CpuClock, Rate::Frequency(Hz(1000)));
        let totals = Totals {
            count: 2_000_400_000,
            running_ns: 2_000_400_000,
            enabled_ns: 2_000_400_000,
            ..Totals::default()
        };
        let ledger = of_event(
            &clock,
            &Earlier::default(),
            &totals,
            &taken(1990, 1_990_000_000),
            0,
            None,
        );
        assert_eq!((ledger.expected, ledger.emitted), (Some(2000), Some(2000)));
        assert_eq!(ledger.lost[&LossReason::NotRaised], 10);
    }

    #[test]
    fn a_rare_event_is_not_expected_oftener_than_it_happens() {
        let faults = event(SoftwareEvent::PageFaults, Rate::Frequency(Hz(1000)));
        let totals = Totals {
            count: 30,
            running_ns: 2_000_000_000,
            ..Totals::default()
        };
        let ledger = of_event(
            &faults,
            &Earlier::default(),
            &totals,
            &taken(30, 30),
            0,
            None,
        );
        assert_eq!((ledger.expected, ledger.emitted), (Some(30), None));
    }

    #[test]
    fn windows_add_up_to_the_run() {
        let faults = event(SoftwareEvent::PageFaults, Rate::Period(1));
        let first = Totals {
            count: 10,
            lost: 2,
            running_ns: 1,
            ..Totals::default()
        };
        let second = Totals {
            count: 25,
            lost: 2,
            running_ns: 2,
            ..Totals::default()
        };
        let first = of_event(&faults, &Earlier::default(), &first, &taken(7, 7), 0, None);
        let second = of_event(
            &faults,
            &Earlier::default(),
            &second,
            &taken(23, 23),
            0,
            None,
        );
        let window = between(Some(&first), &second);
        assert_eq!((window.emitted, window.delivered), (Some(15), 16));
        assert_eq!(window.unexplained(), Some(0));
        assert_eq!(window.lost[&LossReason::NotRaised], -1);
    }

    #[test]
    fn what_was_asked_for_and_emitted_follows_each_rate() {
        let at = |seconds: u64| Totals {
            count: seconds * 1_000_000_000,
            running_ns: seconds * 1_000_000_000,
            enabled_ns: seconds * 1_000_000_000,
            ..Totals::default()
        };
        let clock = |hz| event(SoftwareEvent::CpuClock, Rate::Frequency(Hz(hz)));
        let first = Earlier::until(&clock(1000), &at(2), &Earlier::default());
        let second = Earlier::until(&clock(500), &at(3), &first);
        let ledger = of_event(&clock(250), &second, &at(7), &taken(3500, 0), 0, None);
        let whole = 2 * 1000 + 500 + 4 * 250;
        assert_eq!(
            (ledger.expected, ledger.emitted),
            (Some(whole), Some(whole))
        );
        assert_eq!(ledger.unexplained(), Some(0));
    }

    #[test]
    fn where_targets_are_picked_in_the_kernel_all_their_samples_were_emitted() {
        let clock = event(SoftwareEvent::CpuClock, Rate::Frequency(Hz(1000)));
        let outcomes = KernelWalkLedger {
            walked: 90,
            left_to_ring: 7,
            no_room_for_count: 1,
            no_room_for_stack: 2,
            foreign: 5000,
        };
        let totals = Totals {
            stack_missing: 3,
            ..Totals::default()
        };
        let seen = |picks_targets| {
            Some(Seen {
                outcomes,
                picks_targets,
            })
        };
        let account = |seen| {
            let earlier = Earlier::default();
            of_event(&clock, &earlier, &totals, &taken(97, 0), 0, seen)
        };
        let ledger = account(seen(true));
        assert_eq!(ledger.emitted, Some(100));
        assert_eq!(ledger.lost, [(LossReason::StackMissing, 3)].into());
        assert_eq!(ledger.kernel_walk, Some(outcomes));
        assert_eq!(account(seen(false)).emitted, Some(0));
    }
}
