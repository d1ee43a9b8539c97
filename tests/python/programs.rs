//! The interpreters and programs that are profiled, and what perfd makes of them.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command};
use std::sync::mpsc;

use serde_json::Value;

use crate::folded::{self, Stack, said};
use crate::support::perfd;

/// Runs all cases once, or with `WAITS` for each byte of standard input, after which it says so.
pub const KNOWN: &str = include_str!("program.py");
/// Makes code and throws it away.
pub const REUSED: &str = include_str!("reused.py");

/// A command that takes `-c PROGRAM`.
pub struct Interpreter {
    words: Vec<String>,
}

impl fmt::Display for Interpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

impl Interpreter {
    /// Runs a program, with more in its environment.
    pub fn command(&self, program: &str, environment: &[&str]) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(["-c", program]);
        let pairs = environment.iter().filter_map(|pair| pair.split_once('='));
        command.envs(pairs);
        command
    }

    /// Whether it is there, and 3.11 or later.
    fn is_known(&self) -> bool {
        let program = "import sys; sys.exit(sys.version_info < (3, 11))";
        let output = self.command(program, &[]).output();
        output.is_ok_and(|output| output.status.success())
    }
}

/// Those of this machine. One that `PERFD_PYTHONS` names must be there.
pub fn interpreters() -> Vec<Interpreter> {
    let interpreter = |command: &str| Interpreter {
        words: command.split_whitespace().map(str::to_owned).collect(),
    };
    let asked = std::env::var("PERFD_PYTHONS").unwrap_or_default();
    let asked = asked.split(':').filter(|command| !command.is_empty());
    let asked: Vec<Interpreter> = asked.map(interpreter).collect();
    for interpreter in &asked {
        assert!(interpreter.is_known(), "PERFD_PYTHONS: {interpreter}");
    }
    let usual = ["/usr/bin/python3", "/usr/bin/python3-dbg"].map(interpreter);
    let usual = usual.into_iter().filter(Interpreter::is_known);
    usual.chain(asked).collect()
}

/// What a run gave.
pub struct Profile {
    /// The folded stacks.
    pub stacks: Vec<Stack>,
    /// The account of Python frames, as JSON.
    pub ledger: Value,
}

/// `perfd record --python` of a program.
pub fn record(interpreter: &Interpreter, program: &str, environment: &[&str]) -> Profile {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let folded = folder.path().join("out.folded");
    let json = folder.path().join("out.json");
    let command = interpreter.command(program, environment);
    let output = perfd()
        .args(["record", "--python", "-e", "cpu-clock", "-F", "4000"])
        .args(["--unit", "samples", "-o"])
        .arg(&folded)
        .arg("-o")
        .arg(&json)
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        .envs(environment.iter().filter_map(|pair| pair.split_once('=')))
        .output()
        .expect("perfd runs");
    assert!(output.status.success(), "{interpreter}: {}", said(&output));
    let text = std::fs::read_to_string(&folded).expect("written");
    let json = std::fs::read_to_string(&json).expect("written");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    Profile {
        stacks: folded::parse(&text).expect("folded"),
        ledger: json["ledger"]["python"].clone(),
    }
}

/// Lets the child run all cases, time after time until samples have Python frames, and then once more; returns the samples once both have
/// ended. The child has said that it is ready, and perfd writes windows to its standard output.
pub fn feed_until_sampled(child: &mut Child, said_by: impl Read, mut attached: Child) -> String {
    let windows = attached.stdout.take().expect("piped");
    let (lines, seen) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(windows).lines() {
            if lines.send(line.expect("text")).is_err() {
                return;
            }
        }
    });
    let mut stdin = child.stdin.take().expect("piped");
    let mut rounds = BufReader::new(said_by).lines();
    let mut once = || {
        stdin.write_all(b"x").expect("the child reads");
        let line = rounds.next().expect("a line").expect("text");
        assert_eq!(line, "done");
    };
    let mut text = Vec::new();
    while !text.iter().any(|line: &String| line.contains("_[p]")) {
        let ended = attached.try_wait().expect("our child");
        assert!(ended.is_none(), "{ended:?}");
        once();
        text.extend(seen.try_iter());
    }
    once();
    drop(stdin);
    assert!(child.wait().expect("ends").success());
    let output = attached.wait_with_output().expect("ends with its target");
    assert!(output.status.success(), "{}", said(&output));
    reader.join().expect("windows are text");
    text.extend(seen);
    text.join("\n")
}
