//! A store whose process is killed at any moment, a thousand times: every file can be read, and none is missing that was said to be written.
//!
//! This program executes itself as the process that is killed.

use std::io::{BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use perfd::model::*;
use perfd::sink::pprof::Labels;
use perfd::store::{Archive, Limits, Names, RealDisk, Selection, Store};

const N_KILLS: u32 = 1000;
/// As many at a time.
const N_LANES: u32 = 4;

/// Where the process that is killed writes.
const FOLDER: &str = "PERFD_TEST_KILLED_STORE";
/// What it says for each file that is written.
const WRITTEN: u8 = b'#';

/// A window of a second with some stacks.
fn window(sequence: u64) -> Profile {
    let frame = |text: String| FrameName {
        text: text.into(),
        kind: NameKind::User,
        unnamed: None,
    };
    let row = |n: u64| Row {
        task: TaskLabel {
            comm: "busy".into(),
            pid: Some(Pid(42)),
            tid: None,
        },
        ended: Ended::Root,
        frames: (0..20)
            .map(|depth| frame(format!("function_{}", n * depth)))
            .collect(),
        weights: vec![Weight {
            total: 1000,
            samples: 1,
            squares: 1_000_000,
        }],
    };
    let event = SampledEvent {
        spec: EventSpec::new(EventSource::Software(SoftwareEvent::CpuClock)),
        rate: Rate::Frequency(Hz(19)),
        modes: Modes::ALL,
    };
    Profile {
        run: Arc::new(RunInfo {
            perfd_version: "0.0.0".into(),
            hostname: String::from("bench"),
            kernel: String::from("6.1.0"),
            target: String::from("busy"),
            events: vec![event],
            notes: Vec::new(),
        }),
        span: WindowSpan {
            sequence,
            start: MonoNs(sequence * 1_000_000_000),
            end: MonoNs((sequence + 1) * 1_000_000_000),
            start_unix_ns: 1_795_752_000_000_000_000 + sequence * 1_000_000_000,
            is_last: false,
        },
        rows: (0..50).map(row).collect(),
        processes: Vec::new(),
        ledger: Ledger::default(),
        whole_run: None,
    }
}

/// Writes until it is killed.
fn write(folder: &Path, names: Names) -> ! {
    let limits = Limits {
        window: Duration::from_secs(2),
        ..Limits::default()
    };
    let disk = RealDisk::open(folder, names).expect("the folder");
    let mut store = Store::on(Box::new(disk), limits).expect("a store");
    let labels = Labels {
        target: Some("busy".to_owned()),
        ..Labels::default()
    };
    let mut said = std::io::stdout();
    for sequence in 0.. {
        let window = window(sequence);
        let done = store.add(&window, &labels, window.span.start_unix_ns);
        assert!(done.failed.is_empty(), "{done:?}");
        for _ in 0..done.written {
            said.write_all(&[WRITTEN]).expect("somebody reads");
        }
        said.flush().expect("somebody reads");
    }
    unreachable!("there are more numbers than time")
}

fn names(round: u32) -> Names {
    match round % 4 {
        0 => Names::Hidden,
        _ => Names::NoneYet,
    }
}

fn started(folder: &Path, round: u32) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "a_thousand_kills_leave_whole_files",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .env("PERFD_TEST_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts")
}

#[test]
fn a_thousand_kills_leave_whole_files() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let round = std::env::var("PERFD_TEST_ROUND").expect("the round");
        write(Path::new(&folder), names(round.parse().expect("a number")));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    // A writer waits for its disk most of the time.
    std::thread::scope(|threads| {
        for lane in 0..N_LANES {
            let rounds = (lane..N_KILLS).step_by(N_LANES as usize);
            threads.spawn(move || {
                rounds.for_each(|round| kill_one(&folder.join(round.to_string()), round))
            });
        }
    });
}

fn kill_one(store: &Path, round: u32) {
    let mut writer = started(store, round);
    let mut said = BufReader::new(writer.stdout.take().expect("piped")).bytes();
    let mut is_written = || said.next().map(|byte| byte.expect("read") == WRITTEN);
    // Somewhere between two files: so many, and then a part of one.
    let mut written = 0;
    while written <= round % 3 {
        written += u32::from(is_written().expect("it goes on until it is killed"));
    }
    for n in 0..round * 61 % 20_000 {
        std::hint::black_box(n);
    }
    writer.kill().expect("it lives");
    writer.wait().expect("its end");
    written += std::iter::from_fn(is_written).map(u32::from).sum::<u32>();

    let found = Archive::at(store)
        .find(&Selection::default())
        .expect("the folder");
    assert!(
        found.damaged.is_empty(),
        "round {round}: {:?}",
        found.damaged
    );
    assert!(
        found.n_files >= written as usize,
        "round {round}: {} of {written}",
        found.n_files
    );
    // The next perfd goes on there.
    let next = Store::open(store, Limits::default()).expect("the folder is free again");
    drop(next);
    std::fs::remove_dir_all(store).expect("removed");
}
