//! The commands of docs/DAEMON.md, as they stand there, typed by a newcomer: from the installation to the uninstallation.

use std::fs;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::machine::{Machine, Said, here};
use super::own_daemon::client::{Client, PATIENCE};
use super::program::{self, NAMES};

/// What alice may see of it, who may not sample the kernel.
const OF_USER: [&str; 2] = [NAMES[0], NAMES[1]];

/// What runs: postgresql.service has one process, which is called `worker`.
const UNIT: &str = "postgresql.service";

/// The lines that stand behind a mark of the page.
fn shown(mark: &str) -> Vec<String> {
    let page = fs::read_to_string(here("docs/DAEMON.md")).expect("the page");
    let behind = page.split_once(&format!("<!-- {mark} -->\n```"));
    let (_, behind) = behind.unwrap_or_else(|| panic!("no {mark}"));
    let (_language, behind) = behind.split_once('\n').expect("a fence");
    let (block, _) = behind.split_once("\n```").expect("its end");
    block.lines().map(str::to_owned).collect()
}

/// A user types a line in that user's home folder, or in the checkout.
fn typed(line: &str, folder: &str) -> [String; 3] {
    ["sh".into(), "-c".into(), format!("cd {folder} && {line}")]
}

fn types(machine: &Machine, user: &str, line: &str) -> Said {
    let folder = if user == "root" { "/shared" } else { "~" };
    let words = typed(line, folder);
    machine.run_as(user, &words.each_ref().map(String::as_str))
}

/// Types a line that must succeed; what it printed.
fn done(machine: &Machine, user: &str, line: &str) -> String {
    let said = types(machine, user, line);
    assert_eq!(said.code, 0, "{line}: {said:#?}\n{}", machine.journal());
    said.stdout
}

#[test]
fn what_a_newcomer_types_does_what_the_page_says() {
    let Some(machine) = Machine::with_checkout() else {
        return;
    };
    // Who types is root already.
    machine.script("sudo", "exec \"$@\"");
    // A reader of folded stacks; the library that it is made of reads them below.
    machine.script("inferno-flamegraph", "exec tee ~/flame.folded");
    program::start(&machine, UNIT, "worker");
    it_is_installed(&machine);
    it_is_a_service(&machine);
    alice_profiles_what_is_hers_and_nothing_else(&machine);
    administrators_profile_everything(&machine);
    configured_targets_have_files(&machine);
    it_runs_in_the_foreground(&machine);
    it_is_uninstalled(&machine);
}

fn it_is_installed(machine: &Machine) {
    let lines = shown("install");
    assert_eq!(lines[0], "cargo build --release");
    for line in &lines[1..] {
        done(machine, "root", line);
    }
    let units = "perfd.service perfd.socket perfd-metrics.socket";
    let said = types(machine, "root", &format!("systemd-analyze verify {units}"));
    assert_eq!((said.code, said.stdout + &said.stderr), (0, String::new()));
    // Short windows, so that what is waited for comes soon.
    machine.write("/etc/perfd/perfd.toml", "window = \"200ms\"\n");
}

fn it_is_a_service(machine: &Machine) {
    for line in shown("service") {
        let printed = done(machine, "root", &line);
        let expected = match &*line {
            line if line.starts_with("systemctl status") => "Status: \"",
            line if line.starts_with("journalctl") => "started: version",
            _ => "",
        };
        assert!(printed.contains(expected), "{line}: {printed}");
    }
    // The last line stops it.
    for (unit, state) in [
        ("perfd.service", "inactive"),
        ("perfd.socket", "inactive"),
        ("perfd-metrics.socket", "inactive"),
    ] {
        assert_eq!(machine.property(unit, "ActiveState"), state, "{unit}");
    }
    let start = "systemctl start perfd-metrics.socket perfd.service";
    done(machine, "root", start);
    let groups = done(machine, "root", "id -nG alice");
    assert_eq!(groups, "alice perfd-admin\n");
    // She is to be a user like others.
    done(machine, "root", "gpasswd -d alice perfd-admin");
    done(machine, "root", "useradd -m -G perfd-admin carol");
    for line in shown("metrics") {
        let printed = done(machine, "root", &line);
        assert!(printed.contains("\n# TYPE perfd_"), "{printed}");
    }
}

