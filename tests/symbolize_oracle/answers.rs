//! Asks a program that speaks as `addr2line -a -f -i` does, and reads what it says.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support;

/// One function of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// `??` if it is not known.
    pub name: String,
    /// `??` if it is not known.
    pub file: String,
    /// 0 if it is not known.
    pub line: u32,
}

impl Frame {
    /// From a line with the function and one with the place.
    pub fn parse(name: &str, place: &str) -> Frame {
        let place = place
            .split_once(" (discriminator ")
            .map_or(place, |(place, _)| place);
        let (file, line) = place.rsplit_once(':').unwrap_or((place, "?"));
        Frame {
            name: name.to_owned(),
            file: if file.is_empty() { "??" } else { file }.to_owned(),
            line: line.parse().unwrap_or(0),
        }
    }

    pub fn is_named(&self) -> bool {
        self.name != "??"
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{}", self.name, self.file, self.line)
    }
}

/// The functions at one address, innermost first.
pub type Chain = Vec<Frame>;

/// How functions are to be named.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// As the linker knows them.
    Linked,
    /// As in the source (`-C`).
    Demangled,
}

/// The reference; `None` if it is not installed.
pub fn ask_llvm(file: &Path, addresses: &[u64], names: Names) -> Option<Vec<Chain>> {
    let program = ["llvm-symbolizer-14", "llvm-symbolizer"]
        .into_iter()
        .find(|program| {
            let version = Command::new(program).arg("--version").output();
            version.is_ok_and(|output| output.status.success())
        })?;
    let mut command = Command::new(program);
    command.args(["--output-style=GNU", "-a", "-f", "-i"]);
    command.arg(match names {
        Names::Linked => "--no-demangle",
        Names::Demangled => "--demangle",
    });
    Some(ask(command, file, addresses))
}

/// perfd with more flags, or without them what stands in for it, about `file`.
pub fn ask_perfd(
    file: &Path,
    addresses: &[u64],
    names: Names,
    more: &[impl AsRef<OsStr>],
) -> Vec<Chain> {
    let mut command = match stand_in() {
        Some(words) => {
            let mut words = words.split_whitespace();
            let mut command = Command::new(words.next().expect("the name of a program"));
            command.args(words);
            command
        }
        None => {
            let mut command = support::perfd();
            command.arg("symbolize").args(more);
            command
        }
    };
    command.args(["-a", "-f", "-i"]);
    if names == Names::Demangled {
        command.arg("-C");
    }
    ask(command, file, addresses)
}

/// The command that is judged in perfd's place.
pub fn stand_in() -> Option<String> {
    std::env::var("PERFD_ORACLE_STAND_IN").ok()
}

fn ask(mut command: Command, file: &Path, addresses: &[u64]) -> Vec<Chain> {
    command.arg("-e").arg(file);
    let questions: String = addresses
        .iter()
        .map(|address| format!("{address:#x}\n"))
        .collect();
    let said = output_of(&mut command, questions);
    in_order(parse(&said), addresses).unwrap_or_else(|fault| panic!("{command:?}: {fault}"))
}

/// What the command says to `questions` on its standard input.
pub fn output_of(command: &mut Command, questions: String) -> String {
    let mut child = command
        // No reference may come from the network.
        .env_remove("DEBUGINFOD_URLS")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut input = child.stdin.take().expect("piped");
    // Beside the reading: neither pipe holds it all. One that ends early is told by its status.
    let writer = std::thread::spawn(move || input.write_all(questions.as_bytes()));
    let output = child.wait_with_output().expect("it ends");
    let written = writer.join().expect("no panic");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    written.expect("it reads what it is asked");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Each address as it was answered, and its chain.
fn parse(text: &str) -> Vec<(u64, Chain)> {
    let mut answers: Vec<(u64, Chain)> = Vec::new();
    let mut lines = text.lines().filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        let address = line.strip_prefix("0x");
        match (address, answers.last_mut()) {
            (Some(digits), _) => {
                let address = u64::from_str_radix(digits, 16).expect("an address");
                answers.push((address, Chain::new()));
            }
            (None, Some((_, chain))) => {
                let place = lines.next().expect("a place behind each function");
                chain.push(Frame::parse(line, place));
            }
            (None, None) => panic!("no address before {line:?}"),
        }
    }
    answers
}

/// The chains, if they are for these addresses in this order.
fn in_order(answers: Vec<(u64, Chain)>, addresses: &[u64]) -> Result<Vec<Chain>, String> {
    let (answered, chains): (Vec<u64>, Vec<Chain>) = answers.into_iter().unzip();
    if answered == addresses {
        return Ok(chains);
    }
    let (n, n_asked) = (answered.len(), addresses.len());
    let wrong = answered.iter().zip(addresses).find(|(a, b)| a != b);
    Err(format!(
        "{n} answers to {n_asked} questions, the first that is not in order: {wrong:x?}"
    ))
}

#[test]
fn an_answer_is_read_as_addr2line_writes_it() {
    let text = "0x0000000000001139\ninner(int)\n/a/b c.h:7 (discriminator 2)\nmain\n/a/c.c:12\n0x1\n??\n??:0\n0x2\nf\n:?\n";
    let frame = |name: &str, file: &str, line| Frame {
        name: name.to_owned(),
        file: file.to_owned(),
        line,
    };
    let expected = vec![
        (
            0x1139,
            vec![
                frame("inner(int)", "/a/b c.h", 7),
                frame("main", "/a/c.c", 12),
            ],
        ),
        (1, vec![frame("??", "??", 0)]),
        (2, vec![frame("f", "??", 0)]),
    ];
    assert_eq!(parse(text), expected);
}

#[test]
fn answers_that_are_missing_or_in_another_order_are_noticed() {
    let answers = |text: &str| in_order(parse(text), &[1, 2]);
    assert!(answers("0x1\n??\n??:0\n0x2\n??\n??:0\n").is_ok());
    assert!(answers("0x1\n??\n??:0\n").is_err());
    assert!(answers("0x2\n??\n??:0\n0x1\n??\n??:0\n").is_err());
}
