//! What the daemon says of itself on its metrics socket: read by `promtool`, and scraped by a Prometheus.

#[path = "../own_daemon/mod.rs"]
mod own_daemon;
mod prometheus;
mod relay;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};

use own_daemon::client::PATIENCE;
use own_daemon::{Circumstances, Daemon, Keeper};
use prometheus::{Prometheus, complaints, installed};
use relay::Relay;
use serde_json::{Value, json};
use support::skip;

/// What a target may be called.
const NAME: &str = r#"a "quoted" back\slash, {and} more"#;

/// A process that does nothing but run: of the host there is much to be named before a window comes.
struct Busy(Child);

impl Busy {
    fn start() -> Busy {
        let sh = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn();
        Busy(sh.expect("sh starts"))
    }

    /// The request to profile it.
    fn attach(&self) -> Value {
        json!({"do": "attach", "target": {"pid": self.0.id()}, "name": NAME})
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks for the metrics; their text.
fn exposition(daemon: &Daemon) -> String {
    let mut stream = UnixStream::connect(daemon.metrics()).expect("the metrics socket");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a time limit");
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: perfd\r\n\r\n")
        .expect("the daemon reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

#[test]
fn promtool_has_nothing_to_say_against_the_metrics() {
    if !installed("promtool") {
        return skip("promtool is not installed");
    }
    assert_ne!(complaints("perfd_samples{ 1\n"), "", "promtool checks");
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut client = daemon.client();
    let busy = Busy::start();
    client.done(busy.attach());
    keeper.next_stats();
    let text = exposition(&daemon);
    assert_eq!(complaints(&text), "", "{text}");
    daemon.end();
}

/// Totals of the daemon that do not depend on which engines run.
const TOTALS: &[&str] = &[
    "perfd_bpf_seconds_total",
    "perfd_cpu_seconds_total",
    "perfd_samples_emitted_total",
    "perfd_samples_total",
];

fn totals(daemon: &Daemon) -> BTreeMap<String, f64> {
    let text = exposition(daemon);
    let rows = text.lines().filter_map(|line| line.rsplit_once(' '));
    let is_total = |(name, _): &(&str, &str)| {
        let name = name.split('{').next().unwrap_or_default();
        TOTALS.contains(&name)
    };
    let rows = rows.filter(is_total);
    rows.map(|(name, value)| (name.to_owned(), value.parse().expect("a number")))
        .collect()
}

#[test]
fn totals_do_not_fall_when_what_they_are_about_has_ended() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut client = daemon.client();
    let busy = Busy::start();
    let mut before = totals(&daemon);
    for frequency in [101, 103, 107, 109] {
        // An engine of its own.
        let mut attach = busy.attach();
        attach["frequency"] = json!(frequency);
        let target = client.done(attach)["target"].as_u64().expect("a number");
        client.done(json!({"do": "tail", "target": target, "format": "folded"}));
        while client.event(target)["window"]["samples"] == 0 {}
        let detach = json!({"do": "detach", "target": target});
        client.done(detach);
        loop {
            let now = totals(&daemon);
            for (name, value) in &before {
                let value_now = now.get(name).copied();
                assert!(
                    value_now >= Some(*value),
                    "{name}: {value}, then {value_now:?}"
                );
            }
            before = now;
            let stats = keeper.next_stats();
            if stats["engines"]
                .as_array()
                .is_some_and(|engines| engines.len() == 1)
            {
                break;
            }
        }
    }
    assert!(before.contains_key("perfd_bpf_seconds_total"), "{before:?}");
    daemon.end();
}

/// Reads a figure of the `stats`.
type Figure = fn(&Value) -> f64;

/// What both a scrape and the `stats` of the protocol tell, of what does not become less while the test runs.
const FIGURES: [(&str, Figure); 9] = [
    ("sum(perfd_samples_emitted_total)", |stats| {
        of_events(stats, "emitted")
    }),
    ("sum(perfd_samples_total)", |stats| {
        of_events(stats, "delivered")
    }),
    ("perfd_uptime_seconds", |stats| {
        number(&stats["uptime_ns"]) / 1e9
    }),
    ("perfd_cpu_seconds_total", |stats| {
        number(&stats["cpu_ns"]) / 1e9
    }),
    ("perfd_ring_bytes", |stats| number(&stats["ring_bytes"])),
    ("sum(perfd_targets)", |stats| number(&stats["targets"])),
    ("perfd_clients", |stats| {
        number(&stats["clients"]["connected"])
    }),
    ("perfd_requests_total", |stats| {
        number(&stats["clients"]["requests"])
    }),
    ("perfd_windows_sent_total", |stats| {
        number(&stats["clients"]["windows_sent"])
    }),
];

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// A figure of all events of all engines.
fn of_events(stats: &Value, figure: &str) -> f64 {
    let engines = stats["engines"].as_array().expect("engines");
    let events = engines
        .iter()
        .flat_map(|engine| engine["events"].as_array().expect("events"));
    events.map(|event| number(&event[figure])).sum()
}

/// What must be 0: the daemon's account of its samples, as Prometheus has stored it.
const ACCOUNT: &str = "sum(perfd_samples_emitted_total) - sum(perfd_samples_total) \
    - (sum(perfd_samples_lost_total) or vector(0)) - (sum(perfd_samples_foreign_total) or vector(0)) - (sum(perfd_samples_not_raised) or vector(0))";

#[test]
fn prometheus_stores_what_the_daemon_does() {
    if !installed("prometheus") {
        return skip("prometheus is not installed");
    }
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut client = daemon.client();
    let busy = Busy::start();
    let target = client.done(busy.attach())["target"]
        .as_u64()
        .expect("a number");
    client.done(json!({"do": "tail", "target": target, "format": "json"}));
    while client.event(target)["window"]["samples"] == 0 {}
    keeper.next_stats();

    let relay = Relay::to(daemon.metrics());
    let prometheus = Prometheus::scraping(relay.address());
    relay.wait_for_a_stored_scrape();
    let value = |expression: &str| prometheus.value(expression);
    assert_eq!(value("up"), 1.0);
    assert_eq!(value("perfd_targets{state='running'}"), 2.0);
    assert_eq!(value("perfd_clients"), 2.0);
    let of_target = |metric: &str| format!("{metric}{{target='{}'}}", NAME.replace('\\', "\\\\"));
    assert!(value(&of_target("perfd_target_samples_total")) > 0.0);
    assert!(value(&of_target("perfd_target_windows_total")) > 0.0);
    assert!(value("sum(perfd_samples_total)") > 0.0);
    assert!(value("perfd_cpu_seconds_total") > 0.0);
    assert!(value("perfd_rss_anon_bytes") > 0.0);
    assert_eq!(value(ACCOUNT), 0.0);
    let before = keeper.next_stats();
    relay.wait_for_a_stored_scrape();
    let scraped = FIGURES.map(|(metric, _)| value(metric));
    let after = keeper.next_stats();
    for ((metric, figure), scraped) in FIGURES.into_iter().zip(scraped) {
        // Up to what is lost of a long number by its way through seconds.
        let range = figure(&before) * (1.0 - 1e-9)..=figure(&after) * (1.0 + 1e-9);
        assert!(range.contains(&scraped), "{metric}: {scraped}, {range:?}");
    }
    drop(prometheus);
    daemon.end();
}
