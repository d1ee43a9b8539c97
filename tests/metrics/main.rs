//! What the daemon says of itself on its metrics socket: read by `promtool`, and scraped by a Prometheus.

mod prometheus;
mod relay;
#[path = "../support/mod.rs"]
mod support;

use prometheus::{Prometheus, complaints, installed};
use relay::Relay;
use std::io::{Read, Write};

#[test]
fn harness() {
    let text = "# HELP perfd_samples_total Samples.\n# TYPE perfd_samples_total counter\nperfd_samples_total{target=\"a\"} 42\n";
    assert_eq!(complaints(text), "");
    assert!(complaints("perfd_samples{ 1\n") != "");
    let d = tempfile::tempdir().unwrap();
    let l = std::os::unix::net::UnixListener::bind(d.path().join("s")).unwrap();
    std::thread::spawn(move || {
        for s in l.incoming() {
            let mut s = s.unwrap();
            let mut b = [0; 4096];
            let _ = s.read(&mut b);
            let _ = s.write_all(
                format!("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n{text}")
                    .as_bytes(),
            );
        }
    });
    let relay = Relay::to(d.path().join("s"));
    let p = Prometheus::scraping(relay.address());
    relay.wait_for_a_stored_scrape();
    assert_eq!(p.value("up"), 1.0);
    assert_eq!(p.value("perfd_samples_total{target=\"a\"}"), 42.0);
    assert!(installed("promtool"));
}
