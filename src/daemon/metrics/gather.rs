//! The figures: from the registry, the engines, the clients, the files and the process itself.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::engines::{EngineId, Way};
use super::super::files::Figures;
use super::super::registry::Registry;
use super::super::target::Totals;
use super::text::{Kind, Text};
pub use crate::control::ClientFigures;
use crate::control::{EngineFigures, EventFigures, Stats};
use crate::model::{LossReason, MonoNs, Pid};
use crate::parser::Children;
use crate::procfs::{SysRoots, memory, tasks};
use crate::session::engine::EngineStats;
use crate::sys;

/// Whom figures come from.
#[derive(Debug)]
pub struct Sources<'a> {
    /// Targets and engines.
    pub registry: &'a Registry,
    /// Connections.
    pub clients: ClientFigures,
    /// Files, if windows are kept in such.
    pub files: Option<&'a Figures>,
    /// Living children that read foreign files, if there may be some.
    pub children: Option<&'a Children>,
    /// Where `/proc` is.
    pub roots: &'a SysRoots,
    /// When the daemon began.
    pub started: MonoNs,
}

impl Sources<'_> {
    /// The answer to `stats`.
    pub fn stats(&self) -> Stats {
        let engines = self.registry.engines();
        let proc_root = &self.roots.proc;
        let own = Pid(std::process::id());
        Stats {
            perfd: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_ns: nanos(sys::now().since(self.started)),
            cpu_ns: self.cpu_ns(),
            bpf_ns: self.bpf_ns(&engines),
            rss_anon_bytes: self.rss_anon_bytes(),
            ring_bytes: engines.iter().map(|(_, _, stats)| stats.ring_bytes).sum(),
            bpf_map_bytes: engines.iter().map(|(_, _, stats)| map_bytes(stats)).sum(),
            open_files: memory::open_files_of_self(proc_root),
            threads: tasks::threads(proc_root, own).map_or(0, |threads| threads.len() as u64),
            targets: self.registry.targets().count() as u64,
            clients: self.clients,
            engines: engines
                .iter()
                .map(|(engine, _, stats)| EngineFigures {
                    engine: engine.0,
                    targets: stats.targets as u64,
                    processes: stats.processes as u64,
                    stacks: stats.stacks as u64,
                    events: events(&self.registry.events_of(*engine), stats),
                })
                .collect(),
        }
    }

    /// Of all engines, those that have ended too. It never falls.
    fn bpf_ns(&self, running: &[(EngineId, &Way, EngineStats)]) -> Option<u64> {
        let of = |stats: &EngineStats| Some(stats.cost.bpf?.time?.total_ns());
        let running = sum_of_known(running.iter().map(|(_, _, stats)| of(stats)));
        match (running, self.registry.past_bpf_ns()) {
            (Some(running), past) => Some(running + past.unwrap_or(0)),
            (None, past) => past,
        }
    }

    /// Of all that perfd is: its own, that of children that have ended, and of those that live. It never falls.
    fn cpu_ns(&self) -> u64 {
        let of = |child: &Pid| tasks::cpu_time(&self.roots.proc, *child).map_or(0, nanos);
        let own = sys::cpu_time_of_process();
        let of_children = match self.children {
            Some(children) => children.look(|living| {
                let living: u64 = living.iter().map(of).sum();
                living + sys::cpu_time_of_ended_children()
            }),
            None => sys::cpu_time_of_ended_children(),
        };
        own + of_children
    }

    fn rss_anon_bytes(&self) -> u64 {
        let proc_root = &self.roots.proc;
        let of = |child: &Pid| memory::anonymous_of(proc_root, *child).unwrap_or(0);
        let of_children = |children: &Children| children.look(|living| living.iter().map(of).sum());
        let own = memory::anonymous_of_self(proc_root).unwrap_or(0);
        own + self.children.map_or(0, of_children)
    }

    /// The text of the metrics.
    pub fn text(&self) -> String {
        let stats = self.stats();
        let mut text = Text::default();
        self.of_process(&stats, &mut text);
        self.of_samples(&mut text);
        self.of_targets(&mut text);
        of_clients(&stats.clients, &mut text);
        if let Some(files) = self.files {
            of_files(files, &mut text);
        }
        text.finish()
    }

    fn of_process(&self, stats: &Stats, text: &mut Text) {
        let mut info = text.metric("perfd_build_info", Kind::Gauge, "The version of perfd.");
        info.figure(&[("version", &stats.perfd)], 1);
        let gauges = [
            (
                "perfd_uptime_seconds",
                "Time since perfd was started.",
                seconds(stats.uptime_ns),
            ),
            (
                "perfd_rss_anon_bytes",
                "Memory of perfd and its children (RssAnon).",
                stats.rss_anon_bytes.to_string(),
            ),
            (
                "perfd_ring_bytes",
                "Memory of the kernel's rings.",
                stats.ring_bytes.to_string(),
            ),
            (
                "perfd_bpf_map_bytes",
                "Memory of the maps of BPF programs.",
                stats.bpf_map_bytes.to_string(),
            ),
            (
                "perfd_open_files",
                "Open descriptors.",
                stats.open_files.to_string(),
            ),
            ("perfd_threads", "Threads.", stats.threads.to_string()),
            (
                "perfd_engines",
                "Different samplings in use.",
                stats.engines.len().to_string(),
            ),
        ];
        for (name, help, value) in gauges {
            text.one(name, Kind::Gauge, help, value);
        }
        text.one(
            "perfd_cpu_seconds_total",
            Kind::Counter,
            "CPU time of perfd and its children.",
            seconds(stats.cpu_ns),
        );
        if let Some(bpf_ns) = stats.bpf_ns {
            let help = "CPU time of the BPF programs, in what they run in.";
            text.one(
                "perfd_bpf_seconds_total",
                Kind::Counter,
                help,
                seconds(bpf_ns),
            );
        }
    }

    /// Of all engines, those that have ended too.
    fn of_samples(&self, text: &mut Text) {
        let mut all: BTreeMap<String, EventFigures> = BTreeMap::new();
        let mut lost: BTreeMap<(String, LossReason), i64> = BTreeMap::new();
        let running = self.registry.engines();
        let running = running
            .iter()
            .map(|(engine, _, stats)| (self.registry.events_of(*engine), stats));
        let past = self.registry.past().iter();
        let past = past.map(|(events, stats)| (events.clone(), stats));
        for (names, stats) in running.chain(past) {
            for (name, ledger) in names.iter().zip(&stats.ledger.events) {
                let of_event = all.entry(name.clone()).or_default();
                of_event.delivered += ledger.delivered;
                if let Some(emitted) = ledger.emitted {
                    *of_event.emitted.get_or_insert(0) += emitted;
                }
                for (reason, n) in &ledger.lost {
                    *lost.entry((name.clone(), *reason)).or_default() += n;
                }
            }
        }
        let help = "Samples in windows of at least one target.";
        let mut metric = text.metric("perfd_samples_total", Kind::Counter, help);
        for (event, figures) in &all {
            metric.figure(&[("event", event)], figures.delivered);
        }
        let help = "Samples that the events' counts ask for; of events whose period the kernel changes it is not known.";
        let mut metric = text.metric("perfd_samples_emitted_total", Kind::Counter, help);
        for (event, figures) in &all {
            if let Some(emitted) = figures.emitted {
                metric.figure(&[("event", event)], emitted);
            }
        }
        let help = "Samples of processes that are no target's, which events of whole CPUs take too: passed over.";
        let mut metric = text.metric("perfd_samples_foreign_total", Kind::Counter, help);
        for ((event, reason), n) in &lost {
            if *reason == LossReason::Foreign {
                metric.figure(&[("event", event)], (*n).max(0));
            }
        }
        let help = "Samples lost, by reason.";
        let mut metric = text.metric("perfd_samples_lost_total", Kind::Counter, help);
        for ((event, reason), n) in &lost {
            if !matches!(reason, LossReason::NotRaised | LossReason::Foreign) {
                metric.figure(
                    &[("event", event), ("reason", &reason.to_string())],
                    (*n).max(0),
                );
            }
        }
        let help = "Samples that the kernel did not raise: late and merged timer ticks, throttling. May go down.";
        let mut metric = text.metric("perfd_samples_not_raised", Kind::Gauge, help);
        for ((event, reason), n) in &lost {
            if *reason == LossReason::NotRaised {
                metric.figure(&[("event", event)], n);
            }
        }
    }

    fn of_targets(&self, text: &mut Text) {
        let targets = || self.registry.targets();
        let n_running = targets().filter(|target| target.is_running()).count();
        let mut metric = text.metric("perfd_targets", Kind::Gauge, "Targets, by state.");
        metric.figure(&[("state", "running")], n_running);
        metric.figure(&[("state", "waiting")], targets().count() - n_running);
        let mut figures = |name: &str, help: &str, value: fn(&Totals) -> u64| {
            let mut metric = text.metric(name, Kind::Counter, help);
            for target in targets() {
                let number = target.id().0.to_string();
                let labels = [("target", target.name()), ("id", &number)];
                metric.figure(&labels, value(target.totals()));
            }
        };
        figures(
            "perfd_target_samples_total",
            "Samples of a target.",
            |totals| totals.samples,
        );
        let help = "Samples lost whose loss is known to be a target's.";
        figures("perfd_target_lost_total", help, |totals| totals.lost);
        figures(
            "perfd_target_windows_total",
            "Windows of a target.",
            |totals| totals.windows,
        );
        let help = "What a target has counted: events, nanoseconds for clocks; scaled where the PMU's counters were shared in turns.";
        let mut metric = text.metric("perfd_target_counted_total", Kind::Counter, help);
        for target in targets() {
            let number = target.id().0.to_string();
            for (event, counted) in &target.totals().counted {
                let labels = [("target", target.name()), ("id", &number), ("event", event)];
                metric.figure(&labels, counted);
            }
        }
    }
}

