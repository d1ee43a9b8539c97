//! Targets that are hard to follow.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::support::{Program, compile_c};

/// What every program begins with: it does nothing before it is told to, by a line, and says so when it has.
const STEPS: &str = r#"
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static void next_step(void) {
    char line[16];
    puts("ready");
    fflush(stdout);
    if (!fgets(line, sizeof line, stdin)) exit(0);
}

__attribute__((noinline)) static void work(int rounds) {
    for (volatile int n = 0; n < rounds; n++) {}
}
"#;

/// A program that a test leads through its steps; ended when this is dropped.
pub struct Steps {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    program: Program,
}

impl Steps {
    /// Compiles and starts one, and waits for its first `next_step`.
    pub fn of(main: &str) -> Steps {
        Steps::with(main, |_| ())
    }

    /// The same; something is done when the program is there and not started yet.
    pub fn with(main: &str, prepare: impl FnOnce(&Path)) -> Steps {
        let program = compile_c(&format!("{STEPS}\n{main}"), &["-O1"]);
        prepare(program.path());
        let mut process = Command::new(program.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let mut steps = Steps {
            process: Process(process),
            input,
            output,
            program,
        };
        steps.has_done_it();
        steps
    }

    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Lets it do the next step.
    pub fn go(&mut self) {
        self.input.write_all(b"go\n").expect("it reads");
    }

    /// Returns when the step is done.
    pub fn has_done_it(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
    }

    /// Lets it come to its end; its file, which is looked for as long as it has to be named.
    pub fn end(mut self) -> Program {
        drop(self.input);
        let status = self.process.0.wait().expect("its end");
        assert!(status.success(), "{status}");
        self.program
    }
}

/// A process that ends with the test: one that never asks for its next step does not notice that nobody is there.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