/// The target of that name, as it is listed, if it is.
fn listed(client: &mut Client, name: &str) -> Option<Value> {
    let listed = client.done(json!({"do": "list"}));
    let targets = listed["targets"].as_array().expect("targets");
    let mut targets = targets.iter().filter(|target| target["name"] == name);
    targets.next().cloned()
}

/// Waits until all of these names have been in windows of a target and of its phase.
fn wait_for(machine: &Machine, target: &str, phase: Option<&str>, names: &[&str]) {
    let mut client = machine.client();
    let is_running = |target: &Value| target["state"] == "running";
    let number = loop {
        if let Some(target) = listed(&mut client, target).filter(is_running) {
            break target["target"].as_u64().expect("a number");
        }
    };
    client.done(json!({"do": "tail", "target": number, "format": "folded"}));
    let mut missing = names.to_vec();
    while !missing.is_empty() {
        let event = client.event(number);
        let window = &event["window"];
        let folded = window["folded"].as_str();
        let folded = folded.unwrap_or_else(|| panic!("{event}\n{}", machine.journal()));
        if window["phase"].as_str() == phase {
            missing.retain(|name| !folded.contains(name));
        }
    }
}

fn alice_profiles_what_is_hers_and_nothing_else(machine: &Machine) {
    let pid = program::pid(machine, UNIT).to_string();
    let mut tail = None;
    for line in shown("ctl") {
        let line = line.replace("4242", &pid).replace("-d 30", "-d 2");
        if line.contains("ctl tail") {
            // In another terminal: it lasts until the target ends.
            tail = Some(begun(machine, "alice", &line));
            continue;
        }
        if line.contains("ctl snapshot") {
            while listed(&mut machine.client(), "bench").expect("it runs")["tails"] == 0 {}
            wait_for(machine, "bench", Some("measure"), &OF_USER);
        }
        let printed = done(machine, "alice", &line);
        let is_listed = line.contains("ctl list");
        assert!(!is_listed || printed.contains("bench"), "{printed}");
        for file in ["so-far.svg", "flame.svg"]
            .iter()
            .filter(|file| line.contains(**file))
        {
            let svg = done(machine, "alice", &format!("cat {file}"));
            assert!(
                svg.contains("<svg") && svg.contains("worker"),
                "{line}: {svg}"
            );
        }
        if line.contains("ctl detach") {
            let ended = tail.take().expect("it is shown before").wait();
            assert!(ended.expect("its end").success(), "the tail has failed");
            reads_as_a_flame_graph(&done(machine, "alice", "cat flame.folded"));
        }
    }
    for (user, line) in [
        ("bob", format!("perfd ctl attach {pid}")),
        ("bob", format!("perfd attach --daemon {pid} -d 1")),
        ("alice", format!("perfd ctl attach --unit {UNIT}")),
        ("alice", "perfd ctl attach --host".to_owned()),
        ("alice", "perfd ctl shutdown".to_owned()),
        ("alice", "perfd ctl attach 1".to_owned()),
    ] {
        let said = types(machine, user, &line);
        // EX_NOPERM.
        assert_eq!(said.code, 77, "{user}: {line}: {said:#?}");
    }
}

fn begun(machine: &Machine, user: &str, line: &str) -> Child {
    let words = typed(line, "~");
    let mut command = machine.command_as(user, &words.each_ref().map(String::as_str));
    command
        .stdout(Stdio::null())
        .spawn()
        .expect("nsenter starts")
}

fn reads_as_a_flame_graph(folded: &str) {
    for name in OF_USER {
        assert!(folded.contains(name), "{name}: {folded}");
    }
    let mut svg = Vec::new();
    let mut options = inferno::flamegraph::Options::default();
    inferno::flamegraph::from_lines(&mut options, folded.lines(), &mut svg).expect("a flame graph");
    let svg = String::from_utf8(svg).expect("text");
    assert!(svg.contains("<svg") && svg.contains(NAMES[1]), "{svg}");
}

fn administrators_profile_everything(machine: &Machine) {
    for line in shown("administrators") {
        let number = done(machine, "carol", &line);
        let number = number.trim();
        wait_for(machine, &name_of(machine, number), None, &NAMES);
        done(machine, "carol", &format!("perfd ctl detach {number}"));
    }
}

