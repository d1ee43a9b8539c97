//! Clients that are slow, dead, many, or that do not speak the protocol.

use std::fs::File;
use std::io::{IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::{Value, json};

use super::own_daemon::client::{Client, PATIENCE};
use super::own_daemon::{Circumstances, Daemon, Keeper};
use super::programs::Steps;

/// Stacks of which hardly two are alike, so that windows are large.
const MANY_STACKS: &str = "
__attribute__((noinline)) static int stacks(unsigned long path, int depth) {
    if (depth == 0) { work(2000); return 1; }
    return path & 1 ? stacks(path >> 1, depth - 1) + 1 : stacks(path >> 1, depth - 1) * 3;
}
int main(void) {
    next_step();
    for (unsigned long n = 1;; n++) stacks(n * 0x9e3779b97f4a7c15, 40);
}";

#[test]
fn a_client_that_reads_nothing_costs_others_nothing_and_is_left() {
    let config = "[limits]\nclient_queue = \"1MiB\"\nclient_patience = \"1s\"\n";
    let Some(daemon) = Daemon::start(&Circumstances {
        config,
        ..Default::default()
    }) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut steps = Steps::of(MANY_STACKS);
    let mut reads = daemon.client();
    let attach = json!({"do": "attach", "target": {"pid": steps.pid()}, "frequency": 997});
    let target = reads.done(attach)["target"].as_u64().expect("a number");
    let tail = json!({"do": "tail", "target": target, "format": "folded"});
    reads.done(tail.clone());
    let mut idle = daemon.client();
    idle.done(tail);
    steps.go();
    let mut next = None;
    let stats = loop {
        let event = reads.event(target);
        let window = &event["window"];
        assert!(
            next.is_none_or(|next: u64| window["from"] == next),
            "no window is missing, though some may be one: {event}"
        );
        next = window["to"].as_u64().map(|to| to + 1);
        let stats = reads.done(json!({"do": "stats"}));
        if stats["clients"]["too_slow"].as_u64() >= Some(1) {
            break stats;
        }
    };
    assert!(
        stats["clients"]["windows_merged"].as_u64() > Some(0),
        "{stats:#}"
    );
    // It is told why, behind what it had been sent, if there is room for that.
    let mut left = Vec::new();
    let _ = idle.stream().read_to_end(&mut left);
    drop((reads, idle, steps));
    keeper.finds_all_as_it_was();
    daemon.end();
}

/// What a client has got of a target: samples up to the end of each window, by the number of the next one; and what it was told that it did not get.
#[derive(Default)]
struct Got {
    /// From, to, samples; `None` of what was left out.
    parts: Vec<(u64, u64, Option<u64>)>,
}

impl Got {
    /// Takes an event in; `false` if it is the end.
    fn take(&mut self, event: &Value) -> bool {
        let number = |value: &Value| value.as_u64().expect("a number");
        let (part, samples) = match (event.get("window"), event.get("gap")) {
            (Some(window), _) => (window, Some(number(&window["samples"]))),
            (None, Some(gap)) => (gap, None),
            (None, None) => return false,
        };
        let (from, to) = (number(&part["from"]), number(&part["to"]));
        let next = self.parts.last().map(|(_, to, _)| to + 1);
        assert!(
            next.is_none_or(|next| next == from),
            "{event} is not the next"
        );
        self.parts.push((from, to, samples));
        true
    }

    fn samples(&self) -> u64 {
        self.parts
            .iter()
            .filter_map(|(_, _, samples)| *samples)
            .sum()
    }
}

#[test]
fn whoever_reads_slowly_gets_all_that_others_get_in_larger_pieces() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut steps = Steps::of(
        "int main(void) { next_step(); for (int n = 0; n < 20; n++) work(20000000); return 0; }",
    );
    let mut prompt = daemon.client();
    let attach = json!({"do": "attach", "target": {"pid": steps.pid()}, "frequency": 499});
    let target = prompt.done(attach)["target"].as_u64().expect("a number");
    let tail = json!({"do": "tail", "target": target, "format": "json"});
    let mut sleeps = daemon.client();
    let mut by_bytes = daemon.client();
    for client in [&mut prompt, &mut sleeps, &mut by_bytes] {
        client.done(tail.clone());
    }
    steps.go();
    let mut all = Got::default();
    let mut bytes = Vec::new();
    while all.take(&prompt.event(target)) {
        // One byte for each window that the prompt one gets.
        let mut byte = [0];
        by_bytes.stream().read_exact(&mut byte).expect("a byte");
        bytes.extend(byte);
    }
    assert!(all.samples() > 0);
    let mut slept = Got::default();
    while slept.take(&sleeps.event(target)) {}
    let mut in_bytes = Got::default();
    let mut is_going_on = true;
    while is_going_on {
        let mut byte = [0];
        by_bytes.stream().read_exact(&mut byte).expect("a byte");
        bytes.extend(byte);
        if byte == *b"\n" {
            let event = serde_json::from_slice(&bytes).expect("a line");
            is_going_on = in_bytes.take(&event);
            bytes.clear();
        }
    }
    for got in [slept, in_bytes] {
        assert_eq!(got.samples(), all.samples());
        assert!(got.parts.iter().all(|(_, _, samples)| samples.is_some()));
    }
    drop((prompt, sleeps, by_bytes, steps));
    keeper.finds_all_as_it_was();
    daemon.end();
}

