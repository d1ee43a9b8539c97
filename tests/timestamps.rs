//! `--timestamps`: every sample by itself, on both backends in the same sequence, and in sum what the aggregated outputs say.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;

use inferno::collapse::Collapse;
use inferno::collapse::perf::{Folder, Options};
use perfd::sink::encode::escape;
use perfd::sys::now;
use serde_json::Value;
use support::{BACKENDS, Program, backend_forbidden, compile_c, perfd, skip};

/// A record of a sample, as its readers take it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    comm: String,
    pid: u32,
    tid: u32,
    /// Microseconds.
    time: u64,
    period: u64,
    event: String,
    /// Place, name and module; leaf first.
    frames: Vec<(u64, String, String)>,
}

/// Reads records; panics where the text is not nothing but records.
fn records(text: &str) -> Vec<Record> {
    assert!(text.is_empty() || text.ends_with("\n\n"), "cut off: {text}");
    let read = |text| record(text).unwrap_or_else(|| panic!("not a record: {text}"));
    text.split_terminator("\n\n").map(read).collect()
}

/// `comm PID/TID [CPU] SECONDS.MICROS: PERIOD EVENT: ` and frames; numbers are padded to columns.
fn record(text: &str) -> Option<Record> {
    let mut lines = text.lines();
    let (rest, event) = lines.next()?.strip_suffix(": ")?.rsplit_once(' ')?;
    let (rest, period) = rest.rsplit_once(' ')?;
    let (rest, time) = rest.trim_end().strip_suffix(':')?.rsplit_once(' ')?;
    let (seconds, micros) = time.split_once('.').filter(|(_, m)| m.len() == 6)?;
    let (rest, cpu) = rest.trim_end().strip_suffix(']')?.rsplit_once(" [")?;
    cpu.parse::<u32>().ok()?;
    let (comm, ids) = rest.trim_end().rsplit_once(' ')?;
    let (pid, tid) = ids.split_once('/')?;
    let number = |text: &str| text.parse::<u64>().ok();
    Some(Record {
        comm: comm.trim_end().to_owned(),
        pid: pid.parse().ok()?,
        tid: tid.parse().ok()?,
        time: number(seconds)? * 1_000_000 + number(micros)?,
        period: number(period)?,
        event: event.to_owned(),
        frames: lines.map(frame).collect::<Option<_>>()?,
    })
}

fn frame(line: &str) -> Option<(u64, String, String)> {
    let (place, text) = line.strip_prefix('\t')?.trim_start().split_once(' ')?;
    let (name, module) = text.rsplit_once(' ')?;
    let module = module.strip_prefix('(')?.strip_suffix(')')?;
    let place = u64::from_str_radix(place, 16).ok()?;
    Some((place, name.to_owned(), module.to_owned()))
}

/// The record's line in folded stacks, by what docs/OUTPUT.md says of both.
fn folded(record: &Record) -> String {
    let frame = |(place, name, module): &(u64, String, String)| match (&**name, &**module) {
        ("[no stack]", "perfd") => String::new(),
        ("[unknown]", "[kernel.kallsyms]") => ";[kernel]_[k]".to_owned(),
        ("[unknown]", "//anon") => ";[anon]".to_owned(),
        ("[unknown]", module) => {
            let file = module.rsplit('/').next().expect("one part at least");
            format!(";{file}+{place:#x}")
        }
        (name, "[kernel.kallsyms]") => format!(";{name}_[k]"),
        (name, "inlined") => format!(";{name}_[i]"),
        (name, _) => format!(";{name}"),
    };
    let frames: String = record.frames.iter().rev().map(frame).collect();
    let mut line = String::new();
    escape::text(&escape::decode(&record.comm), &mut line);
    line + &frames
}

fn sums(records: &[Record]) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for record in records {
        *sums.entry(folded(record)).or_default() += record.period;
    }
    sums
}

fn read_folded(path: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(path).expect("written");
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let (stack, weight) = line.rsplit_once(' ').expect("a stack and a number");
        *sums.entry(stack.to_owned()).or_default() += weight.parse::<u64>().expect("a number");
    }
    sums
}

fn is_in_order(records: &[Record]) -> bool {
    records.is_sorted_by_key(|record| record.time)
}

