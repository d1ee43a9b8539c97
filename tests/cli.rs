//! The program as a user or a script meets it: exit codes, messages, help; and README kept equal to the tables.

use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};

use perfd::cli::EXIT_CODES;

fn perfd(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_perfd"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("start perfd")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// Runs perfd with a command line that it must refuse, and returns what it says.
fn refused(args: &[&str], code: i32) -> String {
    let output = perfd(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    assert_eq!(stdout(&output), "", "{args:?}");
    let said = stderr(&output);
    assert!(said.starts_with("perfd: "), "{args:?}: {said}");
    said
}

#[test]
fn help_and_version_go_to_standard_output() {
    for args in [
        &["--help"][..],
        &["-h"],
        &["--version"],
        &["record", "--help"],
    ] {
        let output = perfd(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(
            !output.stdout.is_empty() && output.stderr.is_empty(),
            "{args:?}"
        );
    }
    let version = stdout(&perfd(&["--version"]));
    assert_eq!(version, format!("perfd {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_command_line_that_makes_no_sense_ends_with_64_and_the_reason() {
    for (args, reason) in [
        (&["frobnicate"][..], "unrecognized subcommand"),
        (&["record"], "<CMD>"),
        (&["record", "--frobnicate", "ls"], "unexpected argument"),
        (&["record", "-F", "0", "--", "ls"], "not a number from 1"),
        (
            &["record", "-F", "99", "-c", "99", "ls"],
            "cannot be used with",
        ),
        (
            &["record", "-d", "soon", "ls"],
            "write it like 10, 2.5 or 500ms",
        ),
        (
            &["record", "--interval", "100", "ls"],
            "write it like 100ms or 1s",
        ),
        (&["record", "--call-graph", "dwarf,65529", "ls"], "65528"),
        (&["record", "-m", "3", "ls"], "power of two"),
        (
            &["record", "--timestamps", "-o", "x.folded", "ls"],
            "--timestamps: every -o names another format, so that no output would hold the samples\n  try: -o out.samples",
        ),
        (
            &["record", "-e", "cycles/period=0/", "ls"],
            "period \"0\" in \"cycles/period=0/\" is not a number",
        ),
        (
            &["record", "-e", "cycles/freq=9,period=9/", "ls"],
            "more than one of period and freq",
        ),
        (
            &["stat", "-e", "cycles/period=9/", "ls"],
            "leave out period= and freq=",
        ),
        (&["attach"], "<PID>"),
        (&["attach", "0"], "not a number from 1"),
        (&["attach", "-a", "1"], "cannot be used with"),
        (&["stat"], "<CMD>"),
        (&["stat", "-p", "1", "-r", "2"], "cannot be used with"),
        (&["man", "frobnicate"], "no command"),
    ] {
        let said = refused(args, 64);
        assert!(said.contains(reason), "{args:?}: {said}");
    }
    assert_eq!(perfd(&[]).status.code(), Some(64));
}

#[test]
fn a_mistyped_event_is_answered_with_the_one_that_was_meant() {
    let said = refused(&["record", "-e", "cylces:u", "--", "true"], 64);
    assert!(said.contains("unknown event \"cylces\""), "{said}");
    assert!(said.contains("\n  did you mean cycles?\n"), "{said}");
}

#[test]
fn the_manual_of_every_command_has_a_transcript_of_it() {
    for command in perfd::cli::command().get_subcommands() {
        let name = command.get_name();
        let help = stdout(&perfd(&[name, "--help"]));
        assert!(help.contains(&format!("\n    $ perfd {name}")), "{help}");
    }
}

#[test]
fn the_man_pages_and_completions_hold_every_command_and_flag() {
    let pages = stdout(&perfd(&["man"]));
    for command in perfd::cli::command().get_subcommands() {
        let title = format!(".TH perfd-{} 1", command.get_name());
        assert!(pages.contains(&title), "{title}");
    }
    assert!(stdout(&perfd(&["man", "record"])).starts_with(".ie"));
    for shell in ["bash", "zsh", "fish"] {
        let output = perfd(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{shell}");
        assert!(stdout(&output).contains("call-graph"), "{shell}");
    }
}

#[test]
fn a_list_holds_events_that_this_host_has_and_its_pattern_narrows_it() {
    let all = stdout(&perfd(&["list"]));
    assert!(all.contains("cycles OR cpu-cycles"), "{all}");
    assert!(all.contains("mem:ADDR"), "{all}");
    let faults = stdout(&perfd(&["list", "FAULTS"]));
    assert!(faults.lines().count() >= 5, "{faults}");
    assert!(
        faults.lines().all(|line| line.contains("faults")),
        "{faults}"
    );
    let said = refused(&["list", "no such event"], 69);
    assert!(said.contains("no event of this host"), "{said}");
}

#[test]
fn a_reader_that_has_gone_is_not_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_perfd"))
        .arg("list")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start perfd");
    drop(child.stdout.take());
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("piped above");
    stderr.read_to_string(&mut said).expect("text");
    assert_eq!(child.wait().expect("ends").code(), Some(0));
    assert_eq!(said, "");
}

#[test]
fn the_doctor_ends_well_exactly_where_own_processes_can_be_sampled() {
    let output = perfd(&["doctor", "--json"]);
    let findings: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let can_sample = findings["can_sample"].as_bool().expect("a flag");
    let expected = if can_sample { 0 } else { 69 };
    assert_eq!(output.status.code(), Some(expected));
    let checks = findings["checks"].as_array().expect("rows");
    for check in checks {
        let status = check["status"].as_str().expect("a word");
        assert!(["ok", "limited", "no"].contains(&status), "{check}");
    }
    let text = stdout(&perfd(&["doctor"]));
    for check in checks {
        assert!(
            text.contains(check["name"].as_str().expect("a name")),
            "{check}"
        );
    }
    let off_cpu = |item: &serde_json::Value| item.as_str().is_some_and(|it| it.contains("off-CPU"));
    let not_yet = findings["not_yet"].as_array().expect("a list");
    assert!(not_yet.iter().any(off_cpu));
}

#[test]
fn symbolize_takes_paths_from_the_present_folder() {
    let perfd = std::path::Path::new(env!("CARGO_BIN_EXE_perfd"));
    let ask = |args: &[&str], questions: &str| {
        let mut child = Command::new(perfd)
            .arg("symbolize")
            .args(args)
            .current_dir(perfd.parent().expect("a folder"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start perfd");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(questions.as_bytes()).expect("it reads");
        drop(input);
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        stdout(&output)
    };
    assert_eq!(ask(&["-f", "-e", "perfd", "0x1"], ""), "??\n??:0\n");
    assert_eq!(
        ask(&["-f", "--exe", "./perfd"], "1\nx\n"),
        "??\n??:0\n??\n??:0\n"
    );
    assert_eq!(
        ask(&["-f"], "perfd 0x1\n/no/such/file 5\n"),
        "??\n??:0\n??\n??:0\n"
    );
    let said = refused(&["symbolize", "-e", "/no/such/file", "0x1"], 66);
    assert!(said.contains("open /no/such/file"), "{said}");
    let said = refused(&["symbolize", "0x1"], 64);
    assert!(said.contains("--exe"), "{said}");
}

#[test]
fn readme_lists_the_commands_and_flags_of_the_flag_table() {
    assert_readme("commands", &readme_commands());
}

#[test]
fn readme_lists_the_exit_codes() {
    let mut table = "| code | meaning |\n| --- | --- |\n".to_owned();
    for (exit, meaning) in EXIT_CODES {
        table += &format!("| {} | {meaning} |\n", exit.code());
    }
    assert_readme("exit codes", &table);
}

/// The section of README between `<!-- NAME…` and `<!-- end of NAME -->` must be this text.
fn assert_readme(name: &str, expected: &str) {
    let readme = std::fs::read_to_string("README.md").expect("README.md");
    let start = readme.find(&format!("<!-- {name}")).expect(name);
    let start = start + readme[start..].find('\n').expect("a line") + 1;
    let end = readme.find(&format!("<!-- end of {name} -->")).expect(name);
    let found = &readme[start..end];
    assert!(
        found.trim() == expected.trim(),
        "README.md says\n{found}\nbut should say between its marks\n\n{expected}"
    );
}

/// A usage line for each command, then a table of all flags with the commands that have them.
fn readme_commands() -> String {
    let mut text = "```text\n".to_owned();
    // A flag is the same in several commands if it and its help are.
    let mut flags: Vec<(String, String, Vec<String>)> = Vec::new();
    let mut perfd = perfd::cli::command();
    perfd.build();
    for command in perfd.get_subcommands_mut().flat_map(innermost) {
        let usage = command.render_usage().to_string();
        let usage = usage.trim_start_matches("Usage: ").replace('\n', " ");
        text += &format!("{usage}\n");
        let bin_name = command.get_bin_name().expect("built above");
        let name = bin_name.trim_start_matches("perfd ").to_owned();
        for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
            if arg.get_id() == "help" || arg.is_hide_set() {
                continue;
            }
            let flag = flag_text(arg);
            let help = arg.get_help().expect("every flag has help").to_string();
            let help = help.replace('|', "\\|");
            match { flags.iter_mut() }.find(|known| known.0 == flag && known.1 == help) {
                Some(known) => known.2.push(name.clone()),
                None => flags.push((flag, help, vec![name.clone()])),
            }
        }
    }
    text += "```\n\n| flag | of | what |\n| --- | --- | --- |\n";
    for (flag, help, commands) in flags {
        text += &format!("| `{flag}` | {} | {help} |\n", commands.join(", "));
    }
    text
}

/// A command, or those that it consists of.
fn innermost(command: &mut clap::Command) -> Vec<&mut clap::Command> {
    match command.has_subcommands() {
        true => command.get_subcommands_mut().flat_map(innermost).collect(),
        false => vec![command],
    }
}

fn flag_text(arg: &clap::Arg) -> String {
    let mut names = Vec::new();
    names.extend(arg.get_short().map(|short| format!("-{short}")));
    names.extend(arg.get_long().map(|long| format!("--{long}")));
    let takes_value = arg.get_action().takes_values();
    let value = match arg.get_value_names() {
        Some([value]) if arg.is_require_equals_set() => format!("[={value}]"),
        Some([value]) if takes_value => format!(" {value}"),
        _ => String::new(),
    };
    names.join(", ") + &value
}
