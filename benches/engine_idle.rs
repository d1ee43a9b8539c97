//! What an engine takes that has nothing to do: ten targets that sleep, at 19 Hz, for 30 seconds.
//!
//! `cargo bench --bench engine_idle`

#![expect(clippy::print_stdout, reason = "the figures are what it is for")]

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, bounded};
use perfd::model::{AskedEvent, Hz, Pid, Rate, TargetId};
use perfd::procfs::SysRoots;
use perfd::session::engine::{
    Authority, Engine, EngineEvent, EngineSpec, Limits, Member, Sampling,
};
use perfd::session::tables::TABLE_BUDGET;
use perfd::session::{Backend, EventChoice};
use perfd::symbolize;
use perfd::sys::pidfd::PidFd;
use perfd::sys::{self, Waker};

const N_TARGETS: u32 = 10;
const TIME: Duration = Duration::from_secs(30);

fn main() {
    let event: AskedEvent = "cpu-clock".parse().expect("an event");
    let spec = EngineSpec {
        sampling: Sampling {
            events: EventChoice::Asked(vec![event]),
            rate: Rate::Frequency(Hz(19)),
            python: false,
        },
        backend: Backend::Auto,
        naming: symbolize::Config::default(),
        parsing: perfd::parser::Parsing::Here,
        interval: Duration::from_secs(10),
        ring_pages: None,
        table_budget: TABLE_BUDGET,
        limits: Limits::default(),
        roots: SysRoots::default(),
    };
    let (sender, events) = bounded(64);
    let engine = Engine::start(spec, sender, Waker::new().expect("a waker")).expect("an engine");
    let children: Vec<Child> = (0..N_TARGETS).map(|_| sleeper()).collect();
    for (child, target) in children.iter().zip(1..) {
        let pid = Pid(child.id());
        let member = Member::Process {
            pid,
            pidfd: PidFd::open(pid).expect("it runs"),
            with_tree: true,
        };
        engine.attach(TargetId(target), member, Authority::Everything);
    }
    let mut n_attached = 0;
    while n_attached < N_TARGETS {
        match events.recv().expect("an engine") {
            EngineEvent::Attached { .. } => n_attached += 1,
            EngineEvent::Opened(_) | EngineEvent::Window(_) => (),
            other => panic!("{other:?}"),
        }
    }
    let (began, cpu) = (sys::now(), sys::cpu_time_of_process());
    let mut n_windows = 0;
    let mut elapsed = Duration::ZERO;
    while elapsed < TIME {
        match events.recv_timeout(TIME - elapsed) {
            Ok(EngineEvent::Window(_)) => n_windows += 1,
            Ok(other) => panic!("{other:?}"),
            Err(RecvTimeoutError::Timeout) => (),
            Err(error) => panic!("{error}"),
        }
        elapsed = sys::now().since(began);
    }
    let cpu = sys::cpu_time_of_process() - cpu;
    let stats = engine.stats();
    let bpf = stats.cost.bpf.unwrap_or_default();
    let bpf_ns = bpf.time.map_or(0, |time| time.total_ns());
    let maps = bpf.map_bytes.unwrap_or(0) + bpf.table_bytes;
    let anonymous = anonymous();
    let total = anonymous + stats.ring_bytes + maps;
    println!("windows               {n_windows}");
    println!(
        "CPU of perfd          {:.3} % of a core",
        share(cpu, elapsed)
    );
    println!(
        "BPF programs          {:.3} % of a core",
        share(bpf_ns, elapsed)
    );
    println!("RssAnon               {:.1} MiB", mib(anonymous));
    println!("rings                 {:.1} MiB", mib(stats.ring_bytes));
    println!("BPF maps              {:.1} MiB", mib(maps));
    println!("in all                {:.1} MiB", mib(total));
    for mut child in children {
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
}

fn sleeper() -> Child {
    let mut command = Command::new("sleep");
    command.arg("infinity").stdin(Stdio::null());
    command.spawn().expect("sleep")
}

fn anonymous() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("our own");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok())
        .unwrap_or(0)
        << 10
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn share(ns: u64, elapsed: Duration) -> f64 {
    ns as f64 / elapsed.as_nanos() as f64 * 100.0
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
