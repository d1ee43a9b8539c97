//! The program that makes code, running.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::folded::{Stack, forbidden, parse, said};
use crate::support::{BACKENDS, Program, backend_forbidden, compile_c, perfd, skip};

/// Compiles it; its frames can be walked through code without unwind rows.
pub fn compile() -> Program {
    let flags = [
        "-O1",
        "-fno-omit-frame-pointer",
        "-fno-optimize-sibling-calls",
    ];
    compile_c(include_str!("program.c"), &flags)
}

/// Whether this machine lets perfd sample; says so if not.
pub fn may_sample() -> bool {
    match forbidden(&mut perfd()) {
        Some(reason) => {
            skip(&reason);
            false
        }
        None => true,
    }
}

/// The backends that this machine allows; says so of the others.
pub fn backends() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().copied().filter(|backend| {
        let reason = backend_forbidden(backend);
        reason.iter().for_each(|reason| skip(reason));
        reason.is_none()
    })
}

/// A process that says its number and is busy in `spinning` until its standard input ends. The map that it may have written goes with it.
pub struct Spinning {
    child: Child,
    input: Option<ChildStdin>,
    pub pid: u32,
}

impl Spinning {
    pub fn start(command: &mut Command) -> Spinning {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let input = child.stdin.take();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("it prints");
        let pid = child.id();
        Spinning { child, input, pid }
    }

    /// Where the world looks for its map.
    pub fn map(&self) -> PathBuf {
        PathBuf::from(format!("/tmp/perf-{}.map", self.pid))
    }
}

impl Drop for Spinning {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
        let _ = std::fs::remove_file(self.map());
    }
}

/// What a run of perfd says.
pub struct Run {
    pub stacks: Vec<Stack>,
    pub said: String,
    pub document: serde_json::Value,
}

/// Runs `perfd` with these arguments before those of the outputs; `then` stands behind.
pub fn run(folder: &Path, before: &[&str], then: &[&str]) -> Run {
    let json = folder.join("x.json");
    let output = perfd()
        .args(before)
        .args(["-o", "-", "-o"])
        .arg(&json)
        .args(then)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .expect("perfd runs");
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let document = std::fs::read_to_string(&json).expect("written");
    Run {
        stacks: parse(&text).expect("folded"),
        said: said(&output),
        document: serde_json::from_str(&document).expect("a document"),
    }
}

impl Run {
    /// The weight of the stacks with such a frame.
    pub fn weight(&self, fits: impl Fn(&str) -> bool) -> u64 {
        let fitting = self
            .stacks
            .iter()
            .filter(|stack| stack.frames.iter().any(|frame| fits(frame)));
        fitting.map(|stack| stack.samples).sum()
    }
}
