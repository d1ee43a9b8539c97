//! A program in a root and a mount namespace of its own is named from its own files, not from those that lie at the same paths outside.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use support::{BACKENDS, Program, backend_forbidden, compile_c, perfd, skip};

mod support;

/// Says that it runs, and sorts for the seconds of CPU that it is given; the order is a function of the program's, which the C library calls.
const SORTS: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
static int numbers[4096];
static inline __attribute__((always_inline)) int digits(int number) { return number % 1000; }
__attribute__((noinline)) int in_order(const void *a, const void *b) {
    return digits(*(const int *)a) - digits(*(const int *)b);
}
__attribute__((noinline)) int sorts(unsigned seed) {
    for (int i = 0; i < 4096; i++) numbers[i] = (int)((seed = seed * 1103515245 + 12345) >> 8);
    qsort(numbers, 4096, sizeof *numbers, in_order);
    return numbers[0];
}
int main(int argc, char **argv) {
    volatile int sum = 0;
    clock_t end = (clock_t)(atof(argv[argc - 1]) * CLOCKS_PER_SEC);
    fprintf(stderr, "runs\n");
    for (unsigned i = 0; clock() < end; i++) sum += sorts(i);
    return 0;
}
"#;

/// Where the program lies in its root: outside of it another stands there, without these functions.
const PATH: &str = "/usr/bin/env";

/// Makes a root of the folder `$1` that only this process sees, with the program `$2` at `$3` and the libraries that it needs, and becomes that program.
const SCRIPT: &str = r#"
    mount -t tmpfs perfd-test "$1" || exit 125
    for library in $(ldd "$2" | grep -o '/[^ ]*'); do
        mkdir -p "$1$(dirname "$library")"
        cp "$library" "$1$library"
    done
    mkdir -p "$1$(dirname "$3")"
    cp "$2" "$1$3"
    exec chroot "$1" "$3" "$4"
"#;

/// The program, and the folder that it has for a root.
struct Bench {
    program: Program,
    root: PathBuf,
}

impl Bench {
    /// `None`, having said so, where mounts are not allowed.
    fn new() -> Option<Bench> {
        let program = compile_c(SORTS, &["-O1"]);
        let root = program.folder().join("root");
        std::fs::create_dir(&root).expect("made");
        let bench = Bench { program, root };
        let mut command = Command::new("unshare");
        let tried = command.args(bench.inside("0")).output();
        if tried.is_ok_and(|output| output.status.success()) {
            return Some(bench);
        }
        skip("a mount of one's own needs root");
        None
    }

    /// The arguments of `unshare` for a run of so many seconds of CPU.
    fn inside<'a>(&'a self, seconds: &'a str) -> Vec<&'a str> {
        let text = |path: &'a Path| path.to_str().expect("UTF-8");
        let (root, program) = (text(&self.root), text(self.program.path()));
        ["-m", "sh", "-c", SCRIPT, "sh", root, program, PATH, seconds].to_vec()
    }
}

#[test]
fn a_program_that_is_started_in_its_own_root_has_the_names_of_its_own_files() {
    let Some(bench) = Bench::new() else { return };
    for backend in allowed() {
        let output = perfd()
            .args(["record", "-q", "-e", "cpu-clock:u", "--backend", backend])
            .args(["-o", "-", "--", "unshare"])
            .args(bench.inside("0.3"))
            .output()
            .expect("perfd runs");
        assert!(output.status.success(), "{output:?}");
        check(backend, &output.stdout);
    }
}

#[test]
fn a_program_that_already_runs_in_its_own_root_has_the_names_of_its_own_files() {
    let Some(bench) = Bench::new() else { return };
    for backend in allowed() {
        // Until it is killed.
        let mut child = Command::new("unshare")
            .args(bench.inside("3600"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let said = child.stderr.take().expect("piped");
        BufReader::new(said).read_line(&mut line).expect("readable");
        let output = perfd()
            .args(["attach", "-q", "-e", "cpu-clock:u", "--backend", backend])
            .args(["-d", "0.5", &child.id().to_string()])
            .output();
        child.kill().expect("it runs");
        child.wait().expect("it is killed");
        let output = output.expect("perfd runs");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(line, "runs\n");
        check(backend, &output.stdout);
    }
}

fn allowed() -> Vec<&'static str> {
    let is_allowed = |backend: &&str| match backend_forbidden(backend) {
        Some(reason) => {
            skip(&reason);
            false
        }
        None => true,
    };
    BACKENDS.iter().copied().filter(is_allowed).collect()
}

fn check(backend: &str, stacks: &[u8]) {
    let text = String::from_utf8_lossy(stacks);
    let stacks: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| Some(line.rsplit_once(' ')?.0.split(';').collect()))
        .filter(|frames: &Vec<&str>| frames.contains(&"main") && frames.contains(&"sorts"))
        .collect();
    let has = |name: &str| stacks.iter().any(|frames| frames.contains(&name));
    // The program's, one that is inlined, one of its C library.
    assert!(has("in_order") && has("digits_[i]"), "{backend}: {text}");
    assert!(has("qsort") || has("qsort_r"), "{backend}: {text}");
    let name = Path::new(PATH).file_name().expect("a name");
    let unnamed = format!("{}+0x", name.to_string_lossy());
    let is_unnamed = |frames: &Vec<&str>| frames.iter().any(|frame| frame.contains(&unnamed));
    assert!(!stacks.iter().any(is_unnamed), "{backend}: {text}");
}
