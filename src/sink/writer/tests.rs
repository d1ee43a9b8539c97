//! Whole sinks: each format to each kind of place, and what happens when a place fails.

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use super::*;
use crate::model::*;

fn context(n_events: usize) -> OpenContext {
    let events = [HardwareEvent::Cycles, HardwareEvent::Instructions];
    OpenContext {
        run: Arc::new(RunInfo {
            perfd_version: "".into(),
            hostname: String::new(),
            kernel: String::new(),
            target: String::from("<script>alert(1)</script>"),
            events: events[..n_events]
                .iter()
                .map(|event| SampledEvent {
                    spec: EventSpec::new(EventSource::Hardware(*event)),
                    rate: Rate::Period(10),
                    modes: Modes::ALL,
                })
                .collect(),
            notes: Vec::new(),
        }),
        shown: None,
        measure: Measure::Weight,
        timeout: Duration::from_secs(60),
    }
}

fn window(context: &OpenContext, sequence: u64, is_last: bool, name: &str) -> Profile {
    let weight = |period| {
        let mut weight = Weight::default();
        weight.add(period);
        weight
    };
    Profile {
        run: Arc::clone(&context.run),
        span: WindowSpan {
            sequence,
            start: MonoNs(sequence * 100),
            end: MonoNs(sequence * 100 + 100),
            start_unix_ns: 0,
            is_last,
        },
        rows: vec![Row {
            task: TaskLabel {
                comm: "app".into(),
                pid: None,
                tid: None,
            },
            ended: Ended::Root,
            frames: vec![FrameName {
                text: name.into(),
                kind: NameKind::User,
                unnamed: None,
            }],
            weights: vec![weight(7), weight(9)],
        }],
        processes: Vec::new(),
        ledger: Ledger::default(),
        whole_run: None,
    }
}

fn open(typed: &str, context: &OpenContext) -> Sink {
    Sink::open(&typed.parse().unwrap(), context).unwrap()
}

fn written(sink: &mut Sink, context: &OpenContext) {
    sink.write(&window(context, 0, false, "f")).unwrap();
    sink.write(&window(context, 1, true, "g")).unwrap();
}

#[test]
fn each_event_has_a_file_of_its_own_and_windows_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(2);
    let typed = format!("{}/out.folded", dir.path().display());
    let mut sink = open(&typed, &context);
    written(&mut sink, &context);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(read("out.cycles.folded"), "app;f 7\napp;g 7\n");
    assert_eq!(read("out.instructions.folded"), "app;f 9\napp;g 9\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    sink.finish().unwrap();
}

#[test]
fn an_event_that_is_asked_for_alone_has_the_plain_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut context = context(2);
    context.shown = Some(EventIdx(1));
    let typed = format!("{}/out.folded", dir.path().display());
    written(&mut open(&typed, &context), &context);
    assert_eq!(fs::read_to_string(&typed).unwrap(), "app;f 9\napp;g 9\n");
}

#[test]
fn a_flame_graph_shows_all_windows_and_no_markup_of_hostile_names() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(1);
    let path = dir.path().join("out.svg");
    let mut sink = open(path.to_str().unwrap(), &context);
    let hostile = "</title><script>alert('x')</script>\"]]>&";
    sink.write(&window(&context, 0, false, hostile)).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
    sink.write(&window(&context, 1, true, "g")).unwrap();
    let svg = fs::read_to_string(&path).unwrap();
    assert!(svg.contains("app (14 cycles, 100.00%)"), "{svg}");
    assert!(svg.contains("g (7 cycles, 50.00%)"), "{svg}");
    assert!(!svg.contains("<script>alert"), "{svg}");
    assert!(svg.contains("&lt;script&gt;alert("), "{svg}");
    assert_eq!(svg.matches("</script>").count(), 1);
}

#[test]
fn a_table_of_functions_is_one_file_with_all_events_and_windows_even_of_a_run_that_broke_off() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(2);
    let path = dir.path().join("out.functions");
    let write = |context: &OpenContext, last: bool| {
        let mut sink = open(path.to_str().unwrap(), context);
        sink.write(&window(context, 0, false, "f")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        sink.write(&window(context, 1, last, "g")).unwrap();
        sink.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        text
    };
    let words = |text: &str, function: &str| -> Vec<String> {
        let line = text.lines().find_map(|line| line.strip_suffix(function));
        let words = line.unwrap_or_else(|| panic!("{text}")).split_whitespace();
        words.map(str::to_owned).collect()
    };
    for last in [true, false] {
        let text = write(&context, last);
        assert_eq!(
            words(&text, "  f")[..6],
            ["7", "50.0", "50.0", "9", "50.0", "50.0"]
        );
        assert_eq!(words(&text, "  all samples")[..2], ["14", "100.0"]);
        assert_eq!(words(&text, "  all samples")[3], "18");
    }
}

#[test]
fn a_flame_graph_without_samples_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(1);
    let path = dir.path().join("out.svg");
    let mut empty = window(&context, 0, true, "f");
    empty.rows.clear();
    open(path.to_str().unwrap(), &context)
        .write(&empty)
        .unwrap();
    let svg = fs::read_to_string(&path).unwrap();
    assert!(
        svg.contains("no samples") && !svg.contains("<script>"),
        "{svg}"
    );
}

