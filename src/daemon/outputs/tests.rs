//! Descriptors of every kind, and readers that are slow or gone.

use std::io::Read;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::daemon::clients::test_window;
use crate::model::EventIdx;
use crate::sink::Measure;

fn said(fd: impl Into<OwnedFd>) -> String {
    match Writable::check(fd.into()) {
        Ok(_) => "taken".to_owned(),
        Err(fault) => fault.what,
    }
}

#[test]
fn only_what_a_client_can_itself_write_to_without_effect_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let options = |read, write| {
        let mut options = File::options();
        options.read(read).write(write);
        options
    };
    assert_eq!(said(File::create(&path).unwrap()), "taken");
    assert_eq!(said(options(true, true).open(&path).unwrap()), "taken");
    let (reader, writer) = nix::unistd::pipe().unwrap();
    assert_eq!(said(writer), "taken");
    assert!(said(reader).contains("not open for writing"));
    let (one, _other) = UnixStream::pair().unwrap();
    assert_eq!(said(one), "taken");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    assert_eq!(said(connected), "taken");

    assert!(said(File::open(&path).unwrap()).contains("not open for writing"));
    assert!(said(File::open(folder.path()).unwrap()).contains("not open for writing"));
    let by_path = nix::fcntl::open(&path, OFlag::O_PATH, nix::sys::stat::Mode::empty());
    assert!(said(by_path.unwrap()).contains("O_PATH"));
    let comm = options(false, true).open("/proc/self/comm").unwrap();
    assert!(said(comm).contains("procfs"));
    let null = options(false, true).open("/dev/null").unwrap();
    assert!(said(null).contains("neither"));
    let socket = folder.path().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    assert!(said(UnixStream::connect(&socket).unwrap()).contains("with a name"));
    let datagrams = std::os::unix::net::UnixDatagram::pair().unwrap().0;
    assert!(said(datagrams).contains("no stream"));
    let eventfd = nix::sys::eventfd::EventFd::from_value(0).unwrap();
    assert!(said(OwnedFd::from(eventfd)).contains("neither"));
}

fn started(to: impl Into<OwnedFd>, format: OutputFormat) -> (Output, Waker) {
    started_with(to, format, 4 << 20)
}

fn started_with(to: impl Into<OwnedFd>, format: OutputFormat, waiting: u64) -> (Output, Waker) {
    let waker = Waker::new().unwrap();
    let spec = OutputSpec {
        format,
        view: View {
            event: EventIdx(0),
            measure: Measure::Weight,
        },
        labels: Labels::default(),
        room: Room {
            waiting,
            whole: 8 << 20,
        },
    };
    let to = Writable::check(to.into()).unwrap();
    (Output::start(to, spec, waker.clone()).unwrap(), waker)
}

fn wait(waker: &Waker) {
    let mut asked = [PollFd::new(waker.as_fd(), PollFlags::POLLIN)];
    poll(&mut asked, PollTimeout::NONE).unwrap();
}

#[test]
fn windows_are_written_in_order_and_each_form_ends_as_a_whole() {
    for (format, start, n) in [
        (OutputFormat::Folded, "comm;fff ", 30),
        (OutputFormat::Jsonl, "{\"type\":\"window\"", 0),
        (OutputFormat::Json, "{\n  \"type\": \"run\"", 0),
        (OutputFormat::Svg, "<?xml", 0),
        (OutputFormat::Functions, "", 0),
    ] {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let (output, waker) = started(writer, format);
        for sequence in 0..3 {
            output.window(&test_window(sequence, None, 3));
        }
        output.end();
        let mut text = String::new();
        File::from(reader).read_to_string(&mut text).unwrap();
        wait(&waker);
        assert_eq!(output.state(), OutputState::Done);
        assert!(text.starts_with(start) && !text.is_empty(), "{text}");
        if format == OutputFormat::Folded {
            let weights = text.lines().map(|line| {
                let weight = line.rsplit(' ').next().unwrap();
                weight.parse::<u64>().unwrap()
            });
            assert_eq!(weights.sum::<u64>(), n);
        }
    }
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let (output, _waker) = started(writer, OutputFormat::Pprof);
    output.window(&test_window(0, None, 3));
    output.window(&test_window(1, None, 3));
    drop(output);
    let mut bytes = Vec::new();
    File::from(reader).read_to_end(&mut bytes).unwrap();
    let decoded = pprof::decode(&bytes, &pprof::Limits::default()).unwrap();
    assert_eq!(decoded.profile.rows[0].weights[0].total, 20);
}

#[test]
fn while_nobody_reads_windows_are_merged_and_nothing_is_lost() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let (output, _waker) = started(writer, OutputFormat::Folded);
    // Larger than what a pipe holds, so that the thread is stuck in the first.
    const N: u64 = 20;
    for sequence in 0..N {
        output.window(&test_window(sequence, None, 1 << 20));
    }
    assert_eq!(output.state(), OutputState::Open);
    output.end();
    let mut text = String::new();
    File::from(reader).read_to_string(&mut text).unwrap();
    let weights = text.lines().map(|line| line.rsplit(' ').next().unwrap());
    let sum: u64 = weights.map(|weight| weight.parse::<u64>().unwrap()).sum();
    assert_eq!(sum, N * 10);
    let (merged, dropped) = output.merged_and_dropped();
    assert_eq!(merged + text.lines().count() as u64, N);
    assert_eq!(dropped, 0);
}

#[test]
fn what_waits_takes_no_more_memory_than_there_is_room_for() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let one = crate::aggregate::profile_bytes(&test_window(0, None, 1 << 20).profile);
    let (output, waker) = started_with(writer, OutputFormat::Folded, 3 * one);
    const N: u64 = 20;
    for sequence in 0..N {
        let phase = sequence.to_string();
        output.window(&test_window(sequence, Some(&phase), 1 << 20));
    }
    drop(reader);
    wait(&waker);
    // One may be in the thread's hands.
    let (merged, dropped) = output.merged_and_dropped();
    assert_eq!(merged, 0);
    assert!((N - 4..=N - 3).contains(&dropped), "{dropped}");
}

#[test]
fn a_reader_that_goes_away_ends_its_output_alone() {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    let (output, waker) = started(writer, OutputFormat::Folded);
    drop(reader);
    output.window(&test_window(0, None, 3));
    wait(&waker);
    assert_eq!(output.state(), OutputState::Closed);
    output.window(&test_window(1, None, 3));
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert!(said(full).contains("neither"));
}

#[test]
fn what_was_in_a_file_stays_until_something_comes_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let before = "something that is longer than what comes\n".repeat(100);
    std::fs::write(&path, &before).unwrap();
    let (output, waker) = started(
        File::options().write(true).open(&path).unwrap(),
        OutputFormat::Folded,
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
    output.window(&test_window(0, None, 1));
    output.end();
    wait(&waker);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("comm;f ") && !text.contains("longer"),
        "{text}"
    );
    // Nothing came, and that is what there is.
    let (output, waker) = started(
        File::options().write(true).open(&path).unwrap(),
        OutputFormat::Svg,
    );
    output.end();
    wait(&waker);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn what_is_to_go_behind_something_takes_nothing_away() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    for options in [File::options().append(true), File::options().write(true)] {
        std::fs::write(&path, "before\n").unwrap();
        let mut file = options.open(&path).unwrap();
        file.seek(io::SeekFrom::End(0)).unwrap();
        let (output, waker) = started(file, OutputFormat::Folded);
        output.window(&test_window(0, None, 1));
        output.end();
        wait(&waker);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("before\ncomm;f "), "{text}");
    }
}
