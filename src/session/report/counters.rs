//! The counters as a table: count, event, rate, ratio, and how much of the time was counted.

use std::fmt::{self, Write};
use std::time::Duration;

use super::{grouped, per_second, plain_duration, ratio, safe};
use crate::model::{Count, EventSource, ProcessCounts, Ratio, SoftwareEvent, Unit, total};

/// Processes that have a table of their own; a build that forks thousands has one total.
const MAX_TABLES: usize = 16;

/// Writes a table for each process, and one for all of them together if they are several.
///
/// Rates are per second of CPU time where `task-clock` was counted too, else per second that passed. A ratio stands
/// there only for events that ran together; an event that never ran is `<not counted>`.
pub fn write_counters(
    processes: &[ProcessCounts],
    elapsed: Duration,
    out: &mut impl Write,
) -> fmt::Result {
    let mut tables: Vec<Table> = processes
        .iter()
        .filter(|process| !process.counts.is_empty())
        .take(MAX_TABLES)
        .map(|process| Table::new(title(process), &process.counts, elapsed))
        .collect();
    let hidden = processes.len().saturating_sub(MAX_TABLES);
    if processes.len() > 1 {
        let title = format!("all {} processes", processes.len());
        tables.push(Table::new(title, &total(processes), elapsed));
    }
    let widths = widths(&tables);
    let last = tables.len().saturating_sub(1);
    for (idx, table) in tables.iter().enumerate() {
        if idx == last && hidden > 0 {
            writeln!(
                out,
                "counters  {hidden} more processes: in the total, and one by one in JSON"
            )?;
        }
        writeln!(out, "counters  {}", table.title)?;
        for line in &table.lines {
            line.write(&widths, out)?;
        }
    }
    Ok(())
}

struct Table {
    title: String,
    lines: Vec<Line>,
}

/// The cells of one event.
struct Line {
    count: String,
    event: String,
    rate: String,
    ratio: String,
    share: String,
}

fn title(process: &ProcessCounts) -> String {
    match process.pid {
        Some(pid) => format!("{} (pid {pid})", safe(&process.comm)),
        None => String::from("whole host"),
    }
}

impl Table {
    fn new(title: String, counts: &[Count], elapsed: Duration) -> Table {
        let cpu_time = counts
            .iter()
            .find(|count| count.event.source == EventSource::Software(SoftwareEvent::TaskClock))
            .and_then(Count::scaled)
            .filter(|nanos| *nanos > 0)
            .map(Duration::from_nanos);
        let per = match cpu_time {
            Some(_) => " of CPU time",
            None => "",
        };
        Table {
            title: format!(
                "{title}, {}; rates per second{per}",
                plain_duration(elapsed)
            ),
            lines: (0..counts.len())
                .map(|idx| Line::new(counts, idx, elapsed, cpu_time.unwrap_or(elapsed)))
                .collect(),
        }
    }
}

impl Line {
    fn new(counts: &[Count], idx: usize, elapsed: Duration, per: Duration) -> Line {
        let count = &counts[idx];
        let Some(scaled) = count.scaled() else {
            return Line {
                count: String::from("<not counted>"),
                event: safe(&count.event.to_string()),
                rate: String::new(),
                ratio: String::new(),
                share: String::new(),
            };
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
        let number = scaled as f64;
        let (text, rate) = match count.event.unit() {
            Unit::Nanoseconds => (
                format!(
                    "{}.{:03} ms",
                    grouped(scaled / 1_000_000),
                    scaled / 1000 % 1000
                ),
                quotient(number / 1e9, elapsed).map(|cpus| format!("{cpus:.3} CPUs")),
            ),
            Unit::Occurrences => (grouped(scaled), quotient(number, per).map(per_second)),
        };
        let ratios: Vec<String> = Ratio::of(counts, idx)
            .iter()
            .map(|of_count| ratio(&count.event.source, of_count))
            .collect();
        Line {
            count: text,
            event: safe(&count.event.to_string()),
            rate: rate.unwrap_or_default(),
            ratio: ratios.join(", "),
            share: match count.ran_all_the_time() {
                false => format!(
                    "estimate, counted {:.1} % of the time",
                    count.running_share() * 100.0
                ),
                true => String::new(),
            },
        }
    }

    fn cells(&self) -> [&str; 5] {
        [
            &self.count,
            &self.event,
            &self.rate,
            &self.ratio,
            &self.share,
        ]
    }

    fn write(&self, widths: &[usize; 5], out: &mut impl Write) -> fmt::Result {
        let [count, event, rate, ratio, share] = self.cells();
        let [w_count, w_event, w_rate, w_ratio, _] = *widths;
        let line = format!(
            "  {count:>w_count$}  {event:<w_event$}  {rate:>w_rate$}  {ratio:<w_ratio$}  {share}"
        );
        writeln!(out, "{}", line.trim_end())
    }
}

fn quotient(number: f64, time: Duration) -> Option<f64> {
    (!time.is_zero()).then(|| number / time.as_secs_f64())
}

fn widths(tables: &[Table]) -> [usize; 5] {
    let mut widths = [0; 5];
    for line in tables.iter().flat_map(|table| &table.lines) {
        for (width, cell) in widths.iter_mut().zip(line.cells()) {
            *width = (*width).max(cell.chars().count());
        }
    }
    widths
}