#[test]
fn json_lines_end_with_the_whole_run() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(1);
    let path = dir.path().join("out.jsonl");
    written(&mut open(path.to_str().unwrap(), &context), &context);
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<_> = lines
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["window", "window", "end"]);
    assert_eq!(lines[1]["elapsed_ns"], 100);
    assert_eq!(lines[2]["elapsed_ns"], 200);
    assert_eq!(lines[2]["windows"], 2);
    assert_eq!(lines[2]["events"][0]["rate"]["period"], 10);
}

#[test]
fn a_full_disk_is_an_error_and_the_window_can_go_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(2);
    for (format, expected) in [
        ("folded", "app;f 7\n"),
        ("svg", "f (7 cycles"),
        ("json", "\"run\""),
    ] {
        let mut sink = open(&format!("{format}:/dev/full"), &context);
        let window = window(&context, 0, true, "f");
        let error = sink.write(&window).unwrap_err();
        assert!(matches!(error, WriteError::Io { .. }), "{error}");
        assert!(matches!(
            sink.write(&window),
            Err(WriteError::Broken { .. })
        ));
        let paths = sink.divert(dir.path()).unwrap();
        sink.write(&window).unwrap();
        assert_eq!(paths, [dir.path().join(format!("perfd-rescued.{format}"))]);
        let text = fs::read_to_string(&paths[0]).unwrap();
        assert!(text.contains(expected), "{text}");
    }
    let mut again = open("folded:/dev/full", &context);
    let second = dir.path().join("perfd-rescued-2.folded");
    assert_eq!(again.divert(dir.path()).unwrap(), [second]);
}

/// A place that takes so many bytes and no more.
struct Narrow(usize);

impl Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.0);
        self.0 -= n;
        match n {
            0 => Err(io::Error::from(io::ErrorKind::StorageFull)),
            n => Ok(n),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Carry for Narrow {
    fn roll_back(&mut self) -> bool {
        true
    }
}

#[test]
fn a_window_that_one_file_cannot_take_is_in_none_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(2);
    let typed = format!("{}/out.folded", dir.path().display());
    let mut sink = open(&typed, &context);
    sink.write(&window(&context, 0, false, "f")).unwrap();
    sink.outputs[1].carrier = Box::new(Narrow(3));
    let lost = window(&context, 1, false, "g");
    assert!(matches!(sink.write(&lost), Err(WriteError::Io { .. })));
    let cycles = dir.path().join("out.cycles.folded");
    assert_eq!(fs::read_to_string(&cycles).unwrap(), "app;f 7\n");
    sink.outputs[1].carrier = Box::new(Narrow(100));
    sink.write(&lost).unwrap();
    assert_eq!(fs::read_to_string(&cycles).unwrap(), "app;f 7\napp;g 7\n");
}

#[test]
fn a_flame_graph_counts_a_window_once_that_is_written_twice() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(1);
    let mut sink = open("svg:/dev/full", &context);
    let window = window(&context, 0, true, "f");
    sink.write(&window).unwrap_err();
    let paths = sink.divert(dir.path()).unwrap();
    sink.write(&window).unwrap();
    let svg = fs::read_to_string(&paths[0]).unwrap();
    assert!(svg.contains("f (7 cycles, 100.00%)"), "{svg}");
}

#[test]
fn a_sink_can_go_to_a_thread_of_its_own() {
    fn check<T: Send>() {}
    check::<Sink>();
}

#[test]
fn sockets_get_each_window_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let context = context(2);
    let path = dir.path().join("s");
    let unix = UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let check = |typed: String, mut accept: Box<dyn FnMut() -> Box<dyn Read>>| {
        let mut sink = open(&typed, &context);
        let mut reader = accept();
        let mut text = [0; 8];
        sink.write(&window(&context, 0, false, "f")).unwrap();
        reader.read_exact(&mut text).unwrap();
        assert_eq!(&text, b"app;f 7\n");
        drop(reader);
        let closed = (1..1000).find_map(|n| sink.write(&window(&context, n, false, "f")).err());
        assert!(closed.unwrap().is_closed());
    };
    check(
        format!("unix:{}", path.display()),
        Box::new(|| Box::new(unix.accept().unwrap().0)),
    );
    check(
        format!("tcp:{}", tcp.local_addr().unwrap()),
        Box::new(|| Box::new(tcp.accept().unwrap().0)),
    );
}

#[test]
fn a_reader_that_takes_nothing_ends_its_own_output_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut context = context(1);
    context.timeout = Duration::from_millis(1);
    let path = dir.path().join("s");
    let _listener = UnixListener::bind(&path).unwrap();
    let mut sink = open(&format!("unix:{}", path.display()), &context);
    let error = (0..1_000_000).find_map(|n| sink.write(&window(&context, n, false, "f")).err());
    assert!(
        matches!(error, Some(WriteError::Stalled { .. })),
        "{error:?}"
    );
}

#[test]
fn nobody_at_the_socket_is_found_before_the_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let check = |expected: &str| {
        let spec = format!("unix:{}", path.display()).parse().unwrap();
        let error = Sink::open(&spec, &context(1)).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("no such socket");
    drop(UnixListener::bind(&path).unwrap());
    check("nobody listens");
}