fn of_clients(clients: &ClientFigures, text: &mut Text) {
    text.one(
        "perfd_clients",
        Kind::Gauge,
        "Connections to the control socket.",
        clients.connected,
    );
    let counters = [
        (
            "perfd_clients_accepted_total",
            "Connections taken.",
            clients.accepted,
        ),
        (
            "perfd_clients_refused_total",
            "Connections refused by a limit.",
            clients.refused,
        ),
        (
            "perfd_accept_paused_total",
            "Times that no connection could be taken for want of descriptors.",
            clients.accept_paused,
        ),
        ("perfd_requests_total", "Requests read.", clients.requests),
        (
            "perfd_requests_malformed_total",
            "Lines that were no request.",
            clients.malformed,
        ),
        (
            "perfd_requests_too_many_total",
            "Requests refused because their client sends too many.",
            clients.too_many_requests,
        ),
        (
            "perfd_windows_sent_total",
            "Windows sent to clients.",
            clients.windows_sent,
        ),
        (
            "perfd_windows_merged_total",
            "Windows put together because a client was behind.",
            clients.windows_merged,
        ),
        (
            "perfd_windows_dropped_total",
            "Windows that a client never got.",
            clients.windows_dropped,
        ),
        (
            "perfd_clients_too_slow_total",
            "Clients disconnected because they took nothing.",
            clients.too_slow,
        ),
        (
            "perfd_clients_half_sent_total",
            "Clients disconnected in the middle of a request.",
            clients.half_sent,
        ),
    ];
    for (name, help, value) in counters {
        text.one(name, Kind::Counter, help, value);
    }
}

