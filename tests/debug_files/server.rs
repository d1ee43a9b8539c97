//! debuginfod servers that do not do what they should: each costs names, and none more than its limits.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use perfd::debug_files::debuginfod::{self, Limits, Server};
use perfd::debug_files::{Config, DebugFile, DebugFiles};

use crate::bench::{Bench, assert_bare, assert_named, names, on_host};
use crate::support::perfd;
use crate::workbench::{elf_of, module_of};

/// What a server says to every request.
enum Answer {
    /// Nothing, and it does not hang up either.
    Never,
    Status(u16),
    File(Vec<u8>),
    /// The first half of the file that it promises, and then nothing.
    Half(Vec<u8>),
    /// Zeros, for ever.
    Endless,
    /// That it has a file of so many bytes.
    Promise(u64),
}

/// A server in this process.
pub struct Fake {
    address: String,
    n_asked: Arc<AtomicUsize>,
}

impl Fake {
    fn start(answer: Answer) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = format!("http://{}", listener.local_addr().expect("bound"));
        let n_asked = Arc::new(AtomicUsize::new(0));
        let counted = n_asked.clone();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, SeqCst);
                // Who is asked has nothing to say of a client that hangs up.
                let _ = answer.give(&stream);
                if matches!(answer, Answer::Never | Answer::Half(_)) {
                    open.push(stream);
                }
            }
        });
        Fake { address, n_asked }
    }

    fn n_asked(&self) -> usize {
        self.n_asked.load(SeqCst)
    }
}

impl Answer {
    fn give(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let mut request = BufReader::new(stream).lines();
        while request
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let mut head = |status: u16, size: &str| {
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nConnection: close\r\n{size}\r\n"
            )
        };
        let sized = |size: usize| format!("Content-Length: {size}\r\n");
        match self {
            Answer::Never => Ok(()),
            Answer::Status(status) => head(*status, &sized(0)),
            Answer::Promise(size) => head(200, &format!("Content-Length: {size}\r\n")),
            Answer::File(file) => {
                head(200, &sized(file.len()))?;
                stream.write_all(file)
            }
            Answer::Half(file) => {
                head(200, &sized(file.len()))?;
                stream.write_all(&file[..file.len() / 2])
            }
            Answer::Endless => {
                head(200, "")?;
                loop {
                    stream.write_all(&[0; 4096])?;
                }
            }
        }
    }
}

/// A stripped program, and its debug file in `program.debug`.
fn prepared() -> (Bench, PathBuf) {
    let bench = Bench::new();
    let program = bench.program("program", &["-g"]);
    bench.split("program", "program.debug");
    (bench, program)
}

fn debug_file(bench: &Bench) -> Vec<u8> {
    fs::read(bench.path("program.debug")).expect("readable")
}

/// What servers are asked with.
pub fn config(bench: &Bench, servers: &[&Fake], limits: Limits) -> Config {
    let addresses: Vec<&str> = servers.iter().map(|server| &*server.address).collect();
    asking(bench, &addresses.join(" "), limits)
}

pub fn asking(bench: &Bench, addresses: &str, limits: Limits) -> Config {
    Config {
        debuginfod: Some(debuginfod::Config {
            servers: Server::parse_list(addresses).expect("addresses"),
            cache: bench.path("cache"),
            proxy: None,
            certificates: None,
            limits,
        }),
        ..bench.config()
    }
}

fn search(bench: &Bench, servers: &[&Fake], limits: Limits) -> DebugFiles {
    DebugFiles::new("/proc".as_ref(), config(bench, servers, limits))
}

fn ask(search: &DebugFiles, program: &Path) -> Option<DebugFile> {
    search.separate(&elf_of(program), &on_host(program))
}

fn cached(bench: &Bench) -> usize {
    fs::read_dir(bench.path("cache")).map_or(0, Iterator::count)
}

/// Asserts that such a server gives no names, costs one note, and leaves nothing behind.
#[track_caller]
fn check_refused(answer: Answer, limits: Limits, reason: &str) {
    let (bench, program) = prepared();
    let fake = Fake::start(answer);
    let search = search(&bench, &[&fake], limits.clone());
    assert!(ask(&search, &program).is_none());
    let notes = search.notes();
    let address = &fake.address;
    assert_eq!(notes, [format!("debuginfod: {address} {reason}")]);
    assert_eq!(cached(&bench), 0);
    assert_bare(&names(
        &module_of(&program),
        &elf_of(&program),
        config(&bench, &[&fake], limits),
    ));
}

fn soon() -> Limits {
    Limits {
        request: Duration::from_millis(100),
        ..Limits::default()
    }
}

fn small(file_size: u64) -> Limits {
    Limits {
        file_size,
        ..Limits::default()
    }
}

#[test]
fn a_file_from_a_server_is_kept_and_the_server_not_asked_again() {
    let (bench, program) = prepared();
    let fake = Fake::start(Answer::File(debug_file(&bench)));
    let found = ask(&search(&bench, &[&fake], Limits::default()), &program).expect("found");
    let digits = elf_of(&program).build_id().expect("one").to_string();
    assert_eq!(found.origin, on_host(&bench.path("cache").join(&digits)));
    let named = || {
        let config = config(&bench, &[&fake], Limits::default());
        names(&module_of(&program), &elf_of(&program), config)
    };
    assert_named(&named());
    assert_eq!((fake.n_asked(), cached(&bench)), (1, 1));
    // What is damaged on disk is fetched again.
    fs::write(bench.path("cache").join(&digits), "rubbish").expect("written");
    assert_named(&named());
    assert_eq!((fake.n_asked(), cached(&bench)), (2, 1));
}

