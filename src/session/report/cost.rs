//! What perfd itself took, as one line: only what was measured; and what unwind tables had no room for.

use std::fmt::{self, Write};
use std::time::Duration;

use super::ledger::write_remark;
use super::{grouped, n_of, percent, plain_duration};
use crate::bpf::MAX_MODULES;
use crate::model::{BpfCost, Cost, Ledger, TableCost};

/// `cost     perfd 0.8 % of a CPU, 25 MB; BPF 1.2 % of a CPU: 2.1 µs a sample, 3.4 MB of tables, 24 MB of maps`
pub(super) fn write_cost(cost: &Cost, ledger: &Ledger, out: &mut impl Write) -> fmt::Result {
    let of_cpu = |ns| format!("{} of a CPU", percent(ns, cost.elapsed_ns));
    write!(out, "cost     perfd {}", of_cpu(cost.cpu_ns))?;
    if let Some(bytes) = cost.peak_memory_bytes {
        write!(out, ", {}", megabytes(bytes))?;
    }
    if let Some(bpf) = &cost.bpf {
        let mut parts = Vec::new();
        if let Some(time) = bpf.time {
            let average = time.sample_ns.checked_div(time.samples);
            let average = average.map(|ns| {
                let average = plain_duration(Duration::from_nanos(ns));
                format!(": {average} a sample{}", with_bystanders(ledger))
            });
            parts.push(of_cpu(time.total_ns()) + &average.unwrap_or_default());
        }
        parts.extend(memory(bpf));
        write!(out, "; BPF {}", parts.join(", "))?;
    }
    writeln!(out)?;
    write_want_of_room(&cost.tables, out)
}

/// What did not fit into the memory that tables may take.
fn write_want_of_room(tables: &TableCost, out: &mut impl Write) -> fmt::Result {
    if tables.evicted + tables.refused > 0 {
        let what = format!(
            "{} of unwind tables made room for others, {} found none ({} taken): samples that need one go through the ring until it is there again",
            n_of(tables.evicted, "copy", "copies"),
            grouped(tables.refused),
            megabytes(tables.bytes),
        );
        write_remark(&what, Some("fewer processes at a time"), out)?;
    }
    if tables.beyond_kernel > 0 {
        let what = format!(
            "{} beyond the {} that the kernel's walk can name: their samples go through the ring",
            n_of(tables.beyond_kernel, "file", "files"),
            grouped(MAX_MODULES as u64),
        );
        write_remark(&what, Some("perfd anew"), out)?;
    }
    Ok(())
}

/// On whole CPUs the programs see everybody's samples.
fn with_bystanders(ledger: &Ledger) -> &'static str {
    let walks = ledger.events.iter().filter_map(|event| event.kernel_walk);
    match walks.map(|walk| walk.foreign).sum() {
        0u64 => "",
        _ => ", those of bystanders included",
    }
}

fn memory(bpf: &BpfCost) -> impl Iterator<Item = String> {
    let tables = format!("{} of tables", megabytes(bpf.table_bytes));
    let maps = bpf.map_bytes;
    let maps = maps.map(|bytes| format!("{} of maps", megabytes(bytes)));
    std::iter::once(tables).chain(maps)
}

/// `3.4 MB`, `25 MB`.
fn megabytes(bytes: u64) -> String {
    let tenths = (bytes + 50_000) / 100_000;
    match tenths {
        100.. => format!("{} MB", super::grouped((tenths + 5) / 10)),
        _ => format!("{}.{} MB", tenths / 10, tenths % 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BpfTime;

    fn check(cost: &Cost, expected: &str) {
        let mut line = String::new();
        write_cost(cost, &Ledger::default(), &mut line).unwrap();
        assert_eq!(line, format!("cost     perfd {expected}\n"));
    }

    #[test]
    fn what_was_not_measured_is_not_in_the_line() {
        let perfd = Cost {
            elapsed_ns: 2_000_000_000,
            cpu_ns: 16_000_000,
            ..Cost::default()
        };
        check(&perfd, "0.8 % of a CPU");
        let in_kernel = |time| Cost {
            peak_memory_bytes: Some(25_400_000),
            bpf: Some(BpfCost {
                time,
                map_bytes: None,
                table_bytes: 3_440_000,
            }),
            ..perfd.clone()
        };
        let unmeasured = "0.8 % of a CPU, 25 MB; BPF 3.4 MB of tables";
        check(&in_kernel(None), unmeasured);
        let none_yet = "0.8 % of a CPU, 25 MB; BPF 0.0 % of a CPU, 3.4 MB of tables";
        check(&in_kernel(Some(BpfTime::default())), none_yet);
        let time = BpfTime {
            sample_ns: 21_000_000,
            samples: 10_000,
            mapping_ns: 3_000_000,
            mappings: 7,
        };
        let measured =
            "0.8 % of a CPU, 25 MB; BPF 1.2 % of a CPU: 2.1 µs a sample, 3.4 MB of tables";
        check(&in_kernel(Some(time)), measured);
    }

    #[test]
    fn tables_are_spoken_of_when_they_had_no_room() {
        let tables = |tables| {
            let cost = Cost {
                elapsed_ns: 1,
                tables,
                ..Cost::default()
            };
            let mut text = String::new();
            write_cost(&cost, &Ledger::default(), &mut text).unwrap();
            text
        };
        let enough = TableCost {
            built: 20,
            shared: 4,
            bytes: 26_000_000,
            ..TableCost::default()
        };
        assert_eq!(tables(enough).lines().count(), 1);
        let text = tables(TableCost {
            evicted: 1,
            refused: 1200,
            bytes: 511_700_000,
            ..enough
        });
        let expected =
            "  1 copy of unwind tables made room for others, 1,200 found none (512 MB taken): ";
        assert!(text.contains(expected), "{text}");
        let text = tables(TableCost {
            beyond_kernel: 2,
            ..enough
        });
        let expected = "  2 files beyond the 65,536 that the kernel's walk can name: ";
        assert!(text.contains(expected), "{text}");
    }
}