#[test]
fn clients_that_die_take_their_targets_with_them() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let steps = Steps::of("int main(void) { for (;;) next_step(); }");
    for round in 0..1000 {
        let mut client = daemon.client();
        let attach = json!({"do": "attach", "target": {"pid": steps.pid()}});
        // Who leaves so fast may have to wait until those before have ended.
        let target = client.in_the_end(attach).expect("attached")["target"].clone();
        let rest = match round % 4 {
            0 => String::new(),
            1 => r#"{"do":"tail","#.to_owned(),
            2 => {
                json!({"do": "tail", "target": target, "format": "pprof", "heartbeat": 1})
                    .to_string()
                    + "\n"
            }
            _ => json!({"do": "snapshot", "target": target, "format": "folded"}).to_string() + "\n",
        };
        client.send(rest.as_bytes()).expect("the daemon reads");
    }
    keeper.finds_all_as_it_was();
    daemon.end();
}

/// What is no request, and is said to be none.
const MALFORMED: &[&str] = &[
    "hello",
    "{}",
    "[]",
    "null",
    "{\"do\":7}",
    "{\"do\":\"dance\"}",
    "{\"do\":\"list\",\"colour\":\"red\"}",
    "{\"do\":\"detach\"}",
    "{\"do\":\"detach\",\"target\":-1}",
    "{\"do\":\"detach\",\"target\":4294967296}",
    "{\"do\":\"attach\",\"target\":{}}",
    "{\"do\":\"attach\",\"target\":{\"pid\":0}}",
    "{\"do\":\"attach\",\"target\":{\"pid\":1,\"host\":true}}",
    "{\"do\":\"attach\",\"target\":{\"pid\":99999999999}}",
    "{\"do\":\"attach\",\"target\":{\"host\":true},\"frequency\":0}",
    "{\"do\":\"attach\",\"target\":{\"host\":true},\"events\":[\"\\u0000\"]}",
    "{\"do\":\"attach\",\"target\":{\"cgroup\":\"../../etc\"}}",
    "{\"do\":\"attach\",\"target\":{\"host\":true},\"name\":\"../../etc\"}",
    "{\"do\":\"list\"}{\"do\":\"list\"}",
    "{\"id\":-1,\"do\":\"list\"}",
    "{\"id\":1.5,\"do\":\"list\"}",
    "GET / HTTP/1.1",
];

