//! What a child may not do: tried from inside, and seen from outside.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use perfd::symbolize::Config;
use perfd::sys::confinement::{self, Allowance};

use crate::bench::{begin, name_all, names, places, status};

/// In the environment of a process of this test that is to confine itself.
const INSIDE: &str = "PERFD_TEST_INSIDE";

#[test]
fn nothing_is_allowed_that_takes_more_than_open_files() {
    let output = Command::new(std::env::current_exe().expect("ourselves"))
        .args([
            "--exact",
            "confined::inside",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let tried: BTreeMap<&str, &str> = said
        .lines()
        .filter_map(|line| line.split_once("tried ")?.1.split_once(": "))
        .collect();
    let refused = [
        "open",
        "create",
        "socket",
        "fork",
        "exec",
        "kill",
        "ptrace",
        "read memory",
        "prctl",
        "link",
    ];
    for what in refused {
        assert_eq!(tried.get(what), Some(&"EPERM"), "{what}: {said}");
    }
    assert_eq!(tried.get("read what is open"), Some(&"fine"), "{said}");
    assert_eq!(
        tried.get("memory beyond the limit"),
        Some(&"ENOMEM"),
        "{said}"
    );
}

/// Not a test by itself: what [`INSIDE`] runs in a process of its own, which says on standard output what became of each try.
#[test]
fn inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    let open = fs::File::open("/proc/self/exe").expect("ourselves");
    let own = nix::unistd::getpid();
    let parent = nix::unistd::getppid();
    confinement::confine(Allowance {
        memory: 1 << 30,
        open_files: 64,
        file_size: 1 << 20,
    })
    .expect("confined");
    let say = |what: &str, outcome: Result<(), Errno>| {
        let outcome = match outcome {
            Ok(()) => "fine".to_owned(),
            Err(errno) => format!("{errno:?}"),
        };
        let line = format!("tried {what}: {outcome}\n");
        std::io::stdout()
            .write_all(line.as_bytes())
            .expect("written");
    };
    let of = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
    say("open", fs::File::open("/etc/passwd").map(drop).map_err(of));
    say(
        "create",
        fs::File::create("/tmp/perfd-child").map(drop).map_err(of),
    );
    say(
        "link",
        fs::hard_link("/etc/passwd", "/tmp/perfd-child").map_err(of),
    );
    let socket = std::os::unix::net::UnixDatagram::unbound();
    say("socket", socket.map(drop).map_err(of));
    say("kill", nix::sys::signal::kill(parent, None));
    say("ptrace", nix::sys::ptrace::attach(parent));
    let mut buf = [0; 8];
    let remote = [nix::sys::uio::RemoteIoVec { base: 4096, len: 8 }];
    let mut local = [std::io::IoSliceMut::new(&mut buf)];
    let read = nix::sys::uio::process_vm_readv(own, &mut local, &remote);
    say("read memory", read.map(drop));
    let program = c"/bin/true";
    say("exec", nix::unistd::execv(program, &[program]).map(drop));
    let started = std::thread::Builder::new().spawn(|| ());
    say("fork", started.map(drop).map_err(of));
    say("prctl", nix::sys::prctl::set_dumpable(true));
    let mut magic = [0; 4];
    let fine = std::os::unix::fs::FileExt::read_exact_at(&open, &mut magic, 0);
    say("read what is open", fine.map_err(of));
    let much = Vec::<u8>::new().try_reserve_exact(2 << 30);
    say("memory beyond the limit", much.map_err(|_| Errno::ENOMEM));
    // The harness would do more than is allowed.
    #[expect(clippy::exit, reason = "it is a process of this test alone")]
    std::process::exit(0);
}

#[test]
fn a_child_has_no_capability_and_cannot_get_one() {
    let path = std::env::current_exe().expect("ourselves");
    let mut in_child = names(&begin(Config::default()));
    name_all(&mut in_child, 1, &path, &places(&path, 2));
    let child = in_child.child().expect("it lives");
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(status(child, set), "0000000000000000", "{set}");
    }
    if nix::unistd::geteuid().is_root() {
        assert_eq!(status(child, "CapBnd:"), "0000000000000000");
    }
    assert_eq!(status(child, "NoNewPrivs:"), "1");
    assert_eq!(status(child, "Seccomp:"), "2");
    assert_eq!(status(child, "Threads:"), "1");
}