fn number(value: &Value, pointer: &str) -> u64 {
    let number = value.pointer(pointer).and_then(Value::as_u64);
    number.unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

/// For each byte of standard input, 16 calls of `probed` in an order that looks like none, some of them in another thread.
const ROUNDS: &str = r#"
#include <pthread.h>
#include <unistd.h>

#define OWN __attribute__((noinline, noclone))
OWN void probed(void) { __asm__ volatile("" : : : "memory"); }
OWN void one(void) { probed(); __asm__ volatile("" : : : "memory"); }
OWN void two(void) { one(); __asm__ volatile("" : : : "memory"); }
OWN void down(int depth) {
    if (depth == 0) probed();
    else down(depth - 1);
    __asm__ volatile("" : : : "memory");
}

static unsigned state = 1;
OWN void any(void) {
    state = state * 1103515245 + 12345;
    switch (state >> 16 & 3) {
    case 0: one(); break;
    case 1: two(); break;
    default: down(state >> 18 & 15);
    }
    __asm__ volatile("" : : : "memory");
}

static void *thread(void *unused) { for (int i = 0; i < 6; i++) any(); return unused; }

int main(void) {
    char byte;
    while (read(0, &byte, 1) == 1) {
        pthread_t other;
        for (int i = 0; i < 5; i++) any();
        pthread_create(&other, 0, thread, 0);
        pthread_join(other, 0);
        for (int i = 0; i < 5; i++) any();
    }
    return 0;
}
"#;
const PER_ROUND: usize = 16;
/// Many times what any of the waits takes.
const MOST_ROUNDS: u64 = 200;

struct Rounds {
    records: Vec<Record>,
    n: u64,
    end: Value,
}

/// Records rounds until `is_enough` says so, which is told how many there were and how many samples were walked in the kernel. Each
/// round's samples have to come while the target waits for the next one.
fn record_rounds(program: &Program, backend: &str, is_enough: impl Fn(u64, u64) -> bool) -> Rounds {
    let socket = program.folder().join(format!("{backend}.socket"));
    let listener = UnixListener::bind(&socket).expect("a socket");
    let event = format!("mem:{:#x}:x", program.address_of("probed"));
    let mut perfd = perfd()
        .args(["record", "-q", "--timestamps", "-c", "1", "-e", &event])
        .args(["--backend", backend, "--interval", "100ms", "-o", "jsonl:-"])
        .arg("-o")
        .arg(format!("unix:{}", socket.display()))
        .arg("-o")
        .arg(program.folder().join("x.folded"))
        .arg("--")
        .arg(program.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("perfd runs");
    let mut target = perfd.stdin.take();
    let mut stream = BufReader::new(listener.accept().expect("perfd connects").0);
    let lines = BufReader::new(perfd.stdout.take().expect("piped")).lines();
    let mut documents = lines.map(|line| {
        let line = line.expect("text");
        serde_json::from_str::<Value>(&line).expect("a document")
    });
    let (mut text, mut n, mut n_walked) = (String::new(), 0, 0);
    while !is_enough(n, n_walked) {
        assert!(n < MOST_ROUNDS, "{n_walked} walked in {n} rounds");
        let input = target.as_mut().expect("not told to end yet");
        input.write_all(b"\n").expect("it reads");
        n += 1;
        let mut n_records = 0;
        while n_records < PER_ROUND {
            let n_bytes = stream.read_line(&mut text).expect("text");
            assert!(n_bytes > 0, "no more records in round {n}");
            n_records += usize::from(text.ends_with("\n\n"));
        }
        let mut delivered = 0;
        while delivered < PER_ROUND as u64 {
            let window = documents.next().expect("a window");
            delivered += number(&window, "/ledger/events/0/delivered");
            let walked = window.pointer("/ledger/events/0/kernel_walk/walked");
            n_walked += walked.and_then(Value::as_u64).unwrap_or(0);
        }
    }
    drop(target.take());
    let end = documents.last().expect("the end of the run");
    while stream.read_line(&mut text).expect("text") > 0 {}
    assert!(perfd.wait().expect("our child").success());
    Rounds {
        records: records(&text),
        n,
        end,
    }
}

#[test]
fn both_backends_give_the_same_sequence_of_stacks_while_it_happens() {
    if let Some(reason) = backend_forbidden("perf") {
        return skip(&reason);
    }
    let program = compile_c(ROUNDS, &["-O1", "-no-pie", "-fno-optimize-sibling-calls"]);
    let check = |run: &Rounds| {
        assert!(is_in_order(&run.records));
        assert_eq!(run.records.len() as u64, run.n * PER_ROUND as u64);
        let delivered = number(&run.end, "/ledger/events/0/delivered");
        assert_eq!(run.records.len() as u64, delivered);
        assert_eq!(number(&run.end, "/ledger/records_left_out"), 0);
        for (n, record) in run.records.iter().enumerate() {
            assert_eq!((record.period, record.frames[0].1.as_str()), (1, "probed"));
            assert!(record.event.starts_with("mem/0x"), "{record:?}");
            let in_thread = (5..11).contains(&(n % PER_ROUND));
            assert_eq!(record.tid != record.pid, in_thread, "{n}: {record:?}");
        }
        let folded = read_folded(&program.folder().join("x.folded"));
        assert_eq!(sums(&run.records), folded);
    };
    let sequence = |run: &Rounds| -> Vec<String> { run.records.iter().map(folded).collect() };
    if let Some(reason) = backend_forbidden("bpf") {
        check(&record_rounds(&program, "perf", |n, _| n == 4));
        return skip(&reason);
    }
    // Until the kernel has the mappings and tables of the program, its samples come with a copy.
    let bpf = record_rounds(&program, "bpf", |_, n_walked| {
        n_walked >= 4 * PER_ROUND as u64
    });
    check(&bpf);
    let perf = record_rounds(&program, "perf", |n, _| n == bpf.n);
    check(&perf);
    assert_eq!(sequence(&bpf), sequence(&perf));
}

/// A program that is busy in an inlined function, under a name that would forge a record if it could.
const BUSY: &str = r#"
#include <sys/prctl.h>
static volatile unsigned long sum;
static inline __attribute__((always_inline)) void inner(void) {
    for (unsigned long i = 0; i < 40000000; i++) sum += i;
}
__attribute__((noinline)) void outer(void) { inner(); inner(); }
int main(void) {
    prctl(PR_SET_NAME, "a\n\nb 1/1 [0] 1.");
    outer();
    return 0;
}
"#;

#[test]
fn records_are_what_the_other_outputs_add_up_and_collapsers_agree() {
    let program = compile_c(BUSY, &["-O1"]);
    for backend in BACKENDS {
        if let Some(reason) = backend_forbidden(backend) {
            skip(&reason);
            continue;
        }
        let path = |name: &str| program.folder().join(name);
        let before = now().0 / 1000;
        let status = perfd()
            .args(["record", "-q", "-e", "cpu-clock:u", "--backend", backend])
            .arg("-o")
            .arg(path("x.samples"))
            .arg("-o")
            .arg(path("x.folded"))
            .arg("-o")
            .arg(path("x.json"))
            .arg("--")
            .arg(program.path())
            .status();
        assert!(status.expect("perfd runs").success());
        let after = now().0 / 1000;
        let text = std::fs::read_to_string(path("x.samples")).expect("written");
        let records = records(&text);
        let json = std::fs::read_to_string(path("x.json")).expect("written");
        let json: Value = serde_json::from_str(&json).expect("a document");
        let delivered = number(&json, "/ledger/events/0/delivered");
        assert!(delivered > 20, "{delivered} samples");
        assert_eq!(records.len() as u64, delivered);
        assert!(is_in_order(&records));
        // Of one thread, whose samples are a millisecond apart.
        assert!(records.windows(2).all(|pair| pair[0].time < pair[1].time));
        let time = |record: Option<&Record>| record.expect("some").time;
        assert!(before <= time(records.first()) && time(records.last()) <= after);

        let folded = read_folded(&path("x.folded"));
        assert_eq!(sums(&records), folded);
        let hostile = records.iter().filter(|record| {
            escape::decode(&record.comm) == b"a\n\nb 1/1 [0] 1."
                && record.frames[0].1 == "inner"
                && record.frames[0].2 == "inlined"
                && record.frames[1].1 == "outer"
                && record.frames[1].2 == program.path().to_string_lossy()
        });
        assert!(hostile.count() > 10, "{text}");

        let mut collapsed = Vec::new();
        Folder::from(Options::default())
            .collapse(text.as_bytes(), &mut collapsed)
            .expect("records");
        let mut expected = BTreeMap::new();
        for (stack, weight) in &folded {
            *expected.entry(as_inferno(stack)).or_default() += weight;
        }
        std::fs::write(path("inferno.folded"), collapsed).expect("written");
        assert_eq!(read_folded(&path("inferno.folded")), expected);
    }
}

/// What inferno makes of a stack: no spaces in a thread's name, no mark of inlined functions, and unknown ones called after the module.
fn as_inferno(stack: &str) -> String {
    let mut frames = stack.split(';');
    let mut text = String::new();
    escape::script_comm(&escape::decode(frames.next().expect("a task")), &mut text);
    let mut text = text.replace(' ', "_");
    for frame in frames {
        let frame = frame.strip_suffix("_[i]").unwrap_or(frame);
        match frame.rsplit_once("+0x") {
            Some((module, _)) => text.push_str(&format!(";[{module}]")),
            None => text.push_str(&format!(";{frame}")),
        }
    }
    text
}

#[test]
fn without_o_the_samples_go_to_perfd_samples_even_if_there_are_none() {
    if let Some(reason) = backend_forbidden("perf") {
        return skip(&reason);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let status = perfd()
        .current_dir(&folder)
        .args(["record", "-q", "--timestamps", "-e", "alignment-faults"])
        .args(["--", "true"])
        .status();
    assert!(status.expect("perfd runs").success());
    let text = std::fs::read(folder.path().join("perfd.samples")).expect("written");
    assert_eq!(text, b"");
}
