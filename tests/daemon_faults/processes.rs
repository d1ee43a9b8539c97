//! Processes that come and go faster than they can be looked at, and those that are in no state to be looked at.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::resource::{Resource, getrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::own_daemon::client::Client;
use super::own_daemon::{Circumstances, Daemon, Keeper, accounts_add_up};
use super::programs::Steps;

/// Attaches to a program, tails it, and leads it through its one step; how it ended, and what was sampled on the way.
fn through_a_storm(program: &str) {
    through_a_storm_of(program, |_| ());
}

/// The same for a program that needs something beside it.
fn through_a_storm_of(program: &str, prepare: impl FnOnce(&Path)) {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut steps = Steps::with(program, prepare);
    let mut client = daemon.client();
    let attach = json!({"do": "attach", "target": {"pid": steps.pid()}, "frequency": 997});
    let target = client.done(attach)["target"].as_u64().expect("a number");
    client.done(json!({"do": "tail", "target": target, "format": "folded"}));
    steps.go();
    let storm = std::thread::spawn(move || {
        steps.has_done_it();
        steps.end()
    });
    let (folded, reason) = to_the_end(&mut client, target);
    let _file = storm.join().expect("the storm is over");
    assert_eq!(reason, "exited");
    assert!(folded.contains(";work "), "what it did is named: {folded}");
    drop(client);
    keeper.finds_all_as_it_was();
    daemon.end();
}

/// All windows of a target, and why there are no more.
fn to_the_end(client: &mut Client, target: u64) -> (String, String) {
    let mut folded = String::new();
    let mut next: Option<u64> = None;
    loop {
        let event = client.event(target);
        if let Some(end) = event.get("end") {
            return (folded, end["reason"].as_str().expect("a reason").to_owned());
        }
        let Some(window) = event.get("window") else {
            panic!("{event}");
        };
        let (from, to) = (&window["from"], &window["to"]);
        assert!(
            next.is_none_or(|next| *from == json!(next)),
            "{from} after {next:?}"
        );
        next = to.as_u64().map(|to| to + 1);
        folded += window["folded"].as_str().expect("text");
    }
}

#[test]
fn a_storm_of_forks_is_sampled_to_its_end() {
    through_a_storm(
        "int main(void) {
            next_step();
            for (int n = 0; n < 1000; n++) {
                if (fork() == 0) {
                    if (fork() == 0) { work(200000); _exit(0); }
                    work(200000);
                    _exit(0);
                }
                if (n % 8 == 7) while (waitpid(-1, 0, WNOHANG) > 0) {}
            }
            while (wait(0) > 0) {}
            next_step();
            return 0;
        }",
    );
}

#[test]
fn threads_that_come_and_go_under_ever_new_names_are_sampled_to_the_end() {
    through_a_storm(
        "static void *named(void *n) {
            char name[16];
            snprintf(name, sizeof name, \"worker %ld\", (long)n);
            prctl(PR_SET_NAME, name);
            work(200000);
            return 0;
        }
        int main(void) {
            next_step();
            for (long n = 0; n < 10000; n++) {
                pthread_t thread;
                if (pthread_create(&thread, 0, named, (void *)n) == 0) pthread_join(thread, 0);
            }
            next_step();
            return 0;
        }",
    );
}

