//! Python interpreters, whose files a child reads: what it finds is what this process finds, and what is wrong with a file or with the child costs
//! Python frames alone.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use perfd::object::Elf;
use perfd::parser::{Facts, Pythons};
use perfd::python::{Looked, PythonFile, Unreadable};
use perfd::symbolize::Config;
use serde_json::Value;

use crate::bench::{begin, module_of, pythons};
use crate::hostile::small;
use crate::lying::{BEGUN, saying};
use crate::support::{backend_forbidden, compile_c, perfd, skip};

/// The interpreters of this machine that are called so.
fn installed() -> Vec<PathBuf> {
    let paths = ["/usr/bin/python3", "/usr/bin/python3-dbg"];
    let paths: Vec<PathBuf> = paths.iter().flat_map(fs::canonicalize).collect();
    if paths.is_empty() {
        skip("no python3");
    }
    paths
}

/// What this process finds in it.
fn here(path: &Path) -> Looked {
    let file = File::open(path).expect("readable");
    let name = path.file_name().expect("a file").to_string_lossy();
    Elf::parse(Box::new(file)).map_or(Ok(None), |elf| PythonFile::read(&elf, &name))
}

/// What has been found may be an interpreter.
fn is_found(looked: &Option<Looked>) -> bool {
    matches!(looked, Some(Ok(Some(_))))
}

#[test]
fn interpreters_are_the_same_and_other_programs_are_none() {
    let begin = begin(Config::default());
    let mut in_child = pythons(&begin);
    for path in installed() {
        let looked = in_child.look(&module_of(&path));
        assert_eq!(looked, Some(here(&path)), "{}", path.display());
        assert!(is_found(&looked), "{}: {looked:?}", path.display());
    }
    for path in ["/bin/ls", "/bin/sh"] {
        let path = fs::canonicalize(path).expect("there");
        assert_eq!(in_child.look(&module_of(&path)), Some(Ok(None)));
    }
    assert_eq!(begin.tally.facts().started, 1);
    assert!(in_child.idle().is_some());
    in_child.rest();
    assert_eq!(in_child.idle(), None);
}

/// A copy of an interpreter with which something was done.
fn damaged(folder: &Path, python: &Path, n: usize, damage: impl FnOnce(&mut Vec<u8>)) -> PathBuf {
    let mut bytes = fs::read(python).expect("readable");
    damage(&mut bytes);
    let path = folder.join(format!("python3-{n}"));
    fs::write(&path, bytes).expect("written");
    path
}

#[test]
fn a_damaged_interpreter_costs_itself_and_the_child_lives_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let begin = begin(Config::default());
    let mut in_child = pythons(&begin);
    for python in installed().into_iter().take(1) {
        let size = fs::read(&python).expect("readable").len();
        let mut n_lost = 0;
        for n in 0..96 {
            let path = damaged(folder.path(), &python, n, |bytes| match n % 3 {
                0 => bytes.truncate(size / 97 * n),
                // The tables of symbols are in the first part; the headers at both ends.
                1 => bytes
                    .iter_mut()
                    .skip(n * 41)
                    .step_by(997)
                    .for_each(|b| *b ^= 0xff),
                _ => bytes[size - 4096..].fill(u8::try_from(n).expect("small")),
            });
            let looked = in_child.look(&module_of(&path));
            assert_eq!(looked, Some(here(&path)), "{n}");
            n_lost += usize::from(!is_found(&looked));
            fs::remove_file(&path).expect("ours");
        }
        assert!(n_lost > 40, "{n_lost}");
        assert!(is_found(&in_child.look(&module_of(&python))));
    }
    let facts = begin.tally.facts();
    assert_eq!((facts.died, facts.nonsense, facts.blamed), (0, 0, 0));
}

