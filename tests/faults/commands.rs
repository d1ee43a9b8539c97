//! Commands that cannot be started, and the ways in which those that can may end.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use super::bench::{Bench, Ended, ROUNDS, run, spinning, text};
use super::support::{compile_c, copy_program, skip};

const STARTERS: [&[&str]; 2] = [&["record", "-o", "out.folded", "--"], &["stat", "--"]];

#[test]
fn a_command_that_is_not_there_ends_with_127() {
    for starter in STARTERS {
        let bench = Bench::new();
        let check = |program: &str, parts: &[&str]| {
            let args = [starter, &[program]].concat();
            run(&mut bench.perfd(&args)).refuses(127, parts);
        };
        check("no-such-command", &["start \"no-such-command\"", "PATH"]);
        check("./no-such-command", &["start \"./no-such-command\""]);
        assert!(bench.files().is_empty(), "{:?}", bench.files());
        std::fs::write(bench.file("a-script"), "#!/no/such/interpreter\n").expect("written");
        make_executable(&bench, "a-script");
        check("./a-script", &["start \"./a-script\"", "interpreter"]);
        check("a-script", &["try ./a-script"]);
    }
}

#[test]
fn a_command_that_cannot_be_executed_ends_with_126() {
    for starter in STARTERS {
        let bench = Bench::new();
        let check = |program: &str, hint: &str| {
            let args = [starter, &[program]].concat();
            let cause = format!("start {program:?}");
            run(&mut bench.perfd(&args)).refuses(126, &[&cause, hint]);
        };
        std::fs::write(bench.file("a-script"), "touch marker\n").expect("written");
        check("./a-script", "try: chmod +x ./a-script");
        check("/", "/ is a directory");
        assert_eq!(bench.files(), ["a-script"]);
    }
}

fn make_executable(bench: &Bench, name: &str) {
    let executable = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(bench.file(name), executable).expect("the file is ours");
}

#[test]
fn an_older_profile_outlives_a_command_that_cannot_be_started() {
    let bench = Bench::new();
    std::fs::write(bench.file("perfd.folded"), "a;b 1\n").expect("written");
    run(&mut bench.perfd(&["record", "--", "no-such-command"])).refuses(127, &[]);
    assert_eq!(bench.read("perfd.folded"), "a;b 1\n");
}

#[test]
fn the_commands_own_status_is_perfds() {
    let bench = Bench::new();
    for starter in STARTERS {
        for (script, code) in [
            ("exit 0", 0),
            ("exit 3", 3),
            ("exit 255", 255),
            ("kill -KILL $$", 137),
            ("kill -TERM $$", 143),
            ("kill -SEGV $$", 139),
        ] {
            let args = [starter, &["sh", "-c", script]].concat();
            run(&mut bench.perfd(&args)).says(code, &[]);
        }
    }
}

#[test]
fn strict_ends_with_1_where_the_account_is_bad() {
    let program = spinning();
    let bench = Bench::new();
    let args = [
        "record",
        "--strict",
        "-m",
        "1",
        "-e",
        "cpu-clock",
        "-o",
        "out.folded",
    ];
    let args = [&args[..], &["--", text(program.path()), ROUNDS]].concat();
    let ended = run(&mut bench.perfd(&args));
    ended.says(1, &["ring full", "-m with more pages"]);
    assert!(!ended.stderr.contains("no samples:"), "{ended:#?}");
    let args = ["record", "--strict", "-e", "cpu-clock", "-o", "out.folded"];
    let args = [&args[..], &["--", text(program.path()), ROUNDS]].concat();
    run(&mut bench.perfd(&args)).says(0, &[]);
}

#[test]
fn the_run_ends_with_the_command_and_not_with_what_it_leaves_running() {
    let bench = Bench::new();
    let script = "{ cat <&3 >/dev/null 2>&1 & } 3<&0; exit 3";
    let mut perfd = bench.perfd(&["record", "-e", "cpu-clock", "--", "sh", "-c", script]);
    let perfd = perfd.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut perfd = perfd.stderr(Stdio::piped()).spawn().expect("perfd starts");
    // What the command leaves running lives until this is closed.
    let stdin = perfd.stdin.take().expect("piped");
    let ended = Ended::of(perfd.wait_with_output().expect("it ends"));
    drop(stdin);
    ended.says(3, &["profile  perfd.folded"]);
}

#[test]
fn a_command_that_becomes_root_runs_on_unwatched() {
    let program = compile_c(
        "#include <unistd.h>
        int main(void) { return geteuid() == 0 ? 7 : 8; }",
        &[],
    );
    let bench = Bench::new();
    copy_program(program.path(), &bench.file("becomes-root"));
    let args = [
        "record",
        "-e",
        "cpu-clock",
        "-o",
        "out.folded",
        "--",
        "./becomes-root",
    ];
    let Some(mut perfd) = bench.stranger(&[], &args) else {
        return;
    };
    let set_user_id = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(bench.file("becomes-root"), set_user_id).expect("the file is ours");
    let ended = run(&mut perfd);
    if ended.code == Some(8) {
        return skip("the temporary folder is mounted nosuid");
    }
    ended.says(7, &["delivered 0", "profile  out.folded"]);
}
