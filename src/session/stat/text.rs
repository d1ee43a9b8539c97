//! The table of `perfd stat` for a person.
//!
//! ```text
//! gzip -9 -c big.log (5 runs):
//!
//!         1,234.56 ms  task-clock            0.99 CPUs used           ± 1.2 %
//!        4,000,000     cycles                3.24 GHz                 ± 0.8 %
//!        6,000,000     instructions          1.50 per cycle           ± 0.0 %   (83 % of the time)
//!      not counted     cache-misses
//!
//!            1.247 s   elapsed               median 1.240 s           ± 1.1 %
//! ```

use std::fmt::Write;
use std::time::Duration;

use super::across_runs::{AcrossRuns, EventRuns, TargetRuns, targets};
use super::spec::Over;
use crate::model::{EventSource, HardwareEvent, ProcessCounts};
use crate::stats::Summary;

/// Below this share of the time an event is said to have counted only a part of it.
const WHOLE_TIME: f64 = 0.995;

/// The result of all runs.
pub(super) fn summary(over: &Over, all: &AcrossRuns) -> String {
    let mut text = String::new();
    for target in &all.targets {
        let name = match over.command() {
            Some(command) if target.pid.is_some() || all.targets.len() == 1 => {
                let words = command.iter().map(|word| word.to_string_lossy());
                printable(&words.collect::<Vec<_>>().join(" "))
            }
            _ => target_name(target),
        };
        let runs = match all.n_runs {
            1 => String::new(),
            n => format!(" ({n} runs)"),
        };
        let _ = writeln!(text, "\n{name}{runs}:\n");
        table(&mut text, target, all.elapsed.mean);
    }
    let note = match all.n_runs {
        1 => String::new(),
        _ => format!("median {:.3} s", all.elapsed.median),
    };
    let line = row(
        &format!("{:.3}", all.elapsed.mean),
        "s",
        "elapsed",
        &note,
        &spread(&all.elapsed),
    );
    let _ = writeln!(text, "\n{line}\n");
    text
}

/// The result of one interval.
pub(super) fn interval(since: Duration, until: Duration, counted: &[ProcessCounts]) -> String {
    let mut text = String::new();
    let seconds = until.saturating_sub(since).as_secs_f64();
    for target in targets(&[counted]) {
        let end = until.as_secs_f64();
        let _ = writeln!(text, "{end:.3} s  {}:", target_name(&target));
        table(&mut text, &target, seconds);
    }
    text
}

fn table(text: &mut String, target: &TargetRuns, elapsed_s: f64) {
    for event in &target.events {
        let name = event.event.to_string();
        let Some(value) = &event.value else {
            let _ = writeln!(text, "{}", row("not counted", "", &name, "", ""));
            continue;
        };
        let (number, unit) = if event.is_clock() {
            (hundredths(value.mean / 1e6), "ms")
        } else {
            (occurrences(value), "")
        };
        let note = meaning(event, value.mean, target, elapsed_s);
        let mut ends = spread(value);
        if event.running_share < WHOLE_TIME {
            let _ = write!(
                ends,
                "   ({:.0} % of the time)",
                event.running_share * 100.0
            );
        }
        let _ = writeln!(text, "{}", row(&number, unit, &name, &note, &ends));
    }
}

fn row(number: &str, unit: &str, name: &str, note: &str, ends: &str) -> String {
    let line = format!("  {number:>18} {unit:<3} {name:<24} {note:<26} {ends}");
    line.trim_end().to_owned()
}

/// What the count means beside the others: a ratio where the two were counted at the same times, else a rate.
fn meaning(event: &EventRuns, value: f64, target: &TargetRuns, elapsed_s: f64) -> String {
    let beside = |wanted: HardwareEvent| {
        let other = target.events.iter().find(|other| {
            other.event.source == EventSource::Hardware(wanted)
                && other.group == event.group
                && other.event.modes == event.event.modes
        })?;
        other
            .value
            .map(|value| value.mean)
            .filter(|&value| value > 0.0)
    };
    if event.is_clock() {
        return ratio(value / 1e9, elapsed_s, |cpus| {
            format!("{cpus:.2} CPUs used")
        });
    }
    let per_instruction = matches!(
        event.event.source,
        EventSource::Hardware(
            HardwareEvent::CacheMisses
                | HardwareEvent::BranchMisses
                | HardwareEvent::CacheReferences
        ) | EventSource::Cache(..)
    );
    if event.event.source == EventSource::Hardware(HardwareEvent::Instructions)
        && let Some(cycles) = beside(HardwareEvent::Cycles)
    {
        return format!("{:.2} per cycle", value / cycles);
    }
    if per_instruction && let Some(instructions) = beside(HardwareEvent::Instructions) {
        return format!("{:.2} per 1000 instructions", value / instructions * 1e3);
    }
    if event.event.source == EventSource::Hardware(HardwareEvent::Cycles)
        && let Some(clock) = target.events.iter().find(|other| other.is_clock())
        && let Some(clock) = clock.value
    {
        return ratio(value, clock.mean, |ghz| format!("{ghz:.3} GHz"));
    }
    ratio(value, elapsed_s, rate)
}