fn name_of(machine: &Machine, number: &str) -> String {
    let listed = machine.client().done(json!({"do": "list"}));
    let number: u64 = number.parse().expect("a number");
    let targets = listed["targets"].as_array().expect("targets");
    let target = targets.iter().find(|target| target["target"] == number);
    let name = target.and_then(|target| target["name"].as_str());
    name.unwrap_or_else(|| panic!("no {number}: {listed}"))
        .to_owned()
}

fn configured_targets_have_files(machine: &Machine) {
    let block = shown("targets").join("\n");
    let config = "/etc/perfd/perfd.toml";
    machine.write(config, &format!("window = \"200ms\"\n{block}\n"));
    done(machine, "root", &format!("perfd config --check {config}"));
    let since = done(machine, "root", "date +%H:%M");
    done(machine, "root", "sudo systemctl reload perfd");
    for name in [UNIT, "workers"] {
        wait_for(machine, name, None, &NAMES);
    }
    // Files are whole when they are as long as they may be, or the daemon has ended.
    done(machine, "root", "systemctl stop perfd.socket");
    assert_eq!(machine.property("perfd.service", "Result"), "success");
    let until = done(machine, "root", "date -d '+2 minutes' +%H:%M");
    for line in shown("export") {
        let line = line
            .replace("10:00", since.trim())
            .replace("10:05", until.trim());
        done(machine, "root", &line);
    }
    let svg = done(machine, "root", "cat flame.svg");
    assert!(svg.contains("<svg") && svg.contains(NAMES[1]), "{svg}");
    let pprof = done(machine, "root", "gzip -dc postgresql.pb.gz | strings");
    assert!(pprof.contains(NAMES[1]), "{pprof}");
}

fn it_runs_in_the_foreground(machine: &Machine) {
    machine.write("/shared/perfd.toml", "");
    done(machine, "alice", "mkdir /tmp/me");
    let lines = shown("foreground");
    let sockets = ["/run/perfd/control.sock", "/tmp/me/control.sock"];
    let users = ["root", "alice"];
    assert_eq!(lines.len(), users.len());
    for ((line, socket), user) in lines.iter().zip(sockets).zip(users) {
        let folder = if user == "root" { "/shared" } else { "~" };
        let line = line.split('#').next().unwrap_or_default();
        let words = typed(&format!("echo $$ >/tmp/{user}.pid; exec {line}"), folder);
        let mut command = machine.command_as(user, &words.each_ref().map(String::as_str));
        let log = machine.shared("foreground.log");
        command.stderr(fs::File::create(&log).expect("a file of the folder"));
        let mut daemon = command.spawn().expect("nsenter starts");
        let level = done(machine, "root", "cat /proc/sys/kernel/perf_event_paranoid");
        let level: i32 = level.trim().parse().expect("a number");
        if user != "root" && level > 0 {
            // As the page says.
            let ended = daemon.wait().expect("its end");
            let said = fs::read_to_string(&log).unwrap_or_default();
            assert_eq!(ended.code(), Some(77), "{line}: {said}");
            assert!(said.contains("a daemon samples whole CPUs"), "{said}");
            continue;
        }
        let began = std::time::Instant::now();
        while types(machine, user, &format!("perfd ctl list --socket {socket}")).code != 0 {
            let ended = daemon.try_wait().expect("its status");
            assert!(
                ended.is_none() && began.elapsed() < PATIENCE,
                "{line}: {ended:?}\n{}",
                fs::read_to_string(&log).unwrap_or_default()
            );
        }
        done(
            machine,
            "root",
            &format!("kill -INT $(cat /tmp/{user}.pid)"),
        );
        let ended = daemon.wait().expect("its end");
        assert!(ended.success(), "{line}: {ended}");
    }
}

fn it_is_uninstalled(machine: &Machine) {
    let of_perfd = "find /etc /usr/local /run/systemd/system /var/lib -name '*perfd*' | sort";
    let installed = done(machine, "root", of_perfd);
    let unit = "/usr/local/lib/systemd/system/perfd.service";
    assert!(installed.contains(unit), "{installed}");
    done(
        machine,
        "root",
        "systemctl enable --now perfd.socket perfd-metrics.socket",
    );
    done(machine, "root", "sudo systemd/install --uninstall");
    let left = "/etc/perfd\n/etc/perfd/perfd.toml\n/var/lib/perfd\n";
    assert_eq!(done(machine, "root", of_perfd), left);
    let active = types(machine, "root", "systemctl is-active perfd.socket");
    assert_eq!(active.stdout, "inactive\n");
}
