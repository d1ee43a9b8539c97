//! The table as text.

use std::io::{self, Write};

use super::table::{Functions, MIN_SHARE};
use crate::model::{
    Count, EventIdx, Rate, Ratio, RatioKind, Refusal, RunInfo, SampledRatio, Unit, Weight,
};
use crate::sink::Measure;
use crate::sink::encode::figures::{estimate, grouped, n_of, percent, plain_duration, safe};

/// What stands in a cell that has nothing to say.
const NONE: &str = "-";

/// A column: its heads, and what its cells hold.
struct Column {
    /// The event, over the first column of several that belong to it.
    event: String,
    head: &'static str,
    width: usize,
}

impl Functions {
    /// Writes what was added.
    pub fn write(&self, run: &RunInfo, out: &mut impl Write) -> io::Result<()> {
        self.write_heads(run, out)?;
        if self.all.iter().all(|weight| weight.samples == 0) {
            return writeln!(out, "no samples");
        }
        let ratios = SampledRatio::of_run(&run.events, &self.accounts);
        let (known, refused): (Vec<_>, Vec<_>) = ratios
            .into_iter()
            .partition(|ratio| ratio.uneven_loss.is_ok());
        let (functions, n_hidden) = self.sorted();
        let mut rows: Vec<(Vec<String>, &str)> = functions
            .iter()
            .map(|function| {
                (
                    self.cells(run, &known, function.own, function.total),
                    function.name,
                )
            })
            .collect();
        let n_functions = rows.len();
        rows.push((self.cells(run, &known, &self.all, &self.all), "all samples"));
        if !self.counts.is_empty() {
            rows.push((self.counted(run, &known), "counted"));
        }
        let columns = self.columns(run, &known, &rows);
        writeln!(out)?;
        write_column_heads(&columns, out)?;
        for (idx, (cells, name)) in rows.iter().enumerate() {
            if idx == n_functions {
                writeln!(out)?;
            }
            for (cell, column) in cells.iter().zip(&columns) {
                let width = column.width;
                write!(out, "{cell:>width$}  ")?;
            }
            writeln!(out, "{name}")?;
        }
        self.write_remarks(run, &known, &refused, n_hidden, out)
    }