/// Nothing where there is nothing to be told.
fn ratio(dividend: f64, divisor: f64, text: impl FnOnce(f64) -> String) -> String {
    if dividend > 0.0 && divisor > 0.0 {
        text(dividend / divisor)
    } else {
        String::new()
    }
}

fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 1e9 => format!("{:.3} G/s", rate / 1e9),
        rate if rate >= 1e6 => format!("{:.3} M/s", rate / 1e6),
        rate if rate >= 1e3 => format!("{:.3} K/s", rate / 1e3),
        rate => format!("{rate:.3} /s"),
    }
}

fn spread(summary: &Summary) -> String {
    match (summary.n, summary.relative_spread()) {
        (1, _) => String::new(),
        (_, Some(spread)) => format!("± {:.1} %", spread * 100.0),
        // A mean of 0 has no relative spread.
        (_, None) => "± 0".to_owned(),
    }
}

fn target_name(target: &TargetRuns) -> String {
    let comm = printable(&target.comm);
    match target.pid {
        Some(pid) => format!("{comm} (pid {pid})"),
        None => comm,
    }
}

/// A target chooses its own name: nothing in it may reach the terminal as a command.
fn printable(name: &str) -> String {
    let shown = |char: char| if char.is_control() { '?' } else { char };
    name.chars().map(shown).collect()
}

/// A mean of few occurrences has a part behind the point.
fn occurrences(value: &Summary) -> String {
    if value.n > 1 && value.mean < 100.0 {
        return format!("{:.1}", value.mean);
    }
    whole(value.mean)
}

fn whole(value: f64) -> String {
    grouped(&format!("{value:.0}"))
}

fn hundredths(value: f64) -> String {
    let text = format!("{value:.2}");
    match text.split_once('.') {
        Some((whole, part)) => format!("{}.{part}", grouped(whole)),
        None => text,
    }
}

/// A comma between groups of three digits.
fn grouped(digits: &str) -> String {
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::measure::Measured;
    use super::*;
    use crate::model::{Count, Pid};

    fn count(event: &str, value: u64, group: usize) -> Count {
        Count {
            event: event.parse().unwrap(),
            value,
            enabled: Duration::from_secs(1),
            running: Duration::from_secs(1),
            group,
        }
    }

    fn measured(counts: Vec<Count>, seconds: u64) -> Measured {
        Measured {
            elapsed: Duration::from_secs(seconds),
            processes: vec![ProcessCounts {
                pid: Some(Pid(42)),
                comm: "evil\x1b[31m".into(),
                counts,
            }],
            status: None,
            interrupted: false,
            notes: Vec::new(),
        }
    }

    fn check(runs: &[Measured], lines: &[&str]) {
        let over = Over::Processes {
            pids: vec![Pid(42)],
            with_tree: false,
        };
        let text = summary(&over, &AcrossRuns::of(runs));
        let squeezed: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|line| !line.is_empty())
            .collect();
        assert_eq!(squeezed, lines, "{text}");
    }

    #[test]
    fn counts_stand_with_what_they_mean() {
        let run = measured(
            vec![
                count("cycles", 3_000_000_000, 0),
                count("instructions", 6_000_000_000, 0),
                count("cache-misses", 12_000_000, 0),
                count("task-clock", 1_500_000_000, 1),
                count("page-faults", 4_000, 1),
            ],
            2,
        );
        check(
            &[run],
            &[
                "evil?[31m (pid 42):",
                "3,000,000,000 cycles 2.000 GHz",
                "6,000,000,000 instructions 2.00 per cycle",
                "12,000,000 cache-misses 2.00 per 1000 instructions",
                "1,500.00 ms task-clock 0.75 CPUs used",
                "4,000 page-faults 2.000 K/s",
                "2.000 s elapsed",
            ],
        );
    }

    #[test]
    fn events_that_took_turns_are_scaled_and_have_no_ratio() {
        let half = Count {
            running: Duration::from_millis(500),
            ..count("instructions", 100, 1)
        };
        let never = Count {
            running: Duration::ZERO,
            ..count("cache-misses", 0, 2)
        };
        check(
            &[measured(vec![count("cycles", 100, 0), half, never], 1)],
            &[
                "evil?[31m (pid 42):",
                "100 cycles 100.000 /s",
                "200 instructions 200.000 /s (50 % of the time)",
                "not counted cache-misses",
                "1.000 s elapsed",
            ],
        );
    }

    #[test]
    fn repeated_runs_show_mean_and_spread() {
        let runs = [(9, 1), (10, 1), (11, 4)]
            .map(|(faults, seconds)| measured(vec![count("page-faults", faults, 0)], seconds));
        check(
            &runs,
            &[
                "evil?[31m (pid 42) (3 runs):",
                "10.0 page-faults 5.000 /s ± 10.0 %",
                "2.000 s elapsed median 1.000 s ± 86.6 %",
            ],
        );
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (value, text) in [
            (0.0, "0"),
            (999.0, "999"),
            (1000.0, "1,000"),
            (1234567.0, "1,234,567"),
        ] {
            assert_eq!(whole(value), text);
        }
        assert_eq!(hundredths(1234.5), "1,234.50");
    }
}
