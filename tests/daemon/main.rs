//! `perfd daemon` with real targets and real clients: targets, phases, snapshots, reload, its end.

mod configuration;
mod figures;
mod foreground;
mod outputs;
mod phases;
mod targets;

#[path = "../own_daemon/mod.rs"]
mod own_daemon;
#[path = "../support/mod.rs"]
mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Instant;

use own_daemon::Daemon;
use own_daemon::client::{Client, PATIENCE};
use serde_json::{Value, json};

/// Works when it is told to: `1` in `first`, `2` in `second`, a fixed amount of work each; says when it is done, and waits for more.
const WORKER: &str = r#"
#include <stdio.h>
static volatile unsigned long sink;
static __attribute__((noinline)) void first(void)
{
    for (unsigned long i = 0; i < 300000000; i++)
        sink += i;
}
static __attribute__((noinline)) void second(void)
{
    for (unsigned long i = 0; i < 300000000; i++)
        sink ^= i;
}
int main(void)
{
    int which;
    while ((which = getchar()) != EOF) {
        if (which == '1')
            first();
        if (which == '2')
            second();
        if (which != '\n') {
            puts("done");
            fflush(stdout);
        }
    }
}
"#;

/// The program, at work when it is told.
struct Worker {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    fn start(program: &Path) -> Worker {
        let mut process = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Worker {
            process,
            orders,
            answers,
        }
    }

    fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Lets it do one piece of work, to its end.
    fn work(&mut self, which: char) {
        let orders = self.orders.as_mut().expect("it lives");
        writeln!(orders, "{which}").expect("it reads");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        assert_eq!(line, "done\n");
    }

    /// Lets it end.
    fn end(&mut self) {
        drop(self.orders.take());
        self.process.wait().expect("its end");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for something that comes, looking at it again and again; a test that fails says what was there in the end.
fn until<T>(mut look: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(found) => return found,
            Err(there) => assert!(Instant::now() < end, "{there}"),
        }
        thread::yield_now();
    }
}

/// Waits for a line of the daemon's log.
fn logged(daemon: &Daemon, part: &str) -> String {
    until(|| {
        let log = daemon.log();
        let line = log.lines().find(|line| line.contains(part));
        line.map(str::to_owned).ok_or(log)
    })
}

/// The target of a name, when it is as it should be.
fn listed(client: &mut Client, name: &str, is_right: impl Fn(&Value) -> bool) -> Value {
    until(|| {
        // Who asks again and again is told that there may be only so many requests in a second.
        let list = client
            .ask(json!({"do": "list"}))
            .map_err(|error| error.to_string())?;
        let targets = list["targets"].as_array().expect("a list");
        let target = targets.iter().find(|target| target["name"] == name);
        let right = target.filter(|target| is_right(target));
        right.cloned().ok_or(list.to_string())
    })
}

fn is_running(target: &Value) -> bool {
    target["state"] == "running"
}
