//! Answers of the daemon as text in columns.

use std::fmt::Write;
use std::time::Duration;

use crate::control::{Listed, ListedTarget, Stats, TargetState};
use crate::model::LossReason;
use crate::sink::encode::figures::n_of;

/// A line for each target, under a heading.
pub(super) fn list(listed: &Listed) -> String {
    let heading = [
        "TARGET", "NAME", "WHAT", "STATE", "OWNER", "EVENTS", "PHASE", "AGE", "SAMPLES", "LOST",
    ];
    let row = |it: &ListedTarget| {
        [
            it.target.to_string(),
            plain(&it.name),
            plain(&it.what.to_string()),
            match it.state {
                TargetState::Running => "running".to_owned(),
                TargetState::Waiting => "waiting".to_owned(),
            },
            it.owner.map_or("-".to_owned(), |uid| uid.to_string()),
            or_dash(plain(&it.events.join(","))),
            it.phase.as_ref().map_or("-".to_owned(), |it| plain(&it.0)),
            age(it.age_ns),
            it.samples.to_string(),
            it.lost.to_string(),
        ]
    };
    let rows: Vec<[String; 10]> = std::iter::once(heading.map(str::to_owned))
        .chain(listed.targets.iter().map(row))
        .collect();
    let widths: Vec<usize> = (0..heading.len())
        .map(|column| {
            let widths = rows.iter().map(|row| row[column].chars().count());
            widths.max().unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text += line.trim_end();
        text.push('\n');
    }
    for it in &listed.targets {
        if let Some(why) = &it.why {
            let _ = writeln!(text, "{} waits: {}", plain(&it.name), plain(why));
        }
    }
    text
}

/// What the daemon does and takes.
pub(super) fn stats(stats: &Stats) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{name:<18} {value}");
    };
    line("perfd", plain(&stats.perfd));
    line("uptime", age(stats.uptime_ns));
    line("cpu", share(stats.cpu_ns, stats.uptime_ns));
    line(
        "bpf",
        stats.bpf_ns.map_or("not measured".to_owned(), |bpf_ns| {
            share(bpf_ns, stats.uptime_ns)
        }),
    );
    let memory = stats.rss_anon_bytes + stats.ring_bytes + stats.bpf_map_bytes;
    line(
        "memory",
        format!(
            "{} ({} own, {} rings, {} BPF maps)",
            mib(memory),
            mib(stats.rss_anon_bytes),
            mib(stats.ring_bytes),
            mib(stats.bpf_map_bytes)
        ),
    );
    line("open files", stats.open_files.to_string());
    line("threads", stats.threads.to_string());
    line("targets", stats.targets.to_string());
    let clients = &stats.clients;
    line(
        "clients",
        format!(
            "{} connected, {} accepted, {} refused, {} too slow",
            clients.connected, clients.accepted, clients.refused, clients.too_slow
        ),
    );
    line(
        "requests",
        format!(
            "{} read, {} malformed, {} too many",
            clients.requests, clients.malformed, clients.too_many_requests
        ),
    );
    line(
        "windows",
        format!(
            "{} sent, {} merged, {} dropped",
            clients.windows_sent, clients.windows_merged, clients.windows_dropped
        ),
    );
    let foreign = LossReason::Foreign.to_string();
    for engine in &stats.engines {
        line(
            &format!("engine {}", engine.engine),
            format!(
                "{}, {}, {}",
                n_of(engine.targets, "target", "targets"),
                n_of(engine.processes, "process", "processes"),
                n_of(engine.stacks, "stack", "stacks")
            ),
        );
        for event in &engine.events {
            let n_foreign = event.lost.get(&foreign).copied().unwrap_or(0);
            let lost = event.lost.values().sum::<i64>() - n_foreign;
            let emitted = event
                .emitted
                .map_or("unknown".to_owned(), |n| n.to_string());
            line(
                &format!("  {}", plain(&event.event)),
                format!(
                    "{emitted} emitted, {} delivered, {n_foreign} of processes that are no targets, {lost} lost",
                    event.delivered
                ),
            );
            for (reason, n) in event
                .lost
                .iter()
                .filter(|(reason, n)| **n != 0 && **reason != foreign)
            {
                line(&format!("    {}", plain(reason)), n.to_string());
            }
        }
    }
    text
}

