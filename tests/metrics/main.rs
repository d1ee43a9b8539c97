//! What the daemon says of itself on its metrics socket: read by `promtool`, and scraped by a Prometheus.

#[path = "../own_daemon/mod.rs"]
mod own_daemon;
mod prometheus;
mod relay;
#[path = "../support/mod.rs"]
mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use own_daemon::client::PATIENCE;
use own_daemon::{Circumstances, Daemon, Keeper};
use prometheus::{Prometheus, complaints, installed};
use relay::Relay;
use serde_json::json;
use support::skip;

/// What a target may be called.
const NAME: &str = r#"a "quoted" back\slash, {and} more"#;

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
    client.done(json!({"do": "attach", "target": {"host": true}, "name": NAME}));
    keeper.next_stats();
    let text = exposition(&daemon);
    assert_eq!(complaints(&text), "", "{text}");
    daemon.end();
}