/// A program with so many symbols that a small child has no room for them.
fn large(folder: &Path) -> PathBuf {
    let source = r#"
        asm(".text\n.macro one\nname_that_is_not_short_\\@:\n.endm\n.rept 400000\none\n.endr\n");
        int main(void) { return 0; }
    "#;
    let program = compile_c(source, &["-O1"]);
    let path = folder.join("python3-large");
    fs::copy(program.path(), &path).expect("copied");
    path
}

#[test]
fn a_file_over_which_children_die_is_not_read_by_this_process_instead() {
    let folder = tempfile::tempdir().expect("a folder");
    let large = large(folder.path());
    let good = compile_c("int main(void) { return 0; }", &["-O1"]);
    let begin = small(good.path());
    let mut in_child = pythons(&begin);
    assert_eq!(here(&large), Ok(None));
    for _ in 0..3 {
        let looked = in_child.look(&module_of(&large));
        assert_eq!(looked, Some(Err(Unreadable::ParserFailed)));
        assert_eq!(in_child.look(&module_of(good.path())), Some(Ok(None)));
    }
    let facts = begin.tally.facts();
    assert_eq!((facts.died, facts.blamed), (2, 1), "{facts:?}");
    assert_eq!((facts.started, facts.refused), (3, 0), "{facts:?}");
}

#[test]
fn what_is_no_elf_file_is_not_even_handed_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("python3");
    fs::write(&secret, "a password").expect("written");
    let begin = begin(Config::default());
    let looked = pythons(&begin).look(&module_of(&secret));
    assert_eq!(looked, Some(Ok(None)));
    assert_eq!(begin.tally.facts(), Facts::default());
}

/// What perfd takes from a child that says this of a program.
fn look_by(path: &str, answer: &[u8]) -> (Option<Looked>, Facts) {
    let begin = begin(Config::default());
    let source = saying(vec![BEGUN.to_vec(), answer.to_vec()]);
    let mut pythons = Pythons::new(begin.clone(), source);
    let path = fs::canonicalize(path).expect("there");
    let looked = pythons.look(&module_of(&path));
    (looked, begin.tally.facts())
}

/// `Answer::Python` of an interpreter with so many parts of its evaluation function, and so many segments; all else is 0.
fn found(n_parts: u16, n_segments: u16) -> Vec<u8> {
    let mut bytes = vec![0, 8, 0, 1, 0, 0];
    for (n, size) in [(n_parts, 2), (n_segments, 5)] {
        bytes.extend([
            n.to_le_bytes()[0] & 0x7f | 0x80,
            u8::try_from(n >> 7).expect("few"),
        ]);
        bytes.extend(std::iter::repeat_n(0, usize::from(n) * size));
    }
    // The layout.
    bytes.extend([0; 19]);
    bytes
}

#[test]
fn what_is_known_of_a_file_is_what_the_child_says() {
    // Neither is so, as this process would see if it looked itself.
    let (looked, facts) = look_by("/bin/ls", &found(64, 256));
    assert!(is_found(&looked), "{looked:?} {facts:?}");
    assert_eq!(facts.nonsense, 0);
    for python in installed() {
        let (looked, _) = look_by(python.to_str().expect("plain"), &[0, 8, 0, 0]);
        assert_eq!(looked, Some(Ok(None)));
    }
    let (looked, _) = look_by("/bin/ls", &[0, 8, 1, 0, 1, 3, 10]);
    assert_eq!(looked, Some(Err(Unreadable::Version(Some((3, 10))))));
}

#[test]
fn what_a_child_may_not_say_is_not_taken() {
    for answer in [
        found(65, 1),
        found(1, 257),
        // Half of it, another answer, an error that there is not.
        found(1, 1)[..12].to_vec(),
        vec![0, 2, 0],
        vec![0, 8, 1, 9],
    ] {
        let (looked, facts) = look_by("/bin/ls", &answer);
        assert_eq!(looked, Some(Ok(None)), "{answer:?}");
        assert!(facts.nonsense > 0, "{answer:?}");
    }
}