    fn write_heads(&self, run: &RunInfo, out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "functions  {}, {}",
            safe(&run.target),
            plain_duration(self.elapsed)
        )?;
        for (event, account) in run.events.iter().zip(&self.accounts) {
            let mut parts = vec![
                safe(&event.spec.to_string()),
                rate(event.rate),
                n_of(account.delivered, "sample", "samples"),
            ];
            if let Some(counted) = account.counted_weight.filter(|counted| *counted > 0) {
                let explained = percent(account.sampled_weight, counted);
                parts.push(format!("{explained} of the count explained"));
            }
            writeln!(out, "event      {}", parts.join(", "))?;
        }
        Ok(())
    }

    /// A column of weights and two of shares for each event, then one for each ratio.
    fn columns(
        &self,
        run: &RunInfo,
        ratios: &[SampledRatio],
        rows: &[(Vec<String>, &str)],
    ) -> Vec<Column> {
        let mut columns = Vec::new();
        for event in &run.events {
            let weight = match (self.view.measure, event.spec.unit()) {
                (Measure::Samples, _) => "samples",
                (Measure::Weight, Unit::Nanoseconds) => "self ms",
                (Measure::Weight, Unit::Occurrences) => "self",
            };
            for (head, event) in [
                (weight, safe(&event.spec.to_string())),
                ("self %", String::new()),
                ("total %", String::new()),
            ] {
                columns.push(Column {
                    event,
                    head,
                    width: 0,
                });
            }
        }
        for ratio in ratios {
            columns.push(Column {
                event: name_of(run, ratio.of),
                head: match ratio.kind {
                    RatioKind::PerCycle => "per cycle",
                    RatioKind::PerThousandInstructions => "per 1k instr",
                    RatioKind::MissRate => "miss %",
                },
                width: 0,
            });
        }
        for (idx, column) in columns.iter_mut().enumerate() {
            let cells = rows.iter().map(|(cells, _)| cells[idx].chars().count());
            let heads = [column.event.chars().count(), column.head.len()];
            column.width = cells.chain(heads).max().unwrap_or(0);
        }
        columns
    }

    fn cells(
        &self,
        run: &RunInfo,
        ratios: &[SampledRatio],
        own: &[Weight],
        total: &[Weight],
    ) -> Vec<String> {
        let mut cells = Vec::new();
        for (idx, event) in run.events.iter().enumerate() {
            let share = |part: &Weight| {
                let share = self.share(part, &self.all[idx]);
                share.map_or(NONE.to_owned(), |share| format!("{:.1}", share * 100.0))
            };
            cells.push(self.weight(self.view.measure.of(&own[idx]), event.spec.unit()));
            cells.push(share(&own[idx]));
            cells.push(share(&total[idx]));
        }
        cells.extend(ratios.iter().map(|ratio| cell(ratio.between(own))));
        cells
    }

    /// What the counters beside the samples say. They count what the samples stand for, so that nothing is there of samples.
    fn counted(&self, run: &RunInfo, ratios: &[SampledRatio]) -> Vec<String> {
        let mut cells = Vec::new();
        for (idx, event) in run.events.iter().enumerate() {
            let count = self
                .count_of(run, EventIdx(idx))
                .and_then(|(_, count)| count.scaled());
            let count = count.filter(|_| self.view.measure == Measure::Weight);
            cells.push(count.map_or(NONE.to_owned(), |count| {
                self.weight(count, event.spec.unit())
            }));
            cells.extend([NONE.to_owned(), NONE.to_owned()]);
        }
        cells.extend(ratios.iter().map(|ratio| {
            let counted = self.count_of(run, ratio.of).and_then(|(at, _)| {
                let of_count = Ratio::of(&self.counts, at);
                of_count
                    .into_iter()
                    .find(|counted| counted.kind == ratio.kind)
            });
            cell(counted)
        }));
        cells
    }

    /// The counter of a sampled event, and its position. Counters are named as they were narrowed.
    fn count_of(&self, run: &RunInfo, event: EventIdx) -> Option<(usize, &Count)> {
        let event = run.events.get(event.0)?;
        let is_of_event = |count: &Count| {
            count.event.source == event.spec.source && count.event.modes == event.modes
        };
        self.counts
            .iter()
            .enumerate()
            .find(|(_, count)| is_of_event(count))
    }

    fn weight(&self, weight: u64, unit: Unit) -> String {
        match (self.view.measure, unit) {
            (Measure::Weight, Unit::Nanoseconds) => {
                format!(
                    "{}.{:03}",
                    grouped(weight / 1_000_000),
                    weight / 1000 % 1000
                )
            }
            _ => grouped(weight),
        }
    }

    fn write_remarks(
        &self,
        run: &RunInfo,
        known: &[SampledRatio],
        refused: &[SampledRatio],
        n_hidden: usize,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let mut remarks = Vec::new();
        if n_hidden > 0 {
            remarks.push(format!(
                "left out: {} with less than {:.1} % of every event",
                n_of(n_hidden as u64, "function", "functions"),
                MIN_SHARE * 100.0
            ));
        }
        if !known.is_empty() {
            remarks.push(String::from(
                "ratios of self weights ± one standard error; - where an event has samples worth less than 30",
            ));
        }
        remarks.extend(refused.iter().filter_map(|ratio| refusal(run, ratio)));
        let counts = (0..run.events.len()).filter_map(|idx| self.count_of(run, EventIdx(idx)));
        for (_, count) in counts.filter(|(_, count)| !count.ran_all_the_time()) {
            let event = safe(&count.event.to_string());
            remarks.push(match count.scaled() {
                Some(_) => {
                    let share = count.running_share() * 100.0;
                    format!("counted {event}: an estimate, counted {share:.1} % of the time")
                }
                None => format!("{event} was not counted: it never had its turn on the PMU"),
            });
        }
        if !remarks.is_empty() {
            writeln!(out)?;
        }
        remarks
            .iter()
            .try_for_each(|remark| writeln!(out, "{remark}"))
    }
}

/// The events over their columns, then what each column is.
fn write_column_heads(columns: &[Column], out: &mut impl Write) -> io::Result<()> {
    let line = |head: fn(&Column) -> &str| -> String {
        let heads = columns.iter().map(|column| {
            let (head, width) = (head(column), column.width);
            format!("{head:>width$}  ")
        });
        heads.collect()
    };
    writeln!(out, "{}", line(|column| &column.event).trim_end())?;
    writeln!(out, "{}function", line(|column| column.head))
}

/// `1.52±0.04`: one word.
fn cell(ratio: Option<Ratio>) -> String {
    let Some(ratio) = ratio else {
        return NONE.to_owned();
    };
    match estimate(&ratio) {
        (value, Some(error)) => format!("{value}±{error}"),
        (value, None) => value,
    }
}

fn rate(rate: Rate) -> String {
    match rate {
        Rate::Frequency(hz) => hz.to_string(),
        Rate::Period(period) => format!("every {}", grouped(period)),
    }
}

fn name_of(run: &RunInfo, event: EventIdx) -> String {
    run.events
        .get(event.0)
        .map_or_else(String::new, |event| safe(&event.spec.to_string()))
}

/// Why the run has no such ratio.
fn refusal(run: &RunInfo, ratio: &SampledRatio) -> Option<String> {
    let (of, by) = (name_of(run, ratio.of), name_of(run, ratio.by));
    let reason = match ratio.uneven_loss.err()? {
        Refusal::Modes => format!("{of} and {by} were not sampled in the same modes"),
        Refusal::NeverRan(event) => format!("{} never ran", name_of(run, event)),
        Refusal::Turns(event, share) => format!(
            "{} shared the PMU in turns with other events and ran {:.1} % of the time",
            name_of(run, event),
            share * 100.0
        ),
    };
    let name = match ratio.kind {
        RatioKind::PerCycle => format!("{of} per cycle"),
        RatioKind::PerThousandInstructions => format!("{of} per 1,000 instructions"),
        RatioKind::MissRate => format!("miss rate of {of}"),
    };
    Some(format!("no {name}: {reason}"))
}
