//! What `perfd stat` says to a person.
//!
//! One run or interval is the table of every report (`report::write_counters`). Several runs have a table of their own, in which
//! spread takes the place of rates. A ratio is the mean of the runs' own ratios ± the standard error of that mean:
//!
//! ```text
//! counters  gzip -9 -c big.log, 5 runs; mean ± standard deviation, of ratios ± standard error
//!   1,234.560 ms  task-clock    ± 1.2 %
//!      4,000,000  cycles        ± 0.8 %
//!      6,000,000  instructions  ± 0.0 %  1.50 ± 0.02 per cycle
//!  <not counted>  cache-misses
//!        1.247 s  elapsed       ± 1.1 %  median 1.240 s
//! ```

use std::time::Duration;

use super::across_runs::{AcrossRuns, EventRuns};
use super::measure::Measured;
use super::spec::Over;
use crate::model::{ProcessCounts, Ratio, Unit};
use crate::session::report::{grouped, ratio, safe, write_counters};
use crate::stats::Summary;

/// The result of all runs.
pub(super) fn summary(over: &Over, runs: &[Measured]) -> String {
    let mut text = String::new();
    match runs {
        [run] => tables(&mut text, &run.processes, run.elapsed),
        runs => spreads(&mut text, over, &AcrossRuns::of(runs)),
    }
    text
}

/// The result of one interval, under the time at which it ended.
pub(super) fn interval(since: Duration, until: Duration, counted: &[ProcessCounts]) -> String {
    let mut text = format!("at {:.3} s\n", until.as_secs_f64());
    tables(&mut text, counted, until.saturating_sub(since));
    text
}

fn tables(text: &mut String, processes: &[ProcessCounts], elapsed: Duration) {
    write_counters(processes, elapsed, text).expect("a string takes all that is written");
}

fn spreads(text: &mut String, over: &Over, all: &AcrossRuns) {
    let n_runs = all.n_runs;
    for target in &all.targets {
        let title = match over {
            Over::Command(command) => {
                let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
                safe(&words.join(" "))
            }
            _ if target.pid.is_none() => String::from("whole host"),
            _ => safe(&target.comm),
        };
        let mut rows: Vec<[String; 4]> = target.events.iter().map(event_row).collect();
        rows.push([
            seconds(all.elapsed.mean),
            String::from("elapsed"),
            spread(&all.elapsed),
            format!("median {}", seconds(all.elapsed.median)),
        ]);
        let width = |column: usize| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let (w_count, w_name, w_spread) = (width(0), width(1), width(2));
        text.push_str(&format!(
            "counters  {title}, {n_runs} runs; mean ± standard deviation, of ratios ± standard error\n"
        ));
        for [count, name, spread, note] in &rows {
            let row = format!("  {count:>w_count$}  {name:<w_name$}  {spread:<w_spread$}  {note}");
            text.push_str(row.trim_end());
            text.push('\n');
        }
    }
}

/// Count, name, spread, and what else is to be said.
fn event_row(event: &EventRuns) -> [String; 4] {
    let name = safe(&event.event.to_string());
    let Some(value) = &event.value else {
        let not_counted = String::from("<not counted>");
        return [not_counted, name, String::new(), String::new()];
    };
    let count = match event.event.unit() {
        Unit::Nanoseconds => format!("{} ms", decimal(value.mean / 1e6, 3)),
        // A mean of few occurrences has a part behind the point.
        Unit::Occurrences if value.mean < 100.0 => decimal(value.mean, 1),
        Unit::Occurrences => decimal(value.mean, 0),
    };
    let ratios = event.ratios.iter().map(|(kind, summary)| {
        let of_runs = Ratio {
            kind: *kind,
            value: summary.mean,
            error: summary.error_of_mean(),
        };
        ratio(&event.event.source, &of_runs)
    });
    let share = (!event.ran_all_the_time).then(|| {
        let percent = event.running_share * 100.0;
        format!("estimate, counted {percent:.1} % of the time")
    });
    let note: Vec<String> = ratios.chain(share).collect();
    [count, name, spread(value), note.join("; ")]
}

fn spread(summary: &Summary) -> String {
    match summary.relative_spread() {
        Some(spread) => format!("± {:.1} %", spread * 100.0),
        None if summary.n > 1 => String::from("± 0"),
        None => String::new(),
    }
}

/// `1.247 s`; below a second `12.345 ms`, as clocks have it.
fn seconds(seconds: f64) -> String {
    match seconds < 1.0 {
        true => format!("{} ms", decimal(seconds * 1e3, 3)),
        false => format!("{} s", decimal(seconds, 3)),
    }
}

/// With so many digits behind the point, and commas before it.
fn decimal(value: f64, n_digits: usize) -> String {
    let text = format!("{value:.n_digits$}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    // A count far beyond the range of i128 does not exist, but a text is shown for it all the same.
    let whole = whole.parse::<i128>().map_or(whole.to_owned(), grouped);
    match part {
        "" => whole,
        part => format!("{whole}.{part}"),
    }
}

#[cfg(test)]
mod tests {
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
                comm: "x".into(),
                counts,
            }],
            status: None,
            interrupted: false,
            notes: Vec::new(),
        }
    }

    fn check(runs: &[Measured], expected: &str) {
        let over = Over::Command(vec!["evil\x1b[31m".into(), "-9".into()]);
        let text = summary(&over, runs);
        let expected: Vec<&str> = expected.lines().collect();
        assert_eq!(text.lines().collect::<Vec<_>>(), expected, "{text}");
    }

    #[test]
    fn several_runs_show_mean_spread_and_ratio() {
        let run = |faults, clock, seconds| {
            let counts = vec![
                count("cycles", 2_000_000, 0),
                count("instructions", 3_000_000, 0),
                count("page-faults", faults, 1),
                count("task-clock", clock, 1),
            ];
            measured(counts, seconds)
        };
        check(
            &[
                run(9, 1_000_000, 1),
                run(10, 1_200_000, 1),
                run(11, 1_100_000, 4),
            ],
            "counters  evil\\x1b[31m -9, 3 runs; mean ± standard deviation, of ratios ± standard error
  2,000,000  cycles        ± 0.0 %
  3,000,000  instructions  ± 0.0 %   1.50 ± 0.00 per cycle
       10.0  page-faults   ± 10.0 %  0.0033 ± 0.0002 per 1,000 instructions
   1.100 ms  task-clock    ± 9.1 %
    2.000 s  elapsed       ± 86.6 %  median 1.000 s",
        );
    }

    #[test]
    fn events_that_took_turns_are_estimates_and_those_that_never_ran_are_not_counted() {
        let run = || {
            let half = Count {
                running: Duration::from_millis(500),
                ..count("instructions", 100, 1)
            };
            let never = Count {
                running: Duration::ZERO,
                ..count("cache-misses", 0, 2)
            };
            measured(vec![half, never], 1)
        };
        check(
            &[run(), run()],
            "counters  evil\\x1b[31m -9, 2 runs; mean ± standard deviation, of ratios ± standard error
            200  instructions  ± 0.0 %  estimate, counted 50.0 % of the time
  <not counted>  cache-misses
        1.000 s  elapsed       ± 0.0 %  median 1.000 s",
        );
    }

    #[test]
    fn numbers_keep_their_digits_and_get_commas() {
        for (value, n_digits, text) in [
            (0.0, 0, "0"),
            (999.0, 0, "999"),
            (1_234_567.0, 0, "1,234,567"),
            (1234.5, 3, "1,234.500"),
        ] {
            assert_eq!(decimal(value, n_digits), text);
        }
    }
}