fn of_files(files: &Figures, text: &mut Text) {
    let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    text.one(
        "perfd_files_bytes",
        Kind::Gauge,
        "Bytes that the files of windows take.",
        read(&files.bytes),
    );
    let help = "Bytes of stacks that wait to be written.";
    text.one(
        "perfd_files_pending_bytes",
        Kind::Gauge,
        help,
        read(&files.pending_bytes),
    );
    let counters = [
        (
            "perfd_files_written_total",
            "Files written.",
            &files.written,
        ),
        (
            "perfd_files_removed_total",
            "Files taken away by age or size.",
            &files.removed,
        ),
        (
            "perfd_files_failures_total",
            "Times that writing or removing files began to fail.",
            &files.failures,
        ),
        (
            "perfd_files_windows_merged_total",
            "Windows put together because the disk was slow.",
            &files.merged,
        ),
        (
            "perfd_files_windows_dropped_total",
            "Windows that are in no file because the disk was too slow.",
            &files.dropped,
        ),
    ];
    for (name, help, figure) in counters {
        text.one(name, Kind::Counter, help, read(figure));
    }
}

fn events(names: &[String], stats: &EngineStats) -> Vec<EventFigures> {
    let events = names.iter().zip(&stats.ledger.events);
    let figures = events.map(|(event, ledger)| EventFigures {
        event: event.clone(),
        emitted: ledger.emitted,
        delivered: ledger.delivered,
        lost: ledger
            .lost
            .iter()
            .map(|(reason, n)| (reason.to_string(), *n))
            .collect(),
    });
    figures.collect()
}

fn map_bytes(stats: &EngineStats) -> u64 {
    stats
        .cost
        .bpf
        .map_or(0, |bpf| bpf.map_bytes.unwrap_or(0) + bpf.table_bytes)
}

/// `None` if there are some and none is known.
fn sum_of_known(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    let values: Vec<Option<u64>> = values.collect();
    match values.iter().all(Option::is_none) && !values.is_empty() {
        true => None,
        false => Some(values.into_iter().flatten().sum()),
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Seconds with all digits.
fn seconds(ns: u64) -> String {
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}
