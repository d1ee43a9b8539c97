//! Runs of perfd, and what they said.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::folded::{Stack, parse, said};
use crate::support::{Program, perfd};

/// A count of `perfd stat`, or of a sampling run.
#[derive(Clone, Debug, PartialEq)]
pub struct Count {
    pub event: String,
    pub value: u64,
    pub scaled: Option<u64>,
    pub enabled_ns: u64,
    pub running_ns: u64,
    pub group: u64,
}

impl Count {
    fn of(json: &Value) -> Count {
        let number = |name: &str| {
            json[name]
                .as_u64()
                .unwrap_or_else(|| panic!("no {name} in {json}"))
        };
        Count {
            event: json["event"].as_str().expect("a name").to_owned(),
            value: number("value"),
            scaled: json["scaled"].as_u64(),
            enabled_ns: number("enabled_ns"),
            running_ns: number("running_ns"),
            group: number("group"),
        }
    }
}

/// The counts of one event list over one run of a program.
pub fn stat(events: &str, program: &Program, arguments: &[&str]) -> Vec<Count> {
    let mut command = perfd();
    command.args(["stat", "--json", "-e", events, "--"]);
    counts(&good(command.arg(program.path()).args(arguments)).stdout)
}

/// The counts that `perfd stat --json` wrote at its end.
pub fn counts(stdout: &[u8]) -> Vec<Count> {
    let text = String::from_utf8_lossy(stdout);
    let run = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a JSON line"))
        .find(|line| line["kind"] == "run")
        .expect("a run");
    let counts = run["processes"][0]["counts"].as_array().expect("counts");
    counts.iter().map(Count::of).collect()
}

/// What `perfd record` or `perfd attach` wrote.
pub struct Profile {
    /// The JSON document.
    pub document: Value,
    /// The folded stacks of each event, in their order; weights are in the place of samples.
    pub stacks: Vec<Vec<Stack>>,
}

/// `perfd record` of a program.
pub fn record(flags: &[&str], program: &Program, arguments: &[&str]) -> Profile {
    let mut command = perfd();
    command.args(["record", "-q"]);
    outputs(&mut command, program);
    command.args(flags).arg("--").arg(program.path());
    good(command.args(arguments));
    Profile::read(program)
}

/// The flags that send the profile to where [`Profile::read`] looks for it.
pub fn outputs(command: &mut Command, program: &Program) {
    for name in ["x.json", "x.folded"] {
        command.arg("-o").arg(program.folder().join(name));
    }
}

impl Profile {
    /// What [`outputs`] asked for.
    pub fn read(program: &Program) -> Profile {
        let text = read(&program.folder().join("x.json"));
        let document: Value = serde_json::from_str(&text).expect("JSON");
        let events = document["events"].as_array().expect("events");
        let folded = |event: &Value| {
            let name = event["event"].as_str().expect("a name").replace(':', "-");
            let file = match events.len() {
                1 => "x.folded".to_owned(),
                _ => format!("x.{name}.folded"),
            };
            parse(&read(&program.folder().join(file))).expect("folded stacks")
        };
        let stacks = events.iter().map(folded).collect();
        Profile { document, stacks }
    }

    /// The account of an event, by its position.
    pub fn account(&self, idx: usize) -> &Value {
        &self.document["ledger"]["events"][idx]
    }

    /// A number of an event's account.
    pub fn number(&self, idx: usize, name: &str) -> u64 {
        let account = self.account(idx);
        account[name]
            .as_u64()
            .unwrap_or_else(|| panic!("no {name} in {account}"))
    }

    /// How often the target gave up the CPU.
    pub fn context_switches(&self) -> u64 {
        let counts = self.document["total"].as_array().expect("counts");
        let mut counts = counts.iter().map(Count::of);
        let switches = counts.find(|count| count.event == "context-switches");
        switches.expect("counted beside any profile").value
    }

    /// Weight of an event's stacks for which this holds.
    pub fn weight(&self, idx: usize, holds: impl Fn(&Stack) -> bool) -> u64 {
        let stacks = self.stacks[idx].iter().filter(|stack| holds(stack));
        stacks.map(|stack| stack.samples).sum()
    }

    /// Weight of an event in a function and in what it calls.
    pub fn weight_in(&self, idx: usize, function: &str) -> u64 {
        self.weight(idx, |stack| {
            stack.frames.iter().any(|frame| frame == function)
        })
    }

    /// emitted = delivered + Σ lost, and nothing is lost but what a thread's end leaves of a period.
    pub fn check_account(&self, idx: usize, period: u64) {
        let account = self.account(idx);
        let delivered = self.number(idx, "delivered");
        let lost = account["lost"].as_object().expect("a table of losses");
        assert!(
            lost.keys().all(|reason| reason == "not_raised"),
            "{account}"
        );
        let lost: i64 = lost.values().map(|n| n.as_i64().expect("a number")).sum();
        let emitted = self.number(idx, "emitted");
        assert_eq!(
            delivered.checked_add_signed(lost),
            Some(emitted),
            "{account}"
        );
        assert_eq!(account["unexplained"], 0, "{account}");
        assert_eq!(self.number(idx, "sampled_weight"), delivered * period);
        assert_eq!(self.weight(idx, |_| true), delivered * period, "{account}");
    }
}

/// Runs a command to its end, which must be a good one.
pub fn good(command: &mut Command) -> Output {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {}", said(&output));
    output
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
