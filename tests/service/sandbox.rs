//! What the daemon can do in its sandbox, and what it cannot: `probe.c` tries it, under the directives of the shipped unit.

use std::fs;
use std::io::ErrorKind;

use super::machine::{Machine, here};
use super::support::{BACKENDS, compile_c, skip};
use perfd::bpf::{CountEach, KernelWalk, Python, Room};
use perfd::sys::confinement::{Allowance, confine};

/// A process of alice's, whose executable lies in a folder that is hers alone, with a perf map in a /tmp that is its own.
const TARGET: &str = r#"
[Service]
Type=exec
User=alice
PrivateTmp=yes
ExecStart=/home/alice/hidden/sleeper infinity
ExecStartPost=/bin/sh -c 'echo 1000 20 made_at_run_time > /tmp/perf-$MAINPID.map'
"#;

/// perfd.service, but for what it runs.
fn probe(command: &str) -> String {
    format!(
        "
[Service]
Type=oneshot
Restart=no
WatchdogSec=0
ExecStart=
ExecStart={command}
StandardOutput=file:/run/probed
StandardError=inherit
"
    )
}

/// What is tried that must not succeed, and the error that it gets.
const REFUSED: &[(&str, &str)] = &[
    // perfd never writes to a target. CAP_SYS_PTRACE alone would let it: the filter of system calls does not, and the file of a process's memory may be
    // written by its owner alone, since perfd does not hold CAP_DAC_OVERRIDE.
    ("memory, to write", "EACCES"),
    ("ptrace", "EPERM"),
    ("process_vm_readv", "EPERM"),
    ("pidfd_getfd", "EPERM"),
    ("signal", "EPERM"),
    // This one is in the target's /tmp, which is not perfd's.
    ("perf map in the own root", "ENOENT"),
    ("a setting of the kernel, to write", "EACCES"),
    ("file in /etc", "EROFS"),
    ("file in /run/perfd", "EACCES"),
    ("file in a cgroup", "EACCES"),
    ("higher priority", "EACCES"),
    ("internet socket", "EAFNOSUPPORT"),
    ("netlink socket", "EAFNOSUPPORT"),
    ("memory to write and run", "EPERM"),
    ("namespace", "EPERM"),
    ("real-time", "EPERM"),
    ("mount", "EPERM"),
    ("set-user-ID", "EPERM"),
    // The bounding set can only be made smaller by CAP_SETPCAP. It says what a program may gain that is executed; under NoNewPrivileges= that is nothing.
    ("parser: capability out of the bounding set", "EPERM"),
    ("parser: event of a process", "EACCES"),
    ("parser: maps of a process", "EACCES"),
    ("parser: BPF program", "EPERM"),
];

#[test]
fn in_the_sandbox_everything_works_that_perfd_does_and_nothing_else() {
    if let Ok(what) = std::env::var(INSIDE) {
        return match &*what {
            "programs" => the_kernel_takes_perfds_own_programs(),
            "parser" => the_parser_gives_up_its_rights(),
            other => panic!("{other}"),
        };
    }
    let Some(machine) = Machine::with_perfd() else {
        return;
    };
    what_the_probe_tries_is_done_or_refused(&machine);
    match BACKENDS.contains(&"bpf") {
        // Not by the built perfd, which knows that no pid is what it seems in this machine's pid namespace, and leaves BPF alone.
        true => this_test_in_sandbox(&machine, "programs"),
        false => skip("perfd has no BPF programs for this processor"),
    }
    this_test_in_sandbox(&machine, "parser");
}

fn what_the_probe_tries_is_done_or_refused(machine: &Machine) {
    let source = fs::read_to_string(here("tests/service/probe.c")).expect("the probe");
    machine.share(compile_c(&source, &[]).path(), "probe");
    machine.ok(&["install", "/shared/probe", "/usr/local/bin/probe"]);
    machine.ok(&[
        "install",
        "-d",
        "-m",
        "700",
        "-o",
        "alice",
        "/home/alice/hidden",
    ]);
    machine.ok(&[
        "install",
        "-o",
        "alice",
        "-m",
        "700",
        "/bin/sleep",
        "/home/alice/hidden/sleeper",
    ]);
    machine.unit("target.service", TARGET);
    machine.ok(&["systemctl", "start", "target.service"]);
    let pid = machine.property("target.service", "MainPID");
    let cgroup = "/sys/fs/cgroup/system.slice/target.service";
    let said = in_sandbox(machine, &format!("/usr/local/bin/probe {pid} {cgroup}"));
    let mut results: Vec<_> = said
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .collect();
    for (name, error) in REFUSED {
        let tried = results.iter().position(|(tried, _)| tried == name);
        let (_, result) =
            results.remove(tried.unwrap_or_else(|| panic!("{name} was not tried: {said}")));
        assert_eq!(result, *error, "{name}");
    }
    results.retain(|(_, result)| *result != "ok");
    assert_eq!(results, [], "these should work");
    assert!(
        said.ends_with("parser: BPF program\tEPERM\n"),
        "all was tried: {said}"
    );
}

fn the_kernel_takes_perfds_own_programs() {
    let room = Room::default();
    let walk = KernelWalk::load(1, true, CountEach::Stack, Python::Leave, room, [1, 2]);
    walk.map(drop).expect("the programs are loaded");
}

fn the_parser_gives_up_its_rights() {
    let allowance = Allowance {
        memory: 1 << 30,
        open_files: 64,
        file_size: 1 << 20,
    };
    confine(allowance).expect("it is confined");
    let refused = fs::read("/etc/hostname").expect_err("no file has a name any more");
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
}

/// Set where this program runs in the sandbox itself: what is to be done there.
const INSIDE: &str = "PERFD_TEST_IN_SANDBOX";

/// Has the test of this file executed anew in the sandbox, where it does that.
fn this_test_in_sandbox(machine: &Machine, what: &str) {
    let own = std::env::current_exe().expect("this program");
    machine.share(&own, "this");
    machine.ok(&["install", "/shared/this", "/usr/local/bin/this"]);
    let command = format!("/bin/env {INSIDE}={what} /usr/local/bin/this sandbox::");
    let said = in_sandbox(machine, &command);
    assert!(said.contains("1 passed; 0 failed"), "{what}: {said}");
}

/// Runs a command as perfd.service runs the daemon; its standard output.
fn in_sandbox(machine: &Machine, command: &str) -> String {
    let unit = "/usr/local/lib/systemd/system/perfd.service";
    machine.ok(&["cp", unit, "/etc/systemd/system/probe.service"]);
    machine.unit("probe.service.d/probe.conf", &probe(command));
    let said = machine.run(&["systemctl", "start", "probe.service"]);
    let output = machine.run(&["cat", "/run/probed"]).stdout;
    assert_eq!(said.code, 0, "{command}: {said:#?}\n{output}");
    output
}