/// Spins for each byte of standard input.
const PROGRAM: &str = r#"
import sys
def spin_here():
    n = 0
    for i in range(300000):
        n += i
def run():
    print("ready", flush=True)
    while sys.stdin.buffer.read(1):
        spin_here()
        print("done", flush=True)
run()
"#;
const MOST_ROUNDS: usize = 600;

#[test]
fn a_running_interpreter_has_python_frames() {
    if let Some(why) = backend_forbidden("bpf") {
        skip(&why);
        return;
    }
    for python in installed() {
        let mut program = Command::new(&python)
            .args(["-c", PROGRAM])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut said = BufReader::new(program.stdout.take().expect("piped")).lines();
        let mut next = || said.next().expect("a line").expect("text");
        assert_eq!(next(), "ready");
        let mut attached = perfd()
            .args(["attach", "--python", "--parse-in-child", "-e", "cpu-clock"])
            .args(["-F", "999", "--interval", "100ms", "-o", "-"])
            .arg(program.id().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("perfd starts");
        let windows = attached.stdout.take().expect("piped");
        let (lines, seen) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            let mut windows = BufReader::new(windows).lines().map_while(Result::ok);
            windows.all(|line| lines.send(line).is_ok())
        });
        let mut stdin = program.stdin.take().expect("piped");
        let is_it =
            |line: &String| line.contains("run (<string>:7)_[p];spin_here (<string>:3)_[p]");
        let is_seen = (0..MOST_ROUNDS).any(|_| {
            stdin.write_all(b"x").expect("the child reads");
            assert_eq!(next(), "done");
            seen.try_iter().any(|line| is_it(&line))
        });
        drop(stdin);
        assert!(program.wait().expect("ends").success());
        let output = attached.wait_with_output().expect("ends with its target");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !said.contains("parser"),
            "{said}"
        );
        let is_seen = is_seen || seen.iter().any(|line| is_it(&line));
        assert!(is_seen, "{}: {said}", python.display());
        reader.join().expect("windows are text");
    }
}

#[test]
fn a_hostile_interpreter_that_runs_costs_no_sample() {
    if let Some(why) = backend_forbidden("bpf") {
        skip(&why);
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    for python in installed().into_iter().take(1) {
        // Sections are of no use to who executes it.
        let path = damaged(folder.path(), &python, 1, |bytes| {
            let at = u64::from_le_bytes(bytes[40..48].try_into().expect("eight bytes"));
            let sections = usize::try_from(at).expect("in the file");
            bytes[sections..].iter_mut().for_each(|byte| *byte ^= 0x5a);
        });
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
        let (folded, json) = (folder.path().join("x.folded"), folder.path().join("x.json"));
        let output = perfd()
            .args(["record", "--python", "--parse-in-child", "-e", "cpu-clock"])
            .args(["-F", "999", "--unit", "samples", "-o"])
            .arg(&folded)
            .arg("-o")
            .arg(&json)
            .arg("--")
            .arg(&path)
            .args(["-S", "-c", "sum(i for i in range(8000000))"])
            .output()
            .expect("perfd runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        let stacks = fs::read_to_string(&folded).expect("written");
        assert!(!stacks.contains("_[p]"), "{stacks}");
        let json = fs::read_to_string(&json).expect("written");
        let run: Value = serde_json::from_str(&json).expect("JSON");
        let account = &run["ledger"]["events"][0];
        let number = |name: &str| account[name].as_u64().expect("a number");
        let lost = account["lost"].as_object().expect("an object").values();
        let lost: u64 = lost.filter_map(Value::as_u64).sum();
        assert_eq!(number("emitted"), number("delivered") + lost, "{account}");
        let in_stacks: u64 = stacks
            .lines()
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
            .sum();
        assert_eq!(in_stacks, number("delivered"), "{said}");
        assert!(in_stacks > 100, "{said}");
    }
}
