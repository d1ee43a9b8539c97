//! The daemon with all that the service gives and takes, but outside of the machine: there is no BPF in a pid namespace, where no pid is what it seems.
//!
//! User, capabilities and the filters of system calls are those of the running service, these as the kernel has them.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use super::machine::{Machine, here};
use super::own_daemon::{Circumstances, Daemon};
use super::program::{NAMES, compiled};
use super::support::{BACKENDS, Program, backend_forbidden, compile_c, skip};

/// Nobody's, on every host: that of the daemon, and that of what it profiles.
const USERS: [u32; 2] = [64_901, 64_902];

/// The capabilities of the unit, as setpriv knows them.
const CAPABILITIES: &str = "-all,+perfmon,+bpf,+sys_ptrace,+dac_read_search,+checkpoint_restore";

/// A program of another user's that runs from a folder which nobody else may enter, and whose file is deleted.
fn target() -> Child {
    let program = compiled();
    let (folder, path) = (program.folder(), program.path());
    for path in [folder, path] {
        std::os::unix::fs::chown(path, Some(USERS[1]), Some(USERS[1])).expect("root may");
    }
    let mut command = Command::new(path);
    let target = command.uid(USERS[1]).gid(USERS[1]).stdin(Stdio::null());
    // With the value here its file goes.
    target.spawn().expect("it starts")
}

/// What the filters of the running service are, as `filters load` takes them.
fn dumped(machine: &Machine, filters: &Program, to: &Path) {
    let pid = machine.outer_pid("perfd.service").to_string();
    let dump = Command::new(filters.path()).args(["dump", &pid]).output();
    let dump = dump.expect("it starts");
    assert!(dump.status.success(), "{dump:?}");
    fs::write(to, dump.stdout).expect("a file of the folder");
}

/// With the service running in the machine.
pub fn with_its_filters_bpf_names_what_another_users_process_does(machine: &Machine) {
    if !BACKENDS.contains(&"bpf") {
        return skip("perfd has no BPF programs for this processor");
    }
    if let Some(reason) = backend_forbidden("bpf") {
        return skip(&reason);
    }
    let source = fs::read_to_string(here("tests/service/filters.c")).expect("the source");
    let filters = compile_c(&source, &[]);
    let dump = filters.folder().join("dump");
    dumped(machine, &filters, &dump);
    // Others have to come to the filters.
    let open = Command::new("chmod")
        .arg("-R")
        .arg("a+rX")
        .arg(filters.folder())
        .status();
    assert!(open.expect("chmod starts").success());
    let user = USERS[0].to_string();
    // As systemd does: folders and sockets for the user, and the kernel's names opened by root.
    let prepare = format!(
        "chown {user} \"$STATE_DIRECTORY\" \"$NOTIFY_SOCKET\" && exec \"$@\" </proc/kallsyms"
    );
    let [load, dump] = [filters.path(), &dump].map(|path| path.to_str().expect("plain"));
    let through = [
        &[
            "sh", "-c", &prepare, "sh", "setpriv", "--reuid", &user, "--regid", &user,
        ][..],
        &[
            "--clear-groups",
            "--no-new-privs",
            "--inh-caps",
            CAPABILITIES,
        ],
        &[
            "--ambient-caps",
            CAPABILITIES,
            "--bounding-set",
            CAPABILITIES,
        ],
        &["--", load, "load", dump],
    ]
    .concat();
    let circumstances = Circumstances {
        through: &through,
        config: "",
    };
    let Some(daemon) = Daemon::start(&circumstances) else {
        return;
    };
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    for line in ["CapBnd:\t000001c000080004", "NoNewPrivs:\t1", "Seccomp:\t2"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    let mut target = target();
    let mut client = daemon.client();
    let number = client.attach(target.id());
    client.done(json!({"do": "tail", "target": number, "format": "folded"}));
    let mut missing = NAMES.to_vec();
    while !missing.is_empty() {
        let event = client.event(number);
        let folded = event["window"]["folded"].as_str();
        let folded = folded.unwrap_or_else(|| panic!("{event}\n{}", daemon.log()));
        missing.retain(|name| !folded.contains(name));
    }
    let stats = client.done(json!({"do": "stats"}));
    assert!(stats["bpf_map_bytes"].as_u64() > Some(0), "{stats}");
    target.kill().expect("it runs");
    target.wait().expect("its end");
    fs::remove_file(format!("/tmp/perf-{}.map", target.id())).expect("it has written it");
    daemon.end();
}