#[test]
fn what_is_no_request_is_refused_and_the_daemon_goes_on() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let deep = format!("{{\"do\":{}{}}}", "[".repeat(30_000), "]".repeat(30_000));
    let mut no_text = b"{\"do\":\"\xff\xfe\x80\"}".to_vec();
    no_text.push(0);
    let lines = MALFORMED
        .iter()
        .map(|line| line.as_bytes())
        .chain([deep.as_bytes(), &no_text]);
    for line in lines {
        let mut client = daemon.client();
        client
            .send(&[line, b"\n"].concat())
            .expect("the daemon reads");
        let shown = String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned();
        let answer = client
            .line()
            .unwrap_or_else(|| panic!("no answer to {shown}"));
        assert!(answer["error"]["class"].is_string(), "{shown}: {answer}");
    }
    keeper.finds_all_as_it_was();
    daemon.end();
}

#[test]
fn a_request_without_end_takes_no_memory() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let before = keeper.next_stats()["rss_anon_bytes"]
        .as_u64()
        .expect("bytes");
    for _ in 0..8 {
        let mut client = daemon.client();
        // Read and thrown away, or not read at all: it is not kept.
        let mut left = 64_usize << 20;
        while left > 0 && client.send(&[b'x'; 1 << 16]).is_ok() {
            left -= 1 << 16;
        }
    }
    keeper.finds_all_as_it_was();
    let after = keeper.next_stats()["rss_anon_bytes"]
        .as_u64()
        .expect("bytes");
    assert!(after < before + (4 << 20), "{before} became {after}");
    daemon.end();
}

#[test]
fn descriptors_that_nobody_asked_for_are_closed() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let null = File::open("/dev/null").expect("/dev/null");
    for n in [1, 4, 5, 64, 253] {
        for _ in 0..20 {
            let client = daemon.client();
            let descriptors = vec![null.as_raw_fd(); n];
            let data = [IoSlice::new(b"{\"do\":\"list\"}\n")];
            let message = [ControlMessage::ScmRights(&descriptors)];
            sendmsg::<()>(
                client.stream().as_raw_fd(),
                &data,
                &message,
                MsgFlags::empty(),
                None,
            )
            .expect("sent");
            let mut client = client;
            let answer = client.line().expect("an answer");
            assert!(
                answer["error"]["class"].is_string(),
                "{n} descriptors: {answer}"
            );
        }
    }
    keeper.finds_all_as_it_was();
    daemon.end();
}

#[test]
fn of_a_thousand_connections_those_are_served_that_fit_and_the_others_are_told() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut served = Vec::new();
    let mut refused = 0;
    for _ in 0..1000 {
        match Client::connect(&daemon.socket()) {
            Ok(client) => served.push(client),
            Err(farewell) => {
                assert_eq!(farewell["class"], "limit", "{farewell}");
                refused += 1;
            }
        }
    }
    assert!(
        !served.is_empty() && refused > 0,
        "{} served, {refused} refused",
        served.len()
    );
    for client in &mut served {
        client.done(json!({"do": "list"}));
    }
    keeper.next_stats();
    drop(served);
    keeper.finds_all_as_it_was();
    daemon.client().done(json!({"do": "list"}));
    daemon.end();
}

#[test]
fn connections_that_say_nothing_or_half_of_it_keep_nobody_out() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let halves: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.socket()).expect("the control socket");
            stream.write_all(b"{\"do\":").expect("the daemon reads");
            stream
        })
        .collect();
    // Those that never come to the end of a request are left in the end.
    let until = Instant::now() + PATIENCE;
    let ends = |stats: &Value| stats["clients"]["half_sent"].as_u64() >= Some(8);
    while !ends(&keeper.next_stats()) {
        assert!(Instant::now() < until, "halves of requests are waited for");
    }
    drop(halves);
    keeper.finds_all_as_it_was();
    daemon.end();
}
