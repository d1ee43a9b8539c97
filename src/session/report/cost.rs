//! What perfd itself took, as one line: only what was measured.

use std::fmt::{self, Write};
use std::time::Duration;

use super::{percent, plain_duration};
use crate::model::{BpfCost, Cost, Ledger};

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
    writeln!(out)
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
}