#[test]
fn that_no_server_has_a_file_is_remembered() {
    let (bench, program) = prepared();
    let (one, two) = (
        Fake::start(Answer::Status(404)),
        Fake::start(Answer::Status(404)),
    );
    for _ in 0..2 {
        let search = search(&bench, &[&one, &two], Limits::default());
        assert!(ask(&search, &program).is_none());
        assert_eq!(search.notes(), [""; 0]);
        assert_eq!((one.n_asked(), two.n_asked()), (1, 1));
    }
    let forgetful = Limits {
        absence: Duration::ZERO,
        ..Limits::default()
    };
    assert!(ask(&search(&bench, &[&one, &two], forgetful), &program).is_none());
    assert_eq!((one.n_asked(), two.n_asked()), (2, 2));
    // One that was not asked may have it.
    let other = Fake::start(Answer::File(debug_file(&bench)));
    let servers = [&one, &two, &other];
    assert!(ask(&search(&bench, &servers, Limits::default()), &program).is_some());
}

#[test]
fn a_server_that_fails_is_asked_once_in_a_run_and_the_next_one_has_its_turn() {
    let (bench, program) = prepared();
    let broken = Fake::start(Answer::Status(500));
    let silent = Fake::start(Answer::Never);
    let absent = Fake::start(Answer::Status(404));
    let search = search(&bench, &[&broken, &silent, &absent], soon());
    for n_asked in 1..=2 {
        assert!(ask(&search, &program).is_none());
        let all = [&broken, &silent, &absent].map(Fake::n_asked);
        // That nobody has it is not known, so it is not remembered.
        assert_eq!(all, [1, 1, n_asked]);
    }
    let notes = search.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].ends_with("it is not asked again (and 1 more like it)"),
        "{notes:?}"
    );
}

#[test]
fn a_server_that_does_not_answer_or_not_in_full_costs_a_time() {
    let reason = "has not answered in full within 0.1 s; it is not asked again";
    check_refused(Answer::Never, soon(), reason);
    let (bench, _) = prepared();
    check_refused(Answer::Half(debug_file(&bench)), soon(), reason);
}

#[test]
fn all_requests_together_have_a_time() {
    let (bench, program) = prepared();
    let (one, two) = (Fake::start(Answer::Never), Fake::start(Answer::Never));
    let limits = Limits {
        in_all: Duration::from_millis(100),
        ..Limits::default()
    };
    let search = search(&bench, &[&one, &two], limits);
    assert!(ask(&search, &program).is_none());
    assert_eq!((one.n_asked(), two.n_asked()), (1, 0));
}

#[test]
fn a_file_that_is_too_large_is_not_taken_whether_its_size_is_told_or_not() {
    let reason = "has a file of more than 1000 bytes, which is not taken";
    check_refused(Answer::Promise(1001), small(1000), reason);
    check_refused(Answer::Endless, small(1000), reason);
    check_refused(Answer::Status(406), small(1000), reason);
}

#[test]
fn a_file_that_is_another_or_none_is_not_taken() {
    let bench = Bench::new();
    bench.program("other", &["-g", "-Wl,--build-id=0x0102030405060708"]);
    let other = fs::read(bench.path("other")).expect("readable");
    let reason = "sent a file that is of another build";
    check_refused(Answer::File(other), Limits::default(), reason);
    let reason = "sent a file that cannot be used: not an elf file";
    check_refused(Answer::File(b"rubbish".to_vec()), Limits::default(), reason);
}

#[test]
fn a_server_that_is_not_there_is_a_note() {
    let (bench, program) = prepared();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("bound"))
    };
    let search = DebugFiles::new("/proc".as_ref(), asking(&bench, &closed, soon()));
    assert!(ask(&search, &program).is_none());
    let notes = search.notes();
    assert!(notes.len() == 1 && notes[0].contains(&closed), "{notes:?}");
}

#[test]
fn a_run_asks_where_it_is_told_to_and_not_without_being_told() {
    let (bench, program) = prepared();
    if let Some(reason) = crate::support::backend_forbidden("perf") {
        return crate::support::skip(&reason);
    }
    let fake = Fake::start(Answer::Status(500));
    let run = |arguments: &[&str]| {
        let output = perfd()
            .args(["record", "-e", "cpu-clock:u", "-o", "/dev/null"])
            .args(arguments)
            .arg("--")
            .arg(&program)
            .args(["and", "work"])
            .env("DEBUGINFOD_URLS", &fake.address)
            .env("XDG_CACHE_HOME", bench.path("home"))
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .output()
            .expect("perfd runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = run(&[]);
    assert!(
        !said.contains("debuginfod") && fake.n_asked() == 0,
        "{said}"
    );
    let (code_asking, said) = run(&["--debuginfod"]);
    assert_eq!(code_asking, code, "{said}");
    assert_eq!(fake.n_asked(), 1);
    assert_eq!(said.matches("perfd: debuginfod: ").count(), 1, "{said}");
    assert!(bench.path("home/perfd/debuginfod").is_dir());
    let (code, said) = run(&["--debuginfod=ftp://x"]);
    assert_eq!(code, Some(64), "{said}");
}
