//! The server of elfutils, and one behind TLS.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use perfd::debug_files::debuginfod::Limits;
use perfd::debug_files::{Config, DebugFiles};

use crate::bench::{Bench, assert_named, names, on_host};
use crate::server::asking;
use crate::support::skip;
use crate::workbench::{elf_of, module_of};

/// A server that ends with the test.
struct Started {
    child: Child,
    address: String,
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts `debuginfod` for the folder `served`, and waits until it has the debug file of a program; `None`, and said, if it is not installed.
fn debuginfod(bench: &Bench, program: &Path) -> Option<Started> {
    loop {
        // It takes no port of the kernel's choice, so that another process may be faster.
        let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = free.local_addr().expect("bound").port();
        drop(free);
        let started = Command::new("debuginfod")
            .args(["-v", "-d", ":memory:", "-p", &port.to_string(), "-F"])
            .arg(bench.path("served"))
            .env_remove("DEBUGINFOD_URLS")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = started else {
            skip("no debuginfod");
            return None;
        };
        let mut said = BufReader::new(child.stderr.take().expect("piped")).lines();
        let mut started = Started {
            child,
            address: format!("http://127.0.0.1:{port}"),
        };
        let is_started =
            |line: Result<String, _>| line.is_ok_and(|line| line.contains("started http server"));
        if said.any(is_started) {
            // Nobody is to wait for a reader of what it says from now on.
            std::thread::spawn(move || said.for_each(drop));
            let build_id = elf_of(program).build_id().expect("one");
            while !has(port, &format!("buildid/{build_id}/debuginfo")) {
                std::thread::yield_now();
            }
            return Some(started);
        }
        let status = started.child.wait().expect("it ends");
        assert!(!status.success(), "debuginfod ended by itself: {status}");
    }
}

/// Whether a server has something by now.
fn has(port: u16, path: &str) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    write!(stream, "GET /{path} HTTP/1.0\r\n\r\n").expect("it listens");
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .expect("it answers");
    answer.contains(" 200 ")
}

/// A stripped program whose debug file alone is in `served`.
fn prepared() -> (Bench, PathBuf) {
    let bench = Bench::new();
    let program = bench.program("program", &["-g"]);
    bench.split("program", "served/program.debug");
    (bench, program)
}

fn named(program: &Path, config: Config) {
    assert_named(&names(&module_of(program), &elf_of(program), config));
}

#[test]
fn names_come_from_debuginfod_and_the_next_time_without_it() {
    let (bench, program) = prepared();
    let Some(server) = debuginfod(&bench, &program) else {
        return;
    };
    let config = asking(&bench, &server.address, Limits::default());
    named(&program, config.clone());
    drop(server);
    named(&program, config.clone());
    let search = DebugFiles::new(Path::new("/proc"), config);
    assert!(
        search
            .separate(&elf_of(&program), &on_host(&program))
            .is_some()
    );
    assert_eq!(search.notes(), [""; 0]);
}

#[test]
fn debuginfod_is_told_how_large_a_file_may_be() {
    let (bench, program) = prepared();
    let Some(server) = debuginfod(&bench, &program) else {
        return;
    };
    let limits = Limits {
        file_size: 100,
        ..Limits::default()
    };
    let search = DebugFiles::new(Path::new("/proc"), asking(&bench, &server.address, limits));
    assert!(
        search
            .separate(&elf_of(&program), &on_host(&program))
            .is_none()
    );
    let address = &server.address;
    let expected =
        format!("debuginfod: {address} has a file of more than 100 bytes, which is not taken");
    assert_eq!(search.notes(), [expected]);
}

#[test]
fn what_debuginfod_does_not_have_is_no_trouble() {
    let (bench, program) = prepared();
    let Some(server) = debuginfod(&bench, &program) else {
        return;
    };
    let other = bench.program("other", &["-s", "-Wl,--build-id=0x0102030405060708"]);
    let config = asking(&bench, &server.address, Limits::default());
    let search = DebugFiles::new(Path::new("/proc"), config);
    assert!(search.separate(&elf_of(&other), &on_host(&other)).is_none());
    assert_eq!(search.notes(), [""; 0]);
    assert!(bench.path("cache/0102030405060708.absent").exists());
}

/// Serves the folder of the test over TLS, with a certificate that it has made for itself.
fn tls_server(bench: &Bench) -> Option<Started> {
    let request = "req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out certificate.pem -days 1 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE";
    bench.run("openssl", &request.split_whitespace().collect::<Vec<_>>())?;
    let mut child = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-WWW"])
        .args(["-cert", "certificate.pem", "-key", "key.pem"])
        .current_dir(bench.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it made a certificate");
    let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
    let address = said.find_map(|line| {
        let line = line.ok()?;
        line.strip_prefix("ACCEPT ").map(str::to_owned)
    });
    std::thread::spawn(move || said.for_each(drop));
    let address = format!("https://{}", address.expect("it says where"));
    Some(Started { child, address })
}

#[test]
fn a_server_behind_tls_is_believed_by_its_certificate() {
    let (bench, program) = prepared();
    let build_id = elf_of(&program).build_id().expect("one");
    let place = format!("buildid/{build_id}/debuginfo");
    bench.make_folder_of(&place);
    fs::copy(bench.path("served/program.debug"), bench.path(&place)).expect("copied");
    let Some(server) = tls_server(&bench) else {
        return;
    };
    let mut config = asking(&bench, &server.address, Limits::default());
    let strange = DebugFiles::new(Path::new("/proc"), config.clone());
    assert!(
        strange
            .separate(&elf_of(&program), &on_host(&program))
            .is_none()
    );
    let notes = strange.notes();
    assert!(
        notes.len() == 1 && notes[0].contains("certificate"),
        "{notes:?}"
    );
    let trusting = config.debuginfod.as_mut().expect("set");
    trusting.certificates = Some(bench.path("certificate.pem"));
    named(&program, config);
}