#[test]
fn a_process_that_becomes_other_programs_all_the_time_is_sampled_to_its_end() {
    through_a_storm(
        "int main(int argc, char **argv) {
            int left = argc > 1 ? atoi(argv[1]) : 1000;
            if (argc == 1) next_step();
            work(200000);
            char text[16];
            snprintf(text, sizeof text, \"%d\", left - 1);
            if (left > 0) execl(\"/proc/self/exe\", left % 2 ? \"one\" : \"two\", text, (char *)0);
            next_step();
            return 0;
        }",
    );
}

#[test]
fn programs_that_others_may_not_read_and_that_are_another_users_are_sampled_for_who_may_all() {
    through_a_storm_of(
        "int main(int argc, char **argv) {
            int left = argc > 1 ? atoi(argv[1]) : 60;
            if (argc == 1) next_step();
            work(3000000);
            char text[16], path[4096];
            snprintf(text, sizeof text, \"%d\", left - 1);
            ssize_t n = readlink(\"/proc/self/exe\", path, sizeof path - 16);
            if (n < 0) return 1;
            path[n] = 0;
            strcpy(strrchr(path, '/'), left % 2 ? \"/unreadable\" : \"/setuid\");
            if (left > 0) { execl(path, path, text, (char *)0); return 2; }
            next_step();
            return 0;
        }",
        |program| {
            let folder = program.parent().expect("a folder");
            fs::set_permissions(folder, Permissions::from_mode(0o755)).expect("set");
            for (name, mode) in [("unreadable", 0o711), ("setuid", 0o4711)] {
                let copy = folder.join(name);
                fs::copy(program, &copy).expect("copied");
                if name == "setuid" {
                    chown(&copy, Some(65534), Some(65534)).expect("root may");
                }
                fs::set_permissions(&copy, Permissions::from_mode(mode)).expect("set");
            }
        },
    );
}

const MANY_THREADS: &str = "
static void *waits(void *unused) { for (;;) pause(); return unused; }
static void *spins(void *unused) { for (;;) work(1000000); return unused; }
int main(void) {
    pthread_t thread;
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 32768);
    if (BEFORE) next_step();
    for (int n = 0; n < THREADS; n++)
        if (pthread_create(&thread, &small, waits, 0)) { perror(\"thread\"); return 1; }
    for (int n = 0; n < 8; n++) pthread_create(&thread, &small, spins, 0);
    next_step();
    _exit(0);
}";

/// Ten thousand, or as many as the hard limit of descriptors has room for: each takes one for each event that is counted.
fn n_threads() -> u64 {
    const EVENTS: u64 = 5;
    const OTHERS: u64 = 1000;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    (hard.saturating_sub(OTHERS) / EVENTS).min(10_000)
}

#[test]
fn ten_thousand_threads_are_attached_to_whether_they_are_there_or_come() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    for before in ["0", "1"] {
        let program = MANY_THREADS.replace("BEFORE", before);
        let mut steps = Steps::of(&program.replace("THREADS", &n_threads().to_string()));
        let mut client = daemon.client();
        let target = client.attach(steps.pid());
        client.done(json!({"do": "tail", "target": target, "format": "folded"}));
        if before == "1" {
            steps.go();
            steps.has_done_it();
        }
        while !client.event(target)["window"]["folded"]
            .as_str()
            .is_some_and(|text| text.contains(";spins;work "))
        {}
        client.done(json!({"do": "detach", "target": target}));
        drop(client);
        keeper.finds_all_as_it_was();
        steps.end();
    }
    daemon.end();
}

#[test]
fn targets_that_end_while_they_are_attached_to_leave_nothing() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut client = daemon.client();
    let (mut attached, mut gone) = (0, 0);
    for round in 0..300 {
        let mut command = Command::new("sh");
        // From one that ends at once to one that ends while it is looked at.
        let work = format!("n=0; while [ $n -lt {} ]; do n=$((n+1)); done", round * 20);
        let mut target = command
            .args(["-c", &work])
            .stdin(Stdio::null())
            .spawn()
            .expect("sh");
        let attach = json!({"do": "attach", "target": {"pid": target.id()}});
        match client.in_the_end(attach) {
            Ok(_) => attached += 1,
            Err(error) => {
                assert_eq!(error["class"], "no-such-target", "{error}");
                gone += 1;
            }
        }
        target.wait().expect("its end");
    }
    assert_eq!(attached + gone, 300);
    assert!(attached > 0, "not one was attached to");
    drop(client);
    keeper.finds_all_as_it_was();
    daemon.end();
}

#[test]
fn a_process_that_can_do_nothing_is_attached_to_and_left_like_any_other() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut client = daemon.client();

    let mut stopped = Command::new("sleep")
        .arg("infinity")
        .spawn()
        .expect("sleep");
    let number = Pid::from_raw(stopped.id().try_into().expect("a pid"));
    kill(number, Signal::SIGSTOP).expect("it lives");
    let target = client.attach(stopped.id());
    client.done(json!({"do": "tail", "target": target, "format": "folded"}));
    assert_eq!(client.event(target)["window"]["samples"], 0);
    client.done(json!({"do": "detach", "target": target}));
    kill(number, Signal::SIGKILL).expect("it lives");

    // Dead, and nobody has asked for its status.
    nix::sys::wait::waitid(
        nix::sys::wait::Id::Pid(number),
        nix::sys::wait::WaitPidFlag::WEXITED | nix::sys::wait::WaitPidFlag::WNOWAIT,
    )
    .expect("its end");
    let refused = client.ask(json!({"do": "attach", "target": {"pid": stopped.id()}}));
    assert_eq!(refused.expect_err("a zombie")["class"], "no-such-target");
    stopped.wait().expect("its end");

    // In the state D: it waits, in the kernel, for a child that has its memory.
    let mut steps =
        Steps::of("int main(void) { if (vfork() == 0) { next_step(); _exit(0); } return 0; }");
    let target = client.attach(steps.pid());
    client.done(json!({"do": "detach", "target": target}));
    steps.go();
    drop(client);
    keeper.finds_all_as_it_was();
    daemon.end();
}

#[test]
fn figures_are_given_while_everything_is_in_motion() {
    let Some(daemon) = Daemon::start(&Circumstances::default()) else {
        return;
    };
    let mut keeper = Keeper::of(&daemon);
    let mut steps = Steps::of(
        "int main(void) {
            for (;;) {
                next_step();
                for (int n = 0; n < 500; n++) if (fork() == 0) { work(100000); _exit(0); }
                while (wait(0) > 0) {}
            }
        }",
    );
    let mut client = daemon.client();
    let target = client.attach(steps.pid());
    for _ in 0..10 {
        steps.go();
        let mut ask = |what| client.in_the_end(json!({"do": what})).expect("done");
        accounts_add_up(&ask("stats"));
        let listed = ask("list");
        let listed = listed["targets"].as_array().expect("targets");
        assert!(
            listed.iter().any(|one: &Value| one["target"] == target),
            "{listed:?}"
        );
        steps.has_done_it();
    }
    drop((client, steps));
    keeper.finds_all_as_it_was();
    daemon.end();
}
