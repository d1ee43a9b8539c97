//! What the daemon says that it takes.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::own_daemon::{Circumstances, Daemon, accounts_add_up};
use super::support::compile_c;
use super::{WORKER, Worker};

/// Memory (RssAnon) in bytes, and CPU time in nanoseconds (rounded down) of a process; nothing if it is gone.
fn taken(pid: u64) -> (u64, u64) {
    let read = |name| fs::read_to_string(Path::new("/proc").join(pid.to_string()).join(name));
    let (Ok(status), Ok(stat)) = (read("status"), read("stat")) else {
        return (0, 0);
    };
    let memory = status.lines().find_map(|line| {
        let kib = line.strip_prefix("RssAnon:")?.strip_suffix("kB")?;
        kib.trim().parse::<u64>().ok()
    });
    let behind_name = stat.rsplit(") ").next().expect("fields");
    let fields: Vec<&str> = behind_name.split(' ').collect();
    let ticks = |at: usize| fields[at].parse::<u64>().expect("a number");
    let cpu = (ticks(11) + ticks(12)) * 10_000_000;
    (memory.unwrap_or(0) << 10, cpu)
}

fn children(of: u64) -> Vec<u64> {
    let parent = |pid: u64| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let behind_name = stat.rsplit(") ").next()?.to_owned();
        behind_name.split(' ').nth(1)?.parse::<u64>().ok()
    };
    let entries = fs::read_dir("/proc").expect("it is there");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent(*pid) == Some(of)).collect()
}

#[test]
fn memory_and_cpu_are_those_of_the_children_too() {
    let long = Circumstances {
        config: "window = \"1h\"\n[files]\nwindow = \"1h\"\n",
        ..Circumstances::default()
    };
    let Some(daemon) = Daemon::start(&long) else {
        return;
    };
    let program = compile_c(WORKER, &["-O1", "-g"]);
    let mut worker = Worker::start(program.path());
    let mut client = daemon.client();
    let target = client.attach(worker.pid());
    // No window has closed: what there is to say of the engine is there all the same.
    let stats = client.done(json!({"do": "stats"}));
    assert_eq!(stats["engines"][0]["targets"], 1, "{stats}");
    assert_eq!(stats["engines"][0]["processes"], 1, "{stats}");
    let events = stats["engines"][0]["events"].as_array().expect("events");
    assert!(!events.is_empty(), "{stats}");
    accounts_add_up(&stats);
    worker.work('1');
    // Names are found by a child, which stays for a while.
    let asked = json!({"do": "snapshot", "target": target, "format": "folded"});
    client.done(asked);
    let own = u64::try_from(daemon.pid().as_raw()).expect("positive");
    let children = children(own);
    assert!(!children.is_empty());
    let sum = |before: (u64, u64), pid: &u64| {
        let (memory, cpu) = taken(*pid);
        (before.0 + memory, before.1 + cpu)
    };
    let (of_children, cpu_of_children) = children.iter().fold((0, 0), sum);
    let (own_before, own_cpu) = taken(own);
    let stats = client.done(json!({"do": "stats"}));
    let (own_behind, _) = taken(own);
    let figure = |name: &str| stats[name].as_u64().expect("a number");
    assert!(figure("cpu_ns") >= own_cpu + cpu_of_children, "{stats}");
    // What the daemon itself takes changes by less than half of what its children do.
    let least_own = own_before.min(own_behind);
    assert!(of_children > 0);
    assert!(
        figure("rss_anon_bytes") >= least_own + of_children / 2,
        "{least_own} and {of_children}: {stats}"
    );
    daemon.end();
}