/// A cell is never empty, so that columns can be told apart by spaces.
fn or_dash(text: String) -> String {
    match text.is_empty() {
        true => "-".to_owned(),
        false => text,
    }
}

/// A text that does nothing but be read: what a terminal would act on is left out.
fn plain(text: &str) -> String {
    text.chars()
        .map(|char| if char.is_control() { '?' } else { char })
        .collect()
}

/// `90061 s` as `1d1h`: the two largest units.
fn age(nanoseconds: u64) -> String {
    let seconds = Duration::from_nanos(nanoseconds).as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h{minutes}m"),
        (days, hours, _) => format!("{days}d{hours}h"),
    }
}

fn share(part_ns: u64, of_ns: u64) -> String {
    let part = Duration::from_nanos(part_ns).as_secs_f64();
    match of_ns {
        0 => format!("{part:.3} s"),
        of_ns => {
            let percent = 100.0 * part / Duration::from_nanos(of_ns).as_secs_f64();
            format!("{part:.3} s ({percent:.2}% of one CPU)")
        }
    }
}

fn mib(bytes: u64) -> String {
    let (whole, tenths) = (bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20);
    format!("{whole}.{tenths} MiB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{EngineFigures, EventFigures, Phase, TargetChoice};

    #[test]
    fn a_list_has_columns_as_wide_as_what_is_in_them() {
        let target = ListedTarget {
            target: 7,
            name: "bench\x1b[31m".to_owned(),
            what: TargetChoice::Pid(4242),
            state: TargetState::Running,
            why: None,
            owner: Some(1000),
            events: vec!["cycles".to_owned(), "instructions".to_owned()],
            phase: Some(Phase("warm-up".to_owned())),
            sequence: 3,
            age_ns: 90_061_000_000_000,
            samples: 100,
            lost: 0,
            tails: 0,
            keep: true,
        };
        let text = list(&Listed {
            targets: vec![target.clone()],
        });
        assert_eq!(
            text,
            "TARGET  NAME        WHAT      STATE    OWNER  EVENTS               PHASE    AGE   SAMPLES  LOST\n\
             7       bench?[31m  pid 4242  running  1000   cycles,instructions  warm-up  1d1h  100      0\n"
        );
        let waits = ListedTarget {
            state: TargetState::Waiting,
            why: Some("no such event".to_owned()),
            ..target
        };
        let text = list(&Listed {
            targets: vec![waits],
        });
        assert!(
            text.ends_with("  0\nbench?[31m waits: no such event\n"),
            "{text}"
        );
        assert_eq!(list(&Listed { targets: vec![] }).lines().count(), 1);
    }

    #[test]
    fn stats_say_what_is_lost_and_why() {
        let event = EventFigures {
            event: "cycles".to_owned(),
            emitted: Some(13),
            delivered: 8,
            lost: [
                ("ring full".to_owned(), 2),
                ("queue full".to_owned(), 0),
                ("foreign process".to_owned(), 3),
            ]
            .into(),
        };
        let text = stats(&Stats {
            uptime_ns: 10_000_000_000,
            cpu_ns: 50_000_000,
            rss_anon_bytes: 3 << 19,
            engines: vec![EngineFigures {
                events: vec![event],
                ..EngineFigures::default()
            }],
            ..Stats::default()
        });
        assert!(text.contains("0.050 s (0.50% of one CPU)"), "{text}");
        assert!(text.contains("1.5 MiB (1.5 MiB own"), "{text}");
        assert!(
            text.contains("13 emitted, 8 delivered, 3 of processes that are no targets, 2 lost"),
            "{text}"
        );
        assert!(!text.contains("foreign process"), "{text}");
        assert!(
            text.contains("ring full") && !text.contains("queue full"),
            "{text}"
        );
    }
}
